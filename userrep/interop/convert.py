"""The kinds of published checkpoints that can be read, each with its converter."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.errors import UsageError, suggest
from userrep.interop.sasrec import sasrec
from userrep.interop.source import Converted, Source
from userrep.interop.tenrec import nextitnet, peterrec
from userrep.models.encoder import Encoder

CONVERTERS: Mapping[str, Callable[[Source, Mapping[str, Any]], Converted]] = {
    "tenrec-nextitnet": nextitnet,
    "tenrec-peterrec": peterrec,
    "sasrec-pytorch": sasrec,
}


def from_state_dict(kind: str, state_dict: Mapping[str, Tensor | np.ndarray], **shape: Any) -> Encoder:
    """Return the encoder of a published model, in evaluation mode; item ids are the checkpoint's rows.

    kind `tenrec-nextitnet` or `tenrec-peterrec` (yuangh-x/2022-NIPS-Tenrec; the latter with parallel patches
    without skip, the one form that code instantiates) takes `dilations=[...]`, one rate l a block, whose two
    convolutions run at l and 2l, and `kernel_size=`, which may be left out. Kind `sasrec-pytorch`
    (pmixer/SASRec.pytorch) takes `num_heads=` and `norm_first=`; it counts positions from the left and attends to
    padding, as that code does, so that its states hang on how much padding precedes a sequence.

    Raises:
        UsageError: the kind or the shape is unknown, or the shape is not the checkpoint's.
        DataError: a tensor is missing, unexpected or misshapen; the message names it.
    """
    return convert(kind, state_dict, **shape).module()


def check_kind(kind: str) -> None:
    """Raise UsageError for a kind of checkpoint that has no converter."""
    if kind not in CONVERTERS:
        raise UsageError(f"no kind of checkpoint '{kind}'", suggest(kind, CONVERTERS))


def convert(kind: str, state_dict: Mapping[str, Tensor | np.ndarray], **shape: Any) -> Converted:
    """Translate a published state dict; raises as `from_state_dict`."""
    check_kind(kind)
    tensors = {name: torch.as_tensor(value).detach().float() for name, value in state_dict.items()}
    source = Source(kind, tensors, hint=f"kinds are {', '.join(CONVERTERS)}: make sure that it is a {kind} checkpoint")
    converted = CONVERTERS[kind](source, shape)
    source.refuse_rest()
    return converted
