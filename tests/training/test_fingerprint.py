"""Fingerprints: a hash tells every tensor apart from its like, and reads weights as they are used."""

import hashlib
import json

import numpy as np
import pytest
import tiny
import torch

from userrep.methods.surgery import flatten
from userrep.training.fingerprint import difference, hashes, logits_fingerprint, tensor_hash, tensors_read


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_hash_is_of_type_shape_and_little_endian_bytes(dtype: str) -> None:
    values = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    expected = hashlib.sha256(f"{dtype}|[3, 4]|".encode())
    expected.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    assert tensor_hash(torch.from_numpy(values)) == expected.hexdigest()


def test_a_hash_sees_every_bit_the_shape_the_type_and_the_sign_of_zero() -> None:
    tensor = torch.linspace(-1, 1, 12)
    other = tensor.clone()
    other.view(torch.int32)[7] ^= 1
    half = torch.zeros(3)
    alike = [tensor, other, tensor.view(3, 4), tensor.view(4, 3), tensor.double(), half, -half, torch.zeros(()),
             torch.zeros(0), torch.zeros(0, 3)]  # fmt: skip
    assert len({tensor_hash(each) for each in alike}) == len(alike)
    assert tensor_hash(tensor.view(3, 4).t()) == tensor_hash(tensor.view(3, 4).t().contiguous())
    assert tensor_hash(tensor.bfloat16()) != tensor_hash(tensor.half())


@pytest.mark.parametrize("method", ["conure", "prune", "lora", "peterrec"])
def test_what_is_read_is_what_a_flattened_encoder_holds(method: str) -> None:
    encoder = tiny.encoder("nextitnet")
    (tiny.build(tiny.node("method", method) | {"keep": 0.5}) if method == "prune" else tiny.method(method)).adapt(
        encoder, "mean+token"
    )
    read = hashes(tensors_read(encoder))
    assert read == hashes(dict(flatten(encoder).state_dict()))
    assert not [name for name in read if "parametrizations" in name]


def test_sampled_logits_come_back_from_json_exactly_and_their_difference_is_relative_to_the_largest() -> None:
    logits = torch.randn(20, 100, generator=torch.Generator().manual_seed(0)) * 50
    found = logits_fingerprint(logits)
    back = json.loads(json.dumps(found))
    assert back == found
    assert (len(back["values"]), len(back["columns"]), back["columns"][0], back["columns"][-1]) == (16, 32, 0, 99)
    sampled = logits[:16][:, back["columns"]]
    assert torch.equal(torch.tensor(back["values"]), sampled)
    moved = logits.clone()
    moved[3, 99] += 1.0
    assert difference(back, logits_fingerprint(moved)) == pytest.approx(1 / float(sampled.abs().max()), rel=1e-4)
    assert difference(back, back) == 0
    small = logits_fingerprint(logits[:, :3] / 1000)
    assert difference(small, logits_fingerprint(logits[:, :3] / 1000 + 0.5)) == pytest.approx(0.5, rel=1e-4)


def test_logits_of_other_cells_or_no_numbers_are_infinitely_far() -> None:
    found = logits_fingerprint(torch.zeros(4, 5))
    assert difference(found, logits_fingerprint(torch.zeros(4, 6))) == float("inf")
    assert difference(found, logits_fingerprint(torch.full((4, 5), torch.nan))) == float("inf")
    for values in ("x", None, [["a"] * 5] * 4, [[0.0]], [[None] * 5] * 4, [[0.0] * 5, [0.0]]):
        assert difference(found | {"values": values}, found) == float("inf")
