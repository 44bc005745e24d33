"""Checkpoints that do not fit are refused by the name of the tensor."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from userrep.errors import ConfigError, DataError, UsageError
from userrep.interop import convert, from_state_dict
from userrep.interop.files import read_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
DILATIONS = [1, 4, 1, 4]
CONV = "residual_blocks.2.conv2.weight"


@pytest.fixture
def state() -> dict[str, Tensor]:
    return read_checkpoint(GOLDEN / "nextitnet_causal.npz")


def test_an_unknown_kind_lists_the_kinds(state: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match="tenrec-nextitnt") as caught:
        from_state_dict("tenrec-nextitnt", state, dilations=DILATIONS)
    assert "did you mean 'tenrec-nextitnet'" in caught.value.hint
    assert "tenrec-peterrec" in caught.value.hint


def test_a_missing_tensor_is_named(state: dict[str, Tensor]) -> None:
    del state[CONV]
    with pytest.raises(DataError, match=f"no '{CONV}'"):
        from_state_dict("tenrec-nextitnet", state, dilations=DILATIONS)


def test_an_unexpected_tensor_is_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match=r"unexpected 'position\.weight'"):
        from_state_dict("tenrec-nextitnet", state | {"position.weight": torch.zeros(3)}, dilations=DILATIONS)


def test_a_misshapen_tensor_is_named_with_both_shapes(state: dict[str, Tensor]) -> None:
    with pytest.raises(
        DataError, match=r"'residual_blocks\.2\.conv2\.weight' has shape \(16, 16, 3\), not \(16, 16, 1, 3\)"
    ):
        from_state_dict("tenrec-nextitnet", state | {CONV: state[CONV].squeeze(2)}, dilations=DILATIONS)


def test_patches_are_not_dropped_silently() -> None:
    patched = read_checkpoint(GOLDEN / "peterrec_parallel_noskip.npz")
    with pytest.raises(DataError, match=r"unexpected 'residual_blocks\.0\.mp1") as caught:
        from_state_dict("tenrec-nextitnet", patched, dilations=DILATIONS)
    assert "tenrec-peterrec" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({}, "tells its dilations"),
        ({"dilations": [1, 4]}, "the checkpoint has 4 blocks"),
        ({"dilations": [1, 4, 1, 0]}, "dilations are"),
        ({"dilations": "1414"}, "dilations are"),
        ({"dilations": DILATIONS, "kernel_size": 5}, "kernel_size is 5"),
        ({"dilations": DILATIONS, "heads": 2}, "no shape 'heads'"),
    ],
)
def test_a_shape_that_is_not_the_checkpoints_is_refused(
    state: dict[str, Tensor], shape: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        from_state_dict("tenrec-nextitnet", state, **shape)


def test_an_output_layer_over_other_classes_is_left_out(state: dict[str, Tensor]) -> None:
    other = {"final_layer.weight": torch.zeros(7, 16), "final_layer.bias": torch.zeros(7)}
    assert convert("tenrec-nextitnet", state | other, dilations=DILATIONS).head == {}


def test_half_precision_checkpoints_become_single_precision(state: dict[str, Tensor]) -> None:
    halved = {name: tensor.half() for name, tensor in state.items()}
    encoder = from_state_dict("tenrec-nextitnet", halved, dilations=DILATIONS)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"norm_first": True}, "tells its num_heads"),
        ({"num_heads": 2}, "tells its norm_first"),
        ({"num_heads": 0, "norm_first": True}, "num_heads is 0"),
        ({"num_heads": 2, "norm_first": "yes"}, "norm_first is 'yes'"),
        ({"num_heads": 2, "norm_first": True, "layers": 2}, "no shape 'layers'"),
    ],
)
def test_a_sasrec_needs_the_shape_that_no_tensor_tells(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_state_dict("sasrec-pytorch", read_checkpoint(GOLDEN / "sasrec_prenorm.npz"), **shape)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 16 does not give each of 3 heads"):
        from_state_dict("sasrec-pytorch", read_checkpoint(GOLDEN / "sasrec_prenorm.npz"), num_heads=3, norm_first=True)


def test_a_history_longer_than_the_rows_of_a_published_sasrec_is_refused_with_the_remedy() -> None:
    encoder = from_state_dict(
        "sasrec-pytorch", read_checkpoint(GOLDEN / "sasrec_prenorm.npz"), num_heads=2, norm_first=True
    )
    with pytest.raises(ConfigError, match="15 columns, the published model 14") as caught:
        encoder(torch.ones(1, 15, dtype=torch.long))
    assert "protocol.history=14" in caught.value.hint
