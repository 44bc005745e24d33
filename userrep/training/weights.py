"""Weights on disk: safetensors of an encoder and its objective, whole or as the delta that a method made."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from userrep.errors import DataError
from userrep.files import replacing


def save_weights(path: Path, encoder: nn.Module, objective: nn.Module, names: Iterable[str] | None = None) -> int:
    """Write the state of both, or only the encoder tensors `names` and all of the objective; return the bytes."""
    kept = None if names is None else set(names)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items() if kept is None or name in kept}
    state |= {f"objective.{name}": tensor for name, tensor in objective.state_dict().items()}
    with replacing(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial)
    return path.stat().st_size


def load_weights(path: Path, encoder: nn.Module, objective: nn.Module | None, partial: bool = False) -> None:
    """Load what `save_weights` wrote; with `partial`, tensors that the file lacks stay as they are.

    Raises DataError for a file that is missing, truncated, or of another shape.
    """
    state = read_weights(path)
    for prefix, module in (("encoder.", encoder), ("objective.", objective)):
        if module is None:
            continue
        own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        try:
            outcome = module.load_state_dict(own, strict=not (partial and prefix == "encoder."))
        except RuntimeError as error:
            raise DataError(
                f"weights {path} do not fit this model: {' '.join(str(error).split())[:300]}",
                "use the run's own config, or train again with --fresh",
            ) from error
        if outcome.unexpected_keys:
            raise DataError(
                f"weights {path} hold tensors that the model lacks, such as {outcome.unexpected_keys[0]}",
                "use the run's own config, or train again with --fresh",
            )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise DataError(f"there are no weights at {path}", "finish the run first: type its command again") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"weights {path} cannot be read: {error}", "the file is truncated or damaged: train again with --fresh"
        ) from error


def added_names(encoder: nn.Module, before: set[int]) -> set[str]:
    """Return the names of parameters and buffers that were not among the objects `before` (their ids)."""
    tensors = [*encoder.named_parameters(), *encoder.named_buffers()]
    return {name for name, tensor in tensors if id(tensor) not in before}


def identities(encoder: nn.Module) -> set[int]:
    """Return the ids of all parameters and buffers, to tell later which ones a method added."""
    return {id(tensor) for tensor in (*encoder.parameters(), *encoder.buffers())}


def buffers(encoder: nn.Module) -> dict[str, Tensor]:
    """Copy all buffers, to tell later which ones a phase changed."""
    return {name: buffer.detach().cpu().clone() for name, buffer in encoder.named_buffers()}


def changed_buffers(encoder: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Return the names of buffers that are not what they were, such as the masks of a base that was pruned again."""
    now = {name: buffer.cpu() for name, buffer in encoder.named_buffers() if name in before}
    return {name for name, buffer in now.items() if not torch.equal(buffer, before[name])}


def count(module: nn.Module, trainable_only: bool = False) -> int:
    """Count a module's parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable_only)


def same_weights(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Say whether two states are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
