"""Checkpoint files of other code, read as tensors and as nothing else."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from userrep.errors import DataError

WRAPPERS = ("state_dict", "model_state_dict")  # keys under which training scripts keep the state dict
PREFIXES = ("module.", "weight/")  # of nn.DataParallel, of this project's golden files


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file, an .npz file or one of `torch.save`; no code in it is run.

    Of an .npz with `weight/` names, only those are read.

    Raises DataError where the file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        cause = f"{path} is a folder, no checkpoint" if path.is_dir() else f"there is no checkpoint {path}"
        raise DataError(cause, "name a .safetensors or .npz file, or one of torch.save")
    try:
        found = _load(path)
    except (SafetensorError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot read {path}: {cause}", "the file is damaged: copy it again") from error
    except Exception as error:  # what is no file of its kind ends in whatever error its bytes lead to
        raise DataError(
            f"{path} is no file of tensors, or holds objects that loading would have to run",
            "save its state dict alone: torch.save(model.state_dict(), FILE)",
        ) from error
    return _unwrapped(path, found)


def _load(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            own = [name for name in arrays.files if name.startswith("weight/")] or arrays.files
            return {name: torch.from_numpy(arrays[name]) for name in own}
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    return dict(loaded) if isinstance(loaded, dict) else {"": loaded}


def _unwrapped(path: Path, found: dict[str, Any]) -> dict[str, Tensor]:
    inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), found)
    strange = [name for name, value in inner.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strange or not inner:
        what = f"'{strange[0]}' is no tensor" if strange else "it is empty"
        raise DataError(
            f"{path} is no state dict: {what}",
            "save its state dict alone: torch.save(model.state_dict(), FILE)",
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in inner):
            inner = {name.removeprefix(prefix): tensor for name, tensor in inner.items()}
    return inner
