"""Surgery: every change to an encoder's modules is made here, by role and by pattern, never by copying a backbone."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from userrep.errors import ConfigError
from userrep.models.encoder import Block, Encoder
from userrep.models.readout import Readout
from userrep.models.rows import RowTable
from userrep.models.stem import truncated_normal_
from userrep.models.sublayer import Sublayer

Wrap = Callable[[Sublayer], Sublayer]
Change = TypeVar("Change", bound=nn.Module)


def matching(encoder: Encoder, patterns: Iterable[str]) -> list[str]:
    """Return the encoder's parameter names that match any glob pattern, in module order.

    Raises ConfigError for a pattern that matches nothing, listing what there is.
    """
    return _chosen([name for name, _ in encoder.named_parameters()], patterns, "parameter")


def train_only(encoder: Encoder, patterns: Iterable[str]) -> list[str]:
    """Freeze the encoder but for the parameters that match; return their names."""
    chosen = set(matching(encoder, patterns))
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name in chosen)
    return sorted(chosen)


def sublayers(encoder: Encoder, role: str, last: int | None = None) -> list[str]:
    """Return the paths of the sublayers with `role` (op, unit, branch), in the last `last` blocks or in all.

    Raises ConfigError where the encoder's blocks have no such sublayer, with the block's own reason.
    """
    count = len(encoder.blocks)
    if last is not None and not 0 < last <= count:
        raise ConfigError(f"the encoder has {count} blocks, not {last}", f"give a number of blocks from 1 to {count}")
    paths = []
    for index in range(count - (last or count), count):
        block = encoder.blocks[index]
        assert isinstance(block, Block)
        if role not in block.roles:
            reason = block.gaps.get(role, "its blocks declare no such sublayer")
            raise ConfigError(
                f"{type(encoder).__name__} has no sublayer with role '{role}': {reason}",
                f"choose a role from {', '.join(block.roles)}",
            )
        paths += [f"blocks.{index}.{path}" for path in block.roles[role]]
    return paths


def norms(encoder: Encoder, last_only: bool) -> list[nn.Module]:
    """Return the norm modules of the blocks: all, or the last of each block."""
    found = []
    for index, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        paths = block.roles.get("norm", ())
        found += [encoder.get_submodule(f"blocks.{index}.{path}") for path in (paths[-1:] if last_only else paths)]
    if not found:
        raise ConfigError(f"{type(encoder).__name__} has no norms in its blocks", "set norms=none")
    return found


def names_of(encoder: Encoder, modules: Iterable[nn.Module]) -> list[str]:
    """Return the encoder's names for the parameters of `modules`, wherever wrappers have moved them."""
    wanted = {id(parameter) for module in modules for parameter in module.parameters()}
    return [name for name, parameter in encoder.named_parameters() if id(parameter) in wanted]


def wrap(encoder: Encoder, paths: Iterable[str], wrapper: Wrap) -> None:
    """Put `wrapper(sublayer)` in the place of each sublayer."""
    for path in paths:
        parent_path, _, name = path.rpartition(".")
        parent = encoder.get_submodule(parent_path)
        setattr(parent, name, wrapper(getattr(parent, name)))


def set_readout(encoder: Encoder, spec: str) -> None:
    """Read user vectors as `spec` says; a task token is made where the spec reads one, a trained part stays."""
    before, encoder.readout = encoder.readout, Readout(spec, encoder.width)
    if hasattr(before, "query") and hasattr(encoder.readout, "query"):
        encoder.readout.query = before.query
    if encoder.readout.needs_token and encoder.token is None:
        encoder.token = nn.Parameter(truncated_normal_(torch.empty(encoder.width)))


class LowRankTable(nn.Module):
    """An item table plus a low-rank change, `W + A B`, looked up row by row; starts as W, since A is zero."""

    def __init__(self, inner: nn.Module, rank: int) -> None:
        super().__init__()
        assert isinstance(inner.weight, torch.Tensor)
        rows, width = inner.weight.shape
        self.inner = inner
        self.low = RowTable(rows, rank)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.low.weight)
        nn.init.normal_(self.up.weight, std=rank**-0.5)

    @property
    def weight(self) -> torch.Tensor:
        """Return the changed table (V, D)."""
        assert isinstance(self.inner.weight, torch.Tensor)
        return self.inner.weight + self.low.weight @ self.up.weight.t()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Look items up: `(B, T)` -> `(B, T, D)`."""
        return self.inner(items) + self.up(self.low(items))


def add_low_rank_table(encoder: Encoder, rank: int) -> None:
    """Give the item table a trainable change of the given rank."""
    if not 0 < rank <= encoder.width:
        raise ConfigError(f"table_rank is {rank}", f"give a rank from 1 to the width, {encoder.width}")
    encoder.stem.table = LowRankTable(encoder.stem.table, rank)


class Mask(nn.Module):
    """Keep a weight where `mask` is true and put zero elsewhere; a NaN behind the mask stays behind it."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the masked weight, in the weight's own shape."""
        return torch.where(self.mask, weight, torch.zeros_like(weight))


def change_of(encoder: Encoder, name: str, kind: type[Change]) -> Change | None:
    """Return the change of `kind` through which the weight `name` is read, None where there is none."""
    path, _, attribute = name.rpartition(".")
    module = encoder.get_submodule(path)
    if not parametrize.is_parametrized(module, attribute):
        return None
    parametrizations = module.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    changes = parametrizations[attribute]
    assert isinstance(changes, parametrize.ParametrizationList)
    return next((change for change in changes if isinstance(change, kind)), None)


def weight_before(encoder: Encoder, name: str, change: nn.Module) -> torch.Tensor:
    """Return what `change`, one of the changes of the weight `name`, is given to change: earlier ones are done."""
    path, _, attribute = name.rpartition(".")
    parametrizations = encoder.get_submodule(path).parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    changes = parametrizations[attribute]
    assert isinstance(changes, parametrize.ParametrizationList)
    weight: torch.Tensor = changes.original
    for earlier in changes:
        if earlier is change:
            break
        weight = earlier(weight)
    return weight


def original_of(encoder: Encoder, name: str) -> tuple[str, nn.Parameter]:
    """Return the parameter behind the weight `name`, which its changes are made of, and the encoder's name for it."""
    path, _, attribute = name.rpartition(".")
    if parametrize.is_parametrized(encoder.get_submodule(path), attribute):
        name = f"{path}.parametrizations.{attribute}.original"
    return name, encoder.get_parameter(name)


def add_mask(encoder: Encoder, name: str, mask: torch.Tensor) -> None:
    """Mask the parameter `name` through a parametrisation, or exchange the mask that it has."""
    own = change_of(encoder, name, Mask)
    if own is not None:
        own.mask.copy_(mask)
        return
    change_weight(encoder, name, Mask(mask))


def weight_of(encoder: Encoder, name: str) -> torch.Tensor:
    """Return the weight `name` as the encoder reads it, changes and masks included."""
    path, _, attribute = name.rpartition(".")
    weight = getattr(encoder.get_submodule(path), attribute)
    assert isinstance(weight, torch.Tensor)
    return weight


def change_weight(encoder: Encoder, name: str, change: nn.Module) -> None:
    """Let the weight `name` be read as `change(weight)`, behind the changes that it has already."""
    path, _, attribute = name.rpartition(".")
    parametrize.register_parametrization(encoder.get_submodule(path), attribute, change)


def flatten(encoder: Encoder) -> Encoder:
    """Write every parametrised weight out as a plain one and return the encoder."""
    for module in list(encoder.modules()):
        if parametrize.is_parametrized(module):
            parametrizations = module.parametrizations
            assert isinstance(parametrizations, nn.ModuleDict)
            for attribute in list(parametrizations):
                parametrize.remove_parametrizations(module, attribute, leave_parametrized=True)
    return encoder


def kernels(encoder: Encoder, patterns: Iterable[str] = ("*",)) -> list[str]:
    """Return the names of the blocks' weight tensors of two dimensions or more: no norm, no bias, no table.

    Raises ConfigError for a pattern that matches none of them.
    """
    names = [
        name.replace("parametrizations.", "").removesuffix(".original")
        for name, parameter in encoder.named_parameters()
        if name.startswith("blocks.") and parameter.ndim >= 2 and not _is_of_a_change(name)
    ]
    return _chosen(names, patterns, "kernel")


def vectors(encoder: Encoder) -> list[str]:
    """Return the names of the encoder's own tensors of one dimension: its biases and its norms.

    Raises ConfigError for an encoder that has none.
    """
    own = ("stem.", "blocks.", "final.")
    names = [name for name, tensor in encoder.named_parameters() if name.startswith(own) and tensor.ndim == 1]
    if not names:
        raise ConfigError(f"{type(encoder).__name__} has neither biases nor norms", "choose a method that adds weights")
    return names


def _is_of_a_change(name: str) -> bool:
    """Say whether a parameter is that of a change of a weight, such as a low-rank factor, and no weight itself."""
    return "parametrizations." in name and not name.endswith(".original")


def _chosen(names: list[str], patterns: Iterable[str], kind: str) -> list[str]:
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"no {kind} of the encoder matches '{pattern}'", f"there are: {_summary(names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _summary(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
