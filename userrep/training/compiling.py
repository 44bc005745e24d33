"""Compiling: the blocks of an encoder made into fewer kernels by `torch.compile`, tried once, left where it fails."""

import time

import torch

from userrep.models.encoder import Encoder
from userrep.sequences.vocab import RESERVED

MODES = {"none": None, "blocks": "default", "graphs": "reduce-overhead"}  # the last one records CUDA graphs


def compile_blocks(encoder: Encoder, asked: str, device: torch.device, length: int) -> str:
    """Compile the blocks, as `trainer.compile` asks, and return a sentence on it, empty where it asks for nothing.

    A pass there and back is made at once, so that what cannot be compiled is known before the first step: the blocks
    then stay as they were, and the sentence says why. Weights, generators and gradients are as they were before.
    """
    mode = MODES[asked]
    if mode is None:
        return ""
    if asked == "graphs" and device.type != "cuda":
        return f"compile: blocks stay as they are, since {device} has no CUDA graphs"
    began, generators = time.monotonic(), torch.get_rng_state()
    for block in encoder.blocks:
        block.compile(mode=mode, dynamic=asked != "graphs")
    try:
        _pass(encoder, device, length)
    except Exception as error:  # of the compiler, of which there are dozens of kinds, and of tools that it calls
        undo(encoder)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"compile: blocks stay as they are, since they cannot be compiled here: {reason}"
    finally:
        torch.set_rng_state(generators)
        encoder.zero_grad(set_to_none=True)
    return f"compile: {len(encoder.blocks)} blocks in {time.monotonic() - began:.0f} s"


def undo(encoder: Encoder) -> None:
    """Let the blocks run as they are written."""
    for block in encoder.blocks:
        block._compiled_call_impl = None


def _pass(encoder: Encoder, device: torch.device, length: int) -> None:
    items = torch.full((2, length), RESERVED, device=device)
    states = encoder(items)
    if states.requires_grad:
        states.sum().backward()
