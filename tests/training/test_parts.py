"""What the loop is made of: optimiser groups, the rate's schedule, weights on disk, the log, the streams."""

from pathlib import Path

import pytest
import torch
from torch import nn

from userrep.errors import ConfigError, DataError
from userrep.methods.lora import LoRA
from userrep.methods.surgery import train_only
from userrep.models.nextitnet import NextItNet
from userrep.objectives.next_item import NextItem
from userrep.sequences.protocol import Protocol
from userrep.training.journal import Journal
from userrep.training.optim import make_optimizer, set_rate
from userrep.training.seed import generator, stream
from userrep.training.trainer import Trainer
from userrep.training.weights import count, load_weights, read_weights, same_weights, save_weights

VOCAB = 30


def encoder(seed: int = 0) -> NextItNet:
    torch.manual_seed(seed)
    return NextItNet(VOCAB, 8, [1, 2], final_norm=True)


def untied() -> NextItem:
    objective = NextItem(tied=False, bias=True)
    objective.setup(encoder(), None, Protocol())  # type: ignore[arg-type]  # its heads hang on the encoder alone
    return objective


def test_tables_dense_weights_and_the_rest_have_their_own_rate_and_decay() -> None:
    trainer = Trainer(lr=0.1, table_lr=0.2, head_lr=0.3, weight_decay=0.4, table_weight_decay=0.5)
    head = nn.Linear(8, 2)
    groups = make_optimizer(encoder(), head, trainer, VOCAB).param_groups
    found = {(g["lr"], g["weight_decay"]): sorted({p.ndim for p in g["params"]}) for g in groups}
    assert found == {(0.2, 0.5): [2], (0.1, 0.4): [3], (0.1, 0.0): [1], (0.3, 0.4): [2], (0.3, 0.0): [1]}


def test_a_matrix_with_as_many_rows_as_there_are_items_is_no_table_unless_items_are_looked_up_in_it() -> None:
    model = NextItNet(8, 8, [1])  # as many items as channels
    LoRA(rank=2, table_rank=3).adapt(model, "last")
    trainer = Trainer(lr=0.1, table_lr=0.2, weight_decay=0.4, table_weight_decay=0.5)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = make_optimizer(model, nn.Identity(), trainer, 8).param_groups
    tables = {names[id(p)] for g in groups if g["weight_decay"] == 0.5 for p in g["params"]}
    assert tables == {"stem.table.inner.weight", "stem.table.low.weight"}


def test_a_frozen_weight_is_not_in_the_optimiser_so_that_decay_cannot_move_it() -> None:
    model = encoder()
    train_only(model, ["blocks.1.*"])
    held = {id(p) for g in make_optimizer(model, nn.Identity(), Trainer(), VOCAB).param_groups for p in g["params"]}
    assert held == {id(p) for name, p in model.named_parameters() if name.startswith("blocks.1.")}


@pytest.mark.parametrize("warmup", [0.0, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("total", [1, 7, 60, 1000])
def test_the_rate_rises_to_its_peak_never_above_it_and_falls_to_almost_nothing(warmup: float, total: int) -> None:
    trainer = Trainer(lr=0.1, table_lr=0.3, warmup=warmup)
    optimizer = make_optimizer(encoder(), nn.Identity(), trainer, VOCAB)
    shares = [set_rate(optimizer, trainer, step, total) for step in range(total)]
    peak = shares.index(max(shares))
    assert all(0 < share <= 1 for share in shares)
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert peak <= warmup * total + 1
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(group["peak"] * shares[-1])


def test_a_constant_schedule_stays_at_the_peak() -> None:
    trainer = Trainer(lr=0.1, schedule="constant")
    optimizer = make_optimizer(encoder(), nn.Identity(), trainer, VOCAB)
    assert {set_rate(optimizer, trainer, step, 10) for step in range(12)} == {1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"length": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"table_lr": -1.0},
        {"head_lr": 0.0},
        {"schedule": "cosine"},
        {"warmup": 1.0},
        {"clip": -1.0},
        {"patience": -1},
        {"weight_decay": -0.1},
        {"table_weight_decay": -0.1},
        {"checkpoint_seconds": -1.0},
    ],
)
def test_settings_that_cannot_train_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(**wrong)
    assert str(next(iter(wrong.values()))) in caught.value.message


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    model, objective, other, empty = encoder(), untied(), encoder(1), untied()
    size = save_weights(tmp_path / "w.safetensors", model, objective)
    load_weights(tmp_path / "w.safetensors", other, empty)
    assert same_weights(model.state_dict(), other.state_dict())
    assert same_weights(objective.state_dict(), empty.state_dict())
    assert size == (tmp_path / "w.safetensors").stat().st_size > 4 * (count(model) + count(objective))


def test_a_part_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    model, other = encoder(), encoder(1)
    save_weights(
        tmp_path / "d.safetensors", model, nn.Identity(), ["final.norm.weight", "blocks.0.branch.first.norm.bias"]
    )
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with torch.no_grad():
        other.final.norm.weight.fill_(7)  # type: ignore[union-attr]
    load_weights(tmp_path / "d.safetensors", other, None, partial=True)
    assert same_weights(other.state_dict(), before)  # norms start alike, and nothing else was in the file
    with pytest.raises(DataError, match="do not fit"):
        load_weights(tmp_path / "d.safetensors", other, None)


@pytest.mark.parametrize("left", [0, 5, 200, -1])
def test_truncated_weights_are_named_with_a_remedy(tmp_path: Path, left: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, encoder(), untied())
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"w\.safetensors cannot be read") as caught:
        read_weights(path)
    assert "truncated" in caught.value.hint


def test_missing_weights_and_weights_of_another_shape_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no weights"):
        read_weights(tmp_path / "none.safetensors")
    save_weights(tmp_path / "w.safetensors", encoder(), nn.Identity())
    with pytest.raises(DataError, match="do not fit"):
        load_weights(tmp_path / "w.safetensors", NextItNet(VOCAB, 16, [1, 2], final_norm=True), None)
    with pytest.raises(DataError, match=r"do not fit|lacks"):
        load_weights(tmp_path / "w.safetensors", NextItNet(VOCAB, 8, [1], final_norm=True), None, partial=True)


def test_the_log_is_cut_to_where_the_checkpoint_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    assert (journal.position, journal.records()) == (0, [])
    journal.cut(0)
    journal.append({"epoch": 1})
    kept = journal.position
    journal.append({"epoch": 2})
    with journal.path.open("a") as stream:
        stream.write('{"epo')
    journal.cut(kept)
    journal.append({"epoch": 3})
    assert journal.records() == [{"epoch": 1}, {"epoch": 3}]


def test_each_place_has_its_own_stream_and_the_same_place_the_same() -> None:
    def first(*place: str | int, seed: int = 0) -> int:
        return int(stream(seed, *place).integers(2**62))

    draws = [first("order", 0, 0), first("order", 0, 1), first("order", 1, 0), first("draws", 0, 0)]
    assert len({*draws, first("order", 0, 0, seed=1)}) == 5
    assert first("order", 0, 0) == draws[0]
    assert torch.equal(torch.rand(3, generator=generator(1, "a")), torch.rand(3, generator=generator(1, "a")))
