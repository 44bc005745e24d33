"""SASRec as its PyTorch code computes it (pmixer/SASRec.pytorch), which the encoders of `userrep.models` do not do.

Positions count from the left of the padded row, and padding is attended to like an item, so that more padding moves
states. `PublishedSasRec` is exempt from the padding law and has no yaml: it is made from a checkpoint only.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from userrep.errors import ConfigError, UsageError
from userrep.interop.source import Converted, Source
from userrep.models.sasrec import SasRec
from userrep.models.stem import ItemStem

SHAPE = ("num_heads", "norm_first")


class PublishedStem(ItemStem):
    """Add the vector of its column to each scaled item vector; columns count from 1 on the left, padding has 0."""

    def __init__(self, vocab_size: int, width: int, max_length: int, dropout: float) -> None:
        super().__init__(vocab_size, width, dropout, scale=width**0.5)
        self.columns = nn.Embedding(max_length + 1, width)

    def forward(self, items: Tensor, keep: Tensor) -> Tensor:
        steps, most = items.shape[1], self.columns.num_embeddings - 1
        if steps > most:
            raise ConfigError(
                f"a history has {steps} columns, the published model {most}",
                f"cut histories to {most}: protocol.history={most} trainer.length={most}",
            )
        columns = torch.arange(1, steps + 1, device=items.device) * keep.squeeze(-1).long()  # (B, T)
        return super().forward(items, torch.ones_like(keep)) + self.columns(columns)


class PublishedSasRec(SasRec):
    """Encode as the published code does; only a readout tells padding from items.

    States are those of the rows that are given. User vectors are read from rows of full length, as that code's loader
    makes them, so that they do not hang on how a batch was trimmed.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        max_length: int,
        norm_first: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(vocab_size, width, layers, heads, hidden, max_length, dropout, norm_first)
        self.stem = PublishedStem(vocab_size, width, max_length, dropout)
        self.positions = None
        self.max_length = max_length

    def user(self, items: Tensor) -> Tensor:
        return super().user(nn.functional.pad(items, (max(0, self.max_length - items.shape[1]), 0)))

    def _run(self, states: Tensor, keep: Tensor, route: Tensor | None) -> Tensor:
        return super()._run(states, torch.ones_like(keep), route)


def sasrec(source: Source, shape: Mapping[str, Any]) -> Converted:
    """Translate a SASRec, which scores items against its own table."""
    heads, norm_first = _shape(source, shape)
    table = source.take("item_emb.weight", None, None)
    width = table.shape[1]
    columns = source.take("pos_emb.weight", None, width)
    hidden = source.take("forward_layers.0.conv1.weight", None, width, 1).shape[0]
    layers = source.count("attention_layers")
    encoder = {"stem.table.weight": table, "stem.columns.weight": columns}
    for layer in range(layers):
        ours = f"blocks.{layer}."
        norms = ("attention.norm.", "feed_forward.norm.") if norm_first else ("attention_norm.", "feed_forward_norm.")
        for norm, theirs in zip(norms, ("attention_layernorms", "forward_layernorms"), strict=True):
            encoder |= _pair(source, f"{theirs}.{layer}.", f"{ours}{norm}", width)
        encoder |= _attention(source, f"attention_layers.{layer}.", f"{ours}attention.op.", width)
        encoder |= _feed_forward(source, f"forward_layers.{layer}.", f"{ours}feed_forward.op.", width, hidden)
    encoder |= _pair(source, "last_layernorm.", "final.norm.", width)
    model = {
        "_target_": "userrep.interop.sasrec.PublishedSasRec",
        "width": width,
        "layers": layers,
        "heads": heads,
        "hidden": hidden,
        "max_length": len(columns) - 1,
        "norm_first": norm_first,
        "dropout": 0.0,
    }
    return Converted(model, None, len(table), encoder, {})


def _attention(source: Source, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
    return {
        f"{ours}qkv.weight": source.take(f"{theirs}in_proj_weight", 3 * width, width),
        f"{ours}qkv.bias": source.take(f"{theirs}in_proj_bias", 3 * width),
        f"{ours}out.weight": source.take(f"{theirs}out_proj.weight", width, width),
        f"{ours}out.bias": source.take(f"{theirs}out_proj.bias", width),
    }


def _feed_forward(source: Source, theirs: str, ours: str, width: int, hidden: int) -> dict[str, Tensor]:
    """Translate two convolutions of kernel 1, (out, in, 1), into linear layers (out, in)."""
    found = {}
    for layer, linear, sizes in (("conv1", "expand", (hidden, width)), ("conv2", "contract", (width, hidden))):
        found[f"{ours}{linear}.weight"] = source.take(f"{theirs}{layer}.weight", *sizes, 1).squeeze(2)
        found[f"{ours}{linear}.bias"] = source.take(f"{theirs}{layer}.bias", sizes[0])
    return found


def _pair(source: Source, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
    return {f"{ours}{name}": source.take(f"{theirs}{name}", width) for name in ("weight", "bias")}


def _shape(source: Source, shape: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the heads and the place of the norms, which no tensor tells."""
    unknown = [key for key in shape if key not in SHAPE]
    if unknown:
        raise UsageError(f"{source.kind} has no shape '{unknown[0]}'", "it takes num_heads= and norm_first=")
    missing = [key for key in SHAPE if key not in shape]
    if missing:
        raise UsageError(
            f"no tensor of a {source.kind} checkpoint tells its {missing[0]}", "give num_heads=1 norm_first=true, say"
        )
    heads, norm_first = shape["num_heads"], shape["norm_first"]
    if not isinstance(heads, (int, np.integer)) or isinstance(heads, bool) or heads < 1:
        raise UsageError(f"num_heads is {heads!r}", "give a whole number of at least 1")
    if not isinstance(norm_first, (bool, np.bool_)):
        raise UsageError(f"norm_first is {norm_first!r}", "give true or false")
    return int(heads), bool(norm_first)
