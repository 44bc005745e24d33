"""Readouts against a loop over users."""

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.readout import Readout

WIDTH = 6


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states, stem = (torch.randn(4, 7, WIDTH, generator=generator) for _ in range(2))
    keep = torch.ones(4, 7, 1)
    for row, padding in enumerate((0, 3, 6, 7)):
        keep[row, :padding] = 0
    return states, stem, keep, torch.randn(4, WIDTH, generator=generator)


def naive(part: str, readout: Readout, user: int) -> Tensor:
    states, stem, keep, token = drawn()
    real = keep[user, :, 0] == 1
    if part == "last":
        return states[user, -1]
    if part == "token":
        return token[user]
    if not real.any():
        return torch.zeros(WIDTH)
    if part == "attention":
        weights = torch.softmax(states[user, real] @ readout.query, dim=0)
        return (weights[:, None] * states[user, real]).sum(0)
    return (states if part == "mean" else stem)[user, real].mean(0)


@pytest.mark.parametrize("spec", ["last", "token", "mean", "items", "attention", "mean+items", "token+attention+last"])
def test_a_readout_equals_a_loop_over_users(spec: str) -> None:
    readout = Readout(spec, WIDTH)
    if "attention" in spec:
        torch.nn.init.normal_(readout.query)
    found = readout(*drawn())
    assert found.shape == (4, readout.width)
    for user in range(4):
        wanted = torch.cat([naive(part, readout, user) for part in spec.split("+")])
        torch.testing.assert_close(found[user], wanted)


def test_attention_starts_as_the_mean() -> None:
    torch.testing.assert_close(Readout("attention", WIDTH)(*drawn()), Readout("mean", WIDTH)(*drawn()))


def test_an_unknown_part_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown part 'max'") as caught:
        Readout("mean+max", WIDTH)
    assert "attention" in caught.value.hint
