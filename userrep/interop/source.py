"""What a conversion reads and what it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from userrep.build import build
from userrep.errors import DataError
from userrep.models.encoder import Encoder


@dataclass
class Source:
    """A state dict that is taken tensor by tensor, so that what is left over can be named."""

    kind: str
    tensors: Mapping[str, Tensor]
    hint: str
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, *wanted: int | None) -> Tensor:
        """Return a tensor of shape `wanted`, None where any size will do.

        Raises DataError where it is missing or has another shape.
        """
        if name not in self.tensors:
            raise DataError(f"{self.kind}: the checkpoint has no '{name}'", self.hint)
        found = self.tensors[name]
        sizes = tuple(found.shape)
        if len(sizes) != len(wanted) or any(w not in (None, s) for w, s in zip(wanted, sizes, strict=True)):
            shape = ", ".join("any" if size is None else str(size) for size in wanted)
            raise DataError(f"{self.kind}: '{name}' has shape {sizes}, not ({shape})", self.hint)
        self.taken.add(name)
        return found

    def count(self, prefix: str) -> int:
        """Count the modules `prefix.0`, `prefix.1` ..."""
        return len({name.split(".")[1] for name in self.tensors if name.startswith(f"{prefix}.")})

    def refuse_rest(self) -> None:
        """Raise DataError for tensors that nothing took: leaving one out would change the states silently."""
        rest = [name for name in self.tensors if name not in self.taken]
        if rest:
            raise DataError(
                f"{self.kind}: the checkpoint has an unexpected '{rest[0]}' ({len(rest)} in all)", self.hint
            )


@dataclass(frozen=True)
class Converted:
    """A published model in this package's terms.

    `model` and `method` are config nodes, `method` None for a bare backbone. `encoder` holds tensors under
    our names; so does `head`, for a `NextItem` with an own table (V, D) and bias (V,), or it is empty.
    """

    model: dict[str, Any]
    method: dict[str, Any] | None
    vocab_size: int
    encoder: dict[str, Tensor]
    head: dict[str, Tensor]

    def module(self, readout: str = "last") -> Encoder:
        """Build the encoder and load its tensors; evaluation mode."""
        encoder: Encoder = build(self.model, vocab_size=self.vocab_size)
        if self.method is not None:
            encoder = build(self.method).adapt(encoder, readout)
        encoder.load_state_dict(encoder.state_dict() | self.encoder)  # a readout may have added a token of its own
        return encoder.eval()
