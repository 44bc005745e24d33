"""The plain linear layer of the Transformers, so that methods find an ordinary weight."""

from torch import nn


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Make a linear layer with Glorot-uniform weights and a zero bias, as `nn.MultiheadAttention` starts."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
