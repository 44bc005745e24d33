"""Growth, over every encoder: what was known stays as it was, what is new trains, lies in the delta and comes back."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from userrep.methods.growth import GrownTable, grow_for, with_growth
from userrep.methods.method import Method
from userrep.methods.surgery import matching, train_only
from userrep.models.encoder import Encoder
from userrep.objectives.cross_domain import CrossDomain
from userrep.sequences.protocol import Protocol
from userrep.stages.transfer import delta_names
from userrep.training.weights import identities, load_weights, save_weights

PROTOCOL = Protocol(history=tiny.STEPS, readout="mean")
METHODS = {"head": ({}, "stem.table.fresh"), "lora": ({"table_rank": 2}, "stem.table.inner.fresh")}
every_model = pytest.mark.parametrize("model", tiny.names("model"))
every_method = pytest.mark.parametrize("method", METHODS)


def grown(model: str, method: str) -> tuple[Encoder, CrossDomain, Method, GrownTable | None]:
    options, _ = METHODS[method]
    encoder, task, adapting = tiny.encoder(model), CrossDomain(history="both"), tiny.method(method)
    vars(adapting).update(options)
    table = grow_for(encoder, task, tiny.data(), PROTOCOL)
    adapting.adapt(encoder, PROTOCOL.readout)
    task.setup(encoder, tiny.data(), PROTOCOL)
    return encoder, task, adapting, table


@every_model
@every_method
def test_states_of_known_items_are_those_of_the_base(model: str, method: str) -> None:
    encoder, *_ = grown(model, method)
    items = tiny.histories()
    assert torch.equal(tiny.states(encoder, items), tiny.states(tiny.encoder(model), items))
    assert len(encoder.item_vectors()) == tiny.data().merged("main", "target").vocab_size
    assert encoder.vocab_size == tiny.data().sequences("main").vocab_size


@every_model
@every_method
def test_a_step_moves_the_rows_that_were_read_and_base_and_delta_give_all_back(
    model: str, method: str, tmp_path: Path
) -> None:
    encoder, task, adapting, table = grown(model, method)
    base = identities(encoder) - {id(table.fresh.weight)}
    phases = with_growth(encoder, adapting.phases(encoder), table)
    names = delta_names(adapting, encoder, phases, base)
    place = METHODS[method][1] + ".weight"
    assert place in names
    assert [name for name in matching(encoder, phases[0].trainable) if "fresh" in name] == [place]
    train_only(encoder, phases[0].trainable)
    start = table.fresh.weight.detach().clone()
    feed = task.feed(tiny.data(), PROTOCOL, np.ones(tiny.data().num_users, dtype=bool), tiny.STEPS, 64)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=100.0)
    task.loss(encoder, batch, torch.Generator()).backward()
    optimizer.step()
    moved = (table.fresh.weight != start).any(dim=1)
    read = batch.items[batch.items >= table.known].unique() - table.known
    assert set(moved.nonzero().flatten().tolist()) == set(read.tolist())
    if method == "head":
        assert torch.equal(encoder.item_vectors()[: table.known], tiny.encoder(model).item_vectors())
    save_weights(tmp_path / "delta.safetensors", encoder, task, names)
    again, head, *_ = grown(model, method)
    load_weights(tmp_path / "delta.safetensors", again, head, partial=True)
    assert torch.equal(tiny.users(again, batch.items), tiny.users(encoder, batch.items))


def test_what_is_asked_within_the_source_domain_never_meets_the_items_that_were_added() -> None:
    encoder, *_, table = grown("sasrec", "head")
    data, task = tiny.data(), tiny.objective("task", "next_item")
    task.setup(encoder, data, PROTOCOL)
    feed = task.feed(data, PROTOCOL, np.ones(data.num_users, dtype=bool), tiny.STEPS, 64)
    batch = feed.batch(feed.order(np.random.default_rng(0))[0])
    task.loss(encoder, batch, torch.Generator()).backward()
    assert table.fresh.weight.grad.eq(0).all()
    assert tiny.encoder("sasrec").item_vectors().shape == task.output(encoder)[0].shape
