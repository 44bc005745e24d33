"""States of published weights equal those that the published code computed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from userrep.interop import convert, from_state_dict
from userrep.interop.files import read_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {
    "tenrec-nextitnet": GOLDEN / "nextitnet_causal.npz",
    "tenrec-peterrec": GOLDEN / "peterrec_parallel_noskip.npz",
}
DILATIONS = [1, 4, 1, 4]


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
