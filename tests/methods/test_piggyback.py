"""Piggyback: masks, their gradient written out, what they cost on disk, and that nothing else moves."""

from pathlib import Path

import pytest
import torch
from loop import KINDS, LENGTH, adapting, advance, assert_same, finish, make_job
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from userrep.errors import ConfigError, DataError
from userrep.methods.finetune import Full
from userrep.methods.piggyback import Piggyback, Switches, packed, unpacked
from userrep.methods.prune import MagnitudePrune, sparsity
from userrep.methods.surgery import kernels, matching, original_of, weight_of
from userrep.models.encoder import Encoder
from userrep.models.nextitnet import NextItNet
from userrep.sequences.store import Prepared
from userrep.training.weights import load_weights, read_weights, save_weights

WIDTH, NOTHING = 8, nn.Identity()


def small() -> NextItNet:
    torch.manual_seed(0)
    encoder = NextItNet(20, WIDTH, [1, 2])
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def adapted(seed: int | None = 1) -> tuple[Encoder, Piggyback]:
    """Adapt a small encoder and, with a seed, draw scores of which about half are above the threshold."""
    encoder, method = small(), Piggyback()
    method.adapt(encoder, "last")
    if seed is not None:
        torch.manual_seed(seed)
        for switches in method.switches:
            nn.init.normal_(switches.score, mean=method.threshold, std=method.threshold)
    return encoder, method


def items() -> Tensor:
    return torch.randint(2, 20, (3, 6), generator=torch.Generator().manual_seed(0))


def test_a_weight_is_read_where_its_score_is_above_the_threshold() -> None:
    plain, (encoder, method) = small(), adapted()
    assert kernels(plain) == kernels(encoder)
    for name, switches in zip(kernels(plain), method.switches, strict=True):
        for mine, base, score in zip(
            weight_of(encoder, name).flatten().tolist(), plain.get_parameter(name).flatten().tolist(),
            switches.score.flatten().tolist(), strict=True,
        ):  # fmt: skip
            assert mine == (base if score > 0.005 else 0.0)
    exactly = Switches(torch.ones(1, 1), threshold=0.25, start=0.25)
    assert exactly(torch.ones(1, 1)).item() == 0


def test_the_gradient_passes_the_threshold_as_if_it_were_not_there() -> None:
    torch.manual_seed(2)
    weight, switches = torch.randn(4, 3, dtype=torch.float64), Switches(torch.zeros(4, 3).double(), 0.005, 0.01)
    nn.init.normal_(switches.score, mean=0.005, std=0.005)
    inputs, wanted = torch.randn(7, 3).double(), torch.randn(7, 4).double()
    F.mse_loss(F.linear(inputs, switches(weight)), wanted).backward()
    read = weight * (switches.score.detach() > 0.005)
    to_read = 2 / wanted.numel() * (inputs @ read.t() - wanted).t() @ inputs  # of the squared error
    assert 0 < (read == 0).sum() < read.numel()
    torch.testing.assert_close(switches.score.grad, to_read * weight)  # of those switched off too: they may come back


def test_a_broken_weight_is_harmless_once_it_is_switched_off() -> None:
    weight = torch.tensor([[1.0, float("nan"), float("inf")]], requires_grad=True)
    switches = Switches(weight.detach(), 0.005, 0.01)
    with torch.no_grad():
        switches.score[0, 1:] = 0.0
    read = switches(weight)
    read.sum().backward()
    assert read.tolist() == [[1, 0, 0]]
    assert switches.score.grad is not None
    assert weight.grad is not None
    assert switches.score.grad.tolist() == [[1, 0, 0]]
    assert weight.grad.tolist() == [[1, 0, 0]]


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of job of the tests of the loop: adapt by masks to a label."""
    monkeypatch.setitem(KINDS, "piggyback", adapting(Piggyback, "mean"))
    return "piggyback"


def test_training_switches_weights_off_and_leaves_the_base_as_it_was(
    prepared: Prepared, tmp_path: Path, kind: str
) -> None:
    job = make_job(prepared, tmp_path, kind)
    chosen = {name for name in matching(job.encoder, job.phases[0].trainable) if name.endswith(".score")}
    before = {name: p.detach().clone() for name, p in job.encoder.named_parameters() if name not in chosen}
    assert sparsity(job.encoder) == 0
    finish(job)
    assert all(torch.equal(dict(job.encoder.named_parameters())[name], held) for name, held in before.items())
    assert 0.01 < sparsity(job.encoder) < 0.99
    assert len(chosen) == len(kernels(job.encoder))
    with torch.no_grad():
        items = torch.randint(2, 40, (4, LENGTH))
        read = job.encoder.eval()(items)
        for name in kernels(job.encoder):  # what is switched off is really not read
            original = original_of(job.encoder, name)[1]
            original[weight_of(job.encoder, name) == 0] = float("nan")
        assert torch.equal(job.encoder(items), read)


def test_a_run_that_was_killed_ends_with_the_same_masks(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    whole = finish(make_job(prepared, tmp_path / "whole", kind, epochs=1))
    advance(make_job(prepared, tmp_path / "cut", kind, epochs=1, checkpoint_seconds=0), 6)
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    assert_same(finish(make_job(prepared, tmp_path / "cut", kind, epochs=1, checkpoint_seconds=0)), whole)


def test_a_finished_mask_takes_a_bit_a_weight_and_gives_the_same_states(tmp_path: Path) -> None:
    encoder, method = adapted()
    states, path = encoder(items()), tmp_path / "delta.safetensors"
    names = set(matching(encoder, method.phases(encoder)[0].trainable))
    loose = save_weights(path, encoder, NOTHING, names)
    method.finish(encoder)
    assert torch.equal(encoder(items()), states)
    size = save_weights(path, encoder, NOTHING, names)
    held = read_weights(path)
    weights = sum(weight_of(encoder, name).numel() for name in kernels(encoder))
    assert sum(tensor.numel() * tensor.element_size() for tensor in held.values()) == weights // 8
    assert size < loose - 3 * weights
    again, _ = adapted(seed=None)
    load_weights(path, again, None, partial=True)
    assert torch.equal(again(items()), states)


def test_scores_that_are_still_training_are_written_in_full() -> None:
    encoder, method = adapted()
    again, other = adapted(seed=None)
    again.load_state_dict(encoder.state_dict())
    for mine, theirs in zip(method.switches, other.switches, strict=True):
        assert torch.equal(mine.score, theirs.score)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 4, 8), (0, 3)])
def test_flags_survive_being_packed(shape: tuple[int, ...]) -> None:
    on = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.5
    held = packed(on)
    assert len(held) == -(-on.numel() // 8)
    assert torch.equal(unpacked(held, on.shape), on)


def test_a_mask_of_another_kernel_is_refused(tmp_path: Path) -> None:
    encoder, method = adapted()
    method.finish(encoder)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    name = next(name for name in state if name.endswith(".score"))
    path = tmp_path / "delta.safetensors"
    save_file(state | {name: state[name][:-1]}, path)
    with pytest.raises(DataError, match="do not fit"):
        load_weights(path, adapted(seed=None)[0], None)


def test_masks_stack_on_pruned_weights_and_on_those_of_an_earlier_task() -> None:
    encoder, prune, method = small(), MagnitudePrune(0.5), Piggyback()
    prune.adapt(encoder, "last")
    prune.prune(encoder)
    before = encoder(items())
    method.adapt(encoder, "last")
    assert torch.equal(encoder(items()), before)
    second = Piggyback()
    second.adapt(encoder, "last")
    assert torch.equal(encoder(items()), before)
    with torch.no_grad():
        method.switches[0].score.zero_()
    assert (weight_of(encoder, kernels(encoder)[0]) == 0).all()
    assert not set(matching(encoder, second.trainable(encoder))) & {
        name for name, p in encoder.named_parameters() if any(p is s.score for s in method.switches)
    }


def test_full_fine_tuning_of_a_finished_run_trains_masks_on_from_where_they_ended() -> None:
    encoder, method = adapted()
    method.finish(encoder)
    scores = [switches.score for switches in method.switches]
    assert all(score.unique().tolist() == pytest.approx([0, method.start]) for score in scores)
    trained = set(matching(encoder, Full().phases(encoder)[0].trainable))
    assert sum(name.endswith(".score") for name in trained) == len(scores)


@pytest.mark.parametrize(("threshold", "start"), [(0.01, 0.01), (-1.0, 0.1), (0.1, float("inf")), (float("nan"), 1.0)])
def test_a_start_at_which_not_all_weights_are_read_is_refused(threshold: float, start: float) -> None:
    with pytest.raises(ConfigError, match="piggyback has") as caught:
        Piggyback(threshold=threshold, start=start)
    assert "start above" in caught.value.hint
