"""A newcomer is one file and one yaml: the laws hold for it with no test of its own, and catch what breaks them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

import userrep.models
from tests.contracts import test_encoders, test_methods
from userrep.config import compose

FILE = '''
"""Toys: one causal, one that reads both ways and has one sublayer only, one that lets padding in."""

import torch
from torch import Tensor, nn

from userrep.models.encoder import Block, Encoder, Final
from userrep.models.stem import ItemStem
from userrep.models.sublayer import Sublayer


class Mean(Sublayer):
    def __init__(self, width: int, causal: bool, leak: bool) -> None:
        super().__init__()
        self.linear, self.causal, self.leak = nn.Linear(width, width), causal, leak

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        total, count = states.cumsum(1), (torch.ones_like(keep) if self.leak else keep).cumsum(1).clamp_min(1)
        if not self.causal:
            total, count = total[:, -1:].expand_as(states), count[:, -1:]
        return torch.tanh(self.linear(states + total / count)) * keep


class MeanBlock(Block):
    roles = {"op": ("op",), "unit": ("op",), "branch": ("op",)}

    def __init__(self, width: int, causal: bool, leak: bool = False) -> None:
        super().__init__()
        self.op = Mean(width, causal, leak)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return states + self.op(states, keep)


class OneSublayer(MeanBlock):
    roles = {"branch": ("op",)}
    gaps = {"op": "the mean has no parts of its own", "unit": "the mean has no parts of its own"}


class Toy(Encoder):
    def __init__(self, vocab_size: int, width: int = 64, layers: int = 4) -> None:
        blocks = [MeanBlock(width, causal=True) for _ in range(layers)]
        super().__init__(vocab_size=vocab_size, width=width, stem=ItemStem(vocab_size, width), blocks=blocks,
                         final=Final(width, norm=True))


class BothWays(Encoder):
    causal = False

    def __init__(self, vocab_size: int, width: int = 64, layers: int = 4) -> None:
        blocks = [OneSublayer(width, causal=False) for _ in range(layers)]
        super().__init__(vocab_size=vocab_size, width=width, stem=ItemStem(vocab_size, width), blocks=blocks,
                         final=Final(width, norm=False))


class Leaky(Encoder):
    def __init__(self, vocab_size: int, width: int = 64, layers: int = 4) -> None:
        blocks = [MeanBlock(width, causal=True, leak=True) for _ in range(layers)]
        super().__init__(vocab_size=vocab_size, width=width, stem=ItemStem(vocab_size, width), blocks=blocks,
                         final=Final(width, norm=False))
'''
TOYS = {"toy": "Toy", "both_ways": "BothWays", "leaky": "Leaky"}


@pytest.fixture(autouse=True)
def newcomers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the file among the models and the yamls into a folder laid out like conf/."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "toys.py").write_text(FILE)
    monkeypatch.setattr(userrep.models, "__path__", [*userrep.models.__path__, str(tmp_path / "models")])
    (tmp_path / "conf" / "model").mkdir(parents=True)
    for name, target in TOYS.items():
        text = f"_target_: userrep.models.toys.{target}\nwidth: 64\nlayers: 4\n"
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(tiny, "overlay", tmp_path / "conf")
    yield tmp_path / "conf"
    tiny.trained.cache_clear()


def hold_all_laws(model: str, method: str, folder: Path) -> None:
    test_encoders.test_states_have_the_shape_of_the_items(model, method)
    test_encoders.test_a_later_item_moves_a_state_only_where_the_encoder_reads_both_ways(model, method)
    test_encoders.test_more_padding_moves_no_state(model, method, 5)
    test_encoders.test_padding_has_the_state_zero(model, method)
    test_encoders.test_users_of_one_batch_do_not_meet(model, method)
    test_methods.test_states_start_as_the_base_where_the_method_promises_it(model, method)
    test_methods.test_training_moves_what_the_method_declares_and_nothing_else(model, method)
    test_methods.test_the_frozen_base_is_untouched_bit_for_bit(model, method)
    test_methods.test_base_and_delta_give_the_trained_states_back_bit_for_bit(model, method, folder)


@pytest.mark.parametrize("model", ["toy", "both_ways"])
def test_a_new_encoder_is_found_and_held_to_every_law(model: str, tmp_path: Path) -> None:
    assert model in tiny.names("model")
    test_encoders.test_every_block_declares_each_role_or_says_why_not(model)
    for role in test_encoders.ROLES:
        test_encoders.test_a_wrapper_at_a_role_is_called_once_a_pass_and_decides_what_comes_out(model, role)
    hold_all_laws(model, "full", tmp_path)
    hold_all_laws(model, "peterrec_c", tmp_path)


def test_a_new_encoder_is_a_choice_on_the_command_line(newcomers: Path) -> None:
    config = compose("pretrain", ["model=toy", "model.layers=2"], newcomers)
    assert config["model"] == {"_target_": "userrep.models.toys.Toy", "width": 64, "layers": 2}


def test_an_insertion_with_no_meaning_on_an_encoder_is_refused_with_its_reason() -> None:
    assert tiny.refusal("both_ways", "peterrec_c") is None
    reason = tiny.refusal("both_ways", "peterrec")
    assert reason is not None
    assert "the mean has no parts of its own" in reason


def test_an_encoder_that_lets_padding_in_is_caught() -> None:
    with pytest.raises(AssertionError):
        test_encoders.test_more_padding_moves_no_state("leaky", None, 5)


def test_an_encoder_that_reads_both_ways_but_calls_itself_causal_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny.encoder("both_ways")), "causal", True)
    with pytest.raises(AssertionError):
        test_encoders.test_a_later_item_moves_a_state_only_where_the_encoder_reads_both_ways("both_ways", None)
