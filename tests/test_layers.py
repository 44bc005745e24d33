"""The shape of the code: imports point downward, files stay short, nothing dangerous is called."""

import ast
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import userrep

TOP = Path(userrep.__file__).parent
FLOORS = {
    "errors": 0,
    **dict.fromkeys(
        ("files", "console", "build", "signals", "groups", "packages", "composition", "team", "board", "progress"), 1
    ),
    "config": 2,
    **dict.fromkeys(("sequences", "datasets"), 3),
    "models": 4,
    "evaluation": 5,
    "objectives": 6,
    "methods": 7,
    **dict.fromkeys(("baselines", "interop"), 8),
    **dict.fromkeys(("training", "run", "sweep", "planning"), 9),
    "stages": 10,
    **dict.fromkeys(("arguments", "command", "verb", "looking", "cli", "__main__"), 11),
}
FILES = sorted(path for path in TOP.rglob("*.py") if "conf" not in path.relative_to(TOP).parts)
FORBIDDEN_IMPORTS = {"click", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
NAMES = [str(path.relative_to(TOP)) for path in FILES]


def module_of(path: Path) -> str:
    parts = ("userrep", *path.relative_to(TOP).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Visit everything that runs, imports inside functions included."""
    for child in ast.iter_child_nodes(node):
        if not for_types_only(child):
            yield child
            yield from walk(child)


def imported(path: Path) -> Iterator[str]:
    for node in walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name in MODULES and name != "userrep"}


def floor(module: str) -> int:
    return FLOORS[module.split(".")[1]]


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_downward(path: Path) -> None:
    module = module_of(path)
    if module == "userrep":
        assert not ours(path)
        return
    upward = [name for name in ours(path) if floor(name) > floor(module)]
    assert not upward, f"{module} imports {upward} from above"


def test_no_module_imports_itself_through_others() -> None:
    graph = {module: ours(path) - {module} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join((*trail, module))}"
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{path.name} has {lines} lines: split it"
    if lines > 300:
        warnings.warn(f"{path.name} has {lines} lines; 300 are enough", stacklevel=1)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_file_says_in_one_sentence_what_it_owns(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
        return
    first = (ast.get_docstring(tree_of(path)) or "").partition("\n\n")[0].replace("\n", " ")
    assert first.endswith("."), f"{path.name}: the docstring's first paragraph is no sentence: {first!r}"
    assert ". " not in first.replace("...", ""), f"{path.name}: more than one sentence: {first!r}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_nothing_dangerous_is_imported_or_called(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "misc", "common")
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & FORBIDDEN_IMPORTS
    if module_of(path) != "userrep.composition":
        assert not roots & {"hydra", "omegaconf"}, "composition.py is the only caller of Hydra"
    for name, call in calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name not in ("eval", "exec", "yaml.load", "os.system"), name
        assert not name.startswith("pickle."), "pickle may only be named for its errors"
        assert options.get("allow_pickle", "False") == "False"
        assert options.get("shell", "False") == "False"
        if name == "torch.load":
            assert options.get("weights_only") == "True", "torch.load needs weights_only=True"
        if name == "print":
            assert module_of(path) == "userrep.console", "console.py is the one place that prints"


def test_the_library_never_reseeds_the_world_outside_training() -> None:
    for module, path in MODULES.items():
        seeding = [name for name, _ in calls(path) if name in ("torch.manual_seed", "np.random.seed", "random.seed")]
        forks = any(name == "torch.random.fork_rng" for name, _ in calls(path))  # puts the world back
        assert not seeding or forks or module.startswith("userrep.training"), f"{module} calls {seeding}"


def test_every_folder_of_the_package_is_on_a_floor() -> None:
    found = {module.split(".")[1] for module in MODULES if module != "userrep"}
    assert found <= set(FLOORS), f"say on which floor: {found - set(FLOORS)}"
