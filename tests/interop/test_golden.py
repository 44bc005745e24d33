"""States of published weights equal those that the published code computed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from userrep.interop import convert, from_state_dict
from userrep.interop.files import read_checkpoint
from userrep.methods.surgery import set_readout
from userrep.models.encoder import Encoder

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {
    "tenrec-nextitnet": GOLDEN / "nextitnet_causal.npz",
    "tenrec-peterrec": GOLDEN / "peterrec_parallel_noskip.npz",
}
DILATIONS = [1, 4, 1, 4]
SASREC = {True: GOLDEN / "sasrec_prenorm.npz", False: GOLDEN / "sasrec_postnorm.npz"}  # by norm_first


@pytest.mark.parametrize("kind", FILES)
def test_states_equal_the_published_ones_to_a_hundred_thousandth(kind: str) -> None:
    golden = np.load(FILES[kind])
    shape = {"dilations": golden["dilations"].tolist(), "kernel_size": int(golden["kernel_size"])}
    encoder = from_state_dict(kind, read_checkpoint(FILES[kind]), **shape)
    with torch.inference_mode():
        states = encoder(torch.from_numpy(golden["items"]))
    assert not encoder.training
    assert states.shape == golden["states"].shape
    assert np.abs(states.numpy() - golden["states"]).max() <= 1e-5


@pytest.mark.parametrize("kind", FILES)
def test_states_do_not_hang_on_how_much_padding_precedes_a_sequence(kind: str) -> None:
    golden = np.load(FILES[kind])
    encoder = from_state_dict(kind, read_checkpoint(FILES[kind]), dilations=DILATIONS)
    items = torch.nn.functional.pad(torch.from_numpy(golden["items"]), (9, 0))
    with torch.inference_mode():
        states = encoder(items)[:, 9:]
    assert np.abs(states.numpy() - golden["states"]).max() <= 1e-5


@pytest.mark.parametrize("kind", FILES)
def test_a_conversion_fills_every_tensor_of_the_encoder(kind: str) -> None:
    converted = convert(kind, read_checkpoint(FILES[kind]), dilations=DILATIONS)
    assert converted.encoder.keys() == converted.module().state_dict().keys()
    assert converted.head["table"].shape == (51, 16)
    assert converted.head["bias"].shape == (51,)


def sasrec(norm_first: bool) -> tuple[Encoder, np.lib.npyio.NpzFile]:
    golden, state = np.load(SASREC[norm_first]), read_checkpoint(SASREC[norm_first])
    shape = {"num_heads": int(golden["num_heads"]), "norm_first": norm_first}
    return from_state_dict("sasrec-pytorch", state, **shape), golden


@pytest.mark.parametrize("norm_first", [True, False])
def test_states_of_a_sasrec_equal_the_published_ones_behind_its_padding(norm_first: bool) -> None:
    encoder, golden = sasrec(norm_first)
    with torch.inference_mode():
        states = encoder(torch.from_numpy(golden["items"])).numpy()
    real = golden["items"] != 0
    assert 0 < real.mean() < 1
    assert not encoder.training
    assert np.abs(states - golden["states"])[real].max() <= 1e-5


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_published_sasrec_hangs_on_padding_but_its_user_vectors_do_not(norm_first: bool) -> None:
    encoder, golden = sasrec(norm_first)
    padded = torch.from_numpy(golden["items"][:1])  # seven steps of padding
    trimmed = padded[:, 5:]
    with torch.inference_mode():
        assert (encoder(padded)[:, 5:] - encoder(trimmed)).abs().max() > 0.1
        for readout in ("last", "mean+token", "attention"):
            set_readout(encoder, readout)
            assert torch.equal(encoder.user(padded), encoder.user(trimmed))


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_sasrec_fills_every_tensor_of_the_encoder_and_has_no_head(norm_first: bool) -> None:
    state = read_checkpoint(SASREC[norm_first])
    converted = convert("sasrec-pytorch", state, num_heads=2, norm_first=norm_first)
    assert converted.encoder.keys() == converted.module().state_dict().keys()
    assert converted.head == {}
