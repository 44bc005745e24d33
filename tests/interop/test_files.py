"""Checkpoint files are read as tensors, and nothing in them is run."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from userrep.errors import DataError
from userrep.interop.files import read_checkpoint

STATE = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_three_formats_give_the_same_tensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", **{name: tensor.numpy() for name, tensor in STATE.items()})
    for name in ("a.safetensors", "a.pth", "a.npz"):
        assert same(read_checkpoint(tmp_path / name)), name


def test_a_state_dict_inside_a_training_checkpoint_is_found(tmp_path: Path) -> None:
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        tmp_path / "a.pt",
    )
    assert same(read_checkpoint(tmp_path / "a.pt"))


class Bomb:
    """An object whose loading would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, save: object) -> None:
    trace = tmp_path / "was-run"
    save({"a": Bomb(str(trace))}, tmp_path / "a.pth")  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert "state_dict" in caught.value.hint
    assert not trace.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(DataError):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.npz"])
def test_truncated_and_missing_files_are_data_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(DataError, match="no checkpoint"):
        read_checkpoint(path)
    for content in (b"", b"nothing of use", b"user,country\n1,NL\n2,DE\n"):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_checkpoint(path)
        assert "allow_pickle" not in caught.value.message
    with pytest.raises(DataError, match="is a folder"):
        read_checkpoint(tmp_path)
    if name == "a.npz":
        np.savez(path, **{key: tensor.numpy() for key, tensor in STATE.items()})
    else:
        save_file(STATE, path) if name == "a.safetensors" else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError):
        read_checkpoint(path)


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="'epoch' is no tensor"):
        read_checkpoint(tmp_path / "a.pth")
