"""The ledger: which bytes of tensors live at once and what each operation computes and moves, while code runs in it."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
_ALIKE = {  # operations that have no formula of their own -> the one whose formula fits
    aten.addmm_: aten.addmm,
    aten.baddbmm_: aten.baddbmm,
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}
_READ_ROWS = {aten.embedding, aten.index_select, aten.gather, aten.index}  # of their first input, as much as comes out
_WRITE_ROWS = {aten.index_add_, aten.index_copy_, aten.index_put_, aten.index_fill_, aten.scatter_add_, aten.scatter_}


@dataclass(frozen=True)
class Operation:
    """One operation: what it computes, in floating-point operations, and what it reads and writes, in bytes."""

    flops: int
    traffic: int


@dataclass
class Stage:
    """What happened in one stretch of the code: the most bytes that lived at once, by tag, and its operations."""

    peak: int = 0
    tags: dict[str, int] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)


class Ledger(TorchDispatchMode):
    """Keep count of the tensors that are made inside, those that lived before left out.

    What a kernel allocates for itself is not seen. A tensor counts under the tag that stood when it was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, Stage] = {}
        self.stage, self.tag = "", ""
        self._live: Counter[str] = Counter()
        self._known: set[int] = set()

    @contextmanager
    def at(self, stage: str, tag: str) -> Iterator[None]:
        """Name what runs inside the block, and tag what is made in it."""
        before = self.stage, self.tag
        self.stage, self.tag = stage, tag
        self.stages.setdefault(stage, Stage())
        self._look()
        try:
            yield
        finally:
            self.stage, self.tag = before

    @contextmanager
    def tagging(self, modules: Iterable[nn.Module], tag: str) -> Iterator[None]:
        """Tag what the modules make when they run forward, whatever tag stands around them."""
        outer: list[str] = []

        def enter(*_: Any) -> None:
            outer.append(self.tag)
            self.tag = tag

        def leave(*_: Any) -> None:
            self.tag = outer.pop()

        hooks = []
        for module in modules:
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and write it down."""
        given = kwargs or {}
        out = func(*args, **given)
        read = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        old = {storage._cdata for tensor in read for storage in storages(tensor)}
        new = [tensor for tensor in made if any(storage._cdata not in old for storage in storages(tensor))]
        for tensor in new:
            self._enter(tensor, old)
        self._look()
        if self.stage and (new or func._schema.is_mutable):
            stage = self.stages[self.stage]
            stage.operations.append(Operation(_flops(func, args, given, out), _traffic(func, args, given, read, new)))
        return out

    def _enter(self, tensor: Tensor, old: set[int]) -> None:
        for storage in storages(tensor):
            key, size, tag = storage._cdata, storage.nbytes(), self.tag
            if key in old or key in self._known:
                continue
            self._known.add(key)
            self._live[tag] += size
            weakref.finalize(storage, self._leave, key, size, tag)

    def _leave(self, key: int, size: int, tag: str) -> None:
        self._known.discard(key)
        self._live[tag] -= size

    def _look(self) -> None:
        stage, now = self.stages.get(self.stage), sum(self._live.values())
        if stage is not None and now > stage.peak:
            stage.peak, stage.tags = now, dict(self._live)


def storages(tensor: Tensor) -> list[torch.UntypedStorage]:
    """Return what a tensor's numbers lie in: one storage, of a sparse one that of its ids and that of its values."""
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices().untyped_storage(), tensor._values().untyped_storage()]
    return [tensor.untyped_storage()]


def _flops(func: Any, args: tuple[Any, ...], given: dict[str, Any], out: Any) -> int:
    packet = func._overloadpacket
    formula: Callable[..., int] | None = flop_registry.get(_ALIKE.get(packet, packet))
    own = {name: value for name, value in given.items() if name != "out"}
    return 0 if formula is None else int(formula(*args, **own, out_val=out))


def _traffic(func: Any, args: tuple[Any, ...], given: dict[str, Any], read: list[Tensor], made: list[Tensor]) -> int:
    """Return the bytes that an operation reads and writes if each tensor passes once."""
    packet, fresh = func._overloadpacket, sum(_held(tensor) for tensor in made)
    if packet in _READ_ROWS:
        return 2 * fresh + sum(_held(tensor) for tensor in read[1:])
    if packet in _WRITE_ROWS:
        return 3 * sum(_held(tensor) for tensor in read[1:])  # read what is added and the rows, write the rows
    written = 0
    for argument, value in zip(func._schema.arguments, args, strict=False):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written += sum(_held(leaf) for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
    out = given.get("out")
    written += _held(out) if isinstance(out, Tensor) else 0
    return fresh + written + sum(_held(tensor) for tensor in read if tensor is not out)


def _held(tensor: Tensor) -> int:
    """Return the bytes of a tensor's numbers; of an expanded one those that there are."""
    if tensor.layout == torch.sparse_coo:
        return sum(_held(part) for part in (tensor._indices(), tensor._values()))
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
