"""The config groups: which verb uses which, where their yaml files lie, what may be chosen."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

GROUPS = ("dataset", "model", "objective", "method", "task", "protocol", "trainer", "baseline", "experiment")
OPTIONAL = ("task", "baseline", "experiment")

_own: ContextVar[Path | None] = ContextVar("own", default=None)


@dataclass(frozen=True)
class Verb:
    """The config sections a verb uses, and its choices where they are not those of config.yaml."""

    uses: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)


VERBS: Mapping[str, Verb] = {
    "download": Verb(("dataset",)),
    "preprocess": Verb(("dataset",)),
    "pretrain": Verb(("dataset", "model", "objective", "protocol", "trainer")),
    "transfer": Verb(("dataset", "method", "task", "protocol", "trainer"), {"trainer": "transfer"}),
    "prune": Verb(("dataset", "method", "protocol", "trainer"), {"trainer": "prune", "method": "prune"}),
    "baseline": Verb(("dataset", "task", "protocol", "baseline")),
    "import": Verb(("dataset", "protocol")),  # model and objective come from the checkpoint
}


def conf_dir() -> Path:
    """Return the folder of the yaml files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


@contextmanager
def with_own(folder: Path) -> Iterator[None]:
    """Also look for yaml files in `folder`, laid out like conf/, inside the block: data sets of the user's own."""
    token = _own.set(folder)
    try:
        yield
    finally:
        _own.reset(token)


def own_dir() -> Path | None:
    """Return the folder of the user's own data sets, if there is one; what `conf/` names already it cannot change."""
    folder = _own.get()
    return folder if folder and folder.is_dir() else None


def choices(group: str, config_dir: Path | None = None) -> list[str]:
    """List the yaml files of a config group, the user's own included."""
    folders = [folder for folder in (conf_dir(), config_dir, own_dir()) if folder]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def complete(incomplete: str, before: Sequence[str] = (), verb: str | None = None) -> list[str]:
    """Complete an override on the command line by reading file names only.

    bash splits words at `=`: `before` then ends in the bare key, or in `=`, and the answer is the bare value.
    """
    groups = (*VERBS[verb].uses, "experiment") if verb and verb in VERBS else GROUPS
    split = [word for word in before if word != "="][-1:]
    if split and split[0] in groups and "=" not in incomplete.lstrip("="):
        return [name for name in choices(split[0]) if name.startswith(incomplete.lstrip("="))]
    key, separator, value = incomplete.partition("=")
    if separator:
        found = choices(key) if key in groups else []
        return [f"{key}={name}" for name in found if name.startswith(value)]
    return [f"{name}=" for name in (*groups, "seed") if name.startswith(key)]
