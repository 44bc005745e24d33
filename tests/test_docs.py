"""The documents: every command in them runs, every link leads somewhere, every method is listed."""

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import REAL, TOP, Document, commands, documents, smoke

from userrep import console
from userrep.cli import main
from userrep.files import read_yaml

COMPOSING = ("download", "preprocess", "pretrain", "transfer", "prune", "baseline", "import")
IDS = [document.name for document in documents()]
HOURS = ("docs/results.md", "docs/performance.md")  # in full by `make results` and `make bench`
BY_HAND = ("docs/tasks.md",)  # on data that no command can fetch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a command does to a user's home, as installing completion does, away from the real one."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart was typed as far as `runs/base`, on generated data."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (["preprocess"], ["pretrain", "--run", "runs/base"]):
            succeed(smoke(words), "the quickstart")
    return folder


@pytest.fixture(scope="session")
def begun_in_earnest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on MovieLens 100K, as it is written."""
    folder = tmp_path_factory.mktemp("earnest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (["download", "ml-100k"], ["preprocess"], ["pretrain", "--run", "runs/base"]):
            succeed(words, "the quickstart")
    return folder


def succeed(words: list[str], where: str) -> None:
    """Run a command line in this process."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    console.use_json(False)
    assert not ended.value.code, f"{where}: userrep {' '.join(words)} ended with exit code {ended.value.code}"


@pytest.mark.timeout(600)  # on a busy machine; some 15 s of one core
@pytest.mark.parametrize("document", documents(), ids=IDS)
def test_every_command_runs(
    document: Document, request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--run runs/base\n" not in document.text:
        shutil.copytree(request.getfixturevalue("begun"), workplace, dirs_exist_ok=True)
    write_files_of_a_user(workplace)
    overlay = install_examples(document, workplace / "own-conf", monkeypatch)
    for block in document.shells:
        for program, *words in commands(block, workplace):
            where = f"{document.name}, block of line {block.line}"
            if program == "make":
                assert_targets(words, where)
            if program != "userrep":
                continue
            words += overlay_for(words, overlay)
            if not block.as_it_stands:
                dry_run(words, where)
                short = words[0] in (*COMPOSING, "plan") or words[:2] == ["sweep", "transfer"]
                words = smoke(words) if short else words
            run_here(words, where)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", [d for d in documents() if d.name not in HOURS + BY_HAND], ids=lambda d: d.name)
def test_every_command_runs_on_real_data(
    document: Document, request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--run runs/base\n" not in document.text:
        shutil.copytree(request.getfixturevalue("begun_in_earnest"), workplace, dirs_exist_ok=True)
    write_files_of_a_user(workplace)
    overlay = install_examples(document, workplace / "own-conf", monkeypatch)
    for block in document.shells:
        for program, *words in commands(block, workplace):
            if program == "userrep" and "cuda" not in words:
                run_here([*words, *overlay_for(words, overlay)], f"{document.name}, block of line {block.line}")


def run_here(words: list[str], where: str) -> None:
    """Run a command of a document; completion is installed for the shell that asks, so only the flag is checked."""
    if words == ["--install-completion"]:
        words = ["--help"]
    succeed(words, where)


def overlay_for(words: list[str], overlay: list[str]) -> list[str]:
    """Return the flags for the yaml files that a document shows, where a command takes them."""
    return overlay if words[0] in COMPOSING and "--config-dir" not in words else []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_examples_of_the_readme_are_held_to_every_law_with_no_new_test_code(tmp_path: Path) -> None:
    for folder in ("userrep", "conf", "tests"):
        shutil.copytree(TOP / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", tmp_path)
    examples = [block for block in Document(TOP / "README.md").blocks if block.file]
    for block in examples:
        (tmp_path / str(block.file)).write_text(block.text, encoding="utf-8")
    names = {Path(str(block.file)).stem for block in examples if block.language == "python"}
    laws = ["pytest", "-n0", "tests/contracts", "-k", " or ".join(sorted(names))]
    for tool in (laws, ["ruff", "check", "userrep"], ["mypy"]):
        command, here = [sys.executable, "-m", *tool], os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:]


def dry_run(words: list[str], where: str) -> None:
    """Check the command as it is written, as far as that goes without its data."""
    if words[0] in ("download", "preprocess", "pretrain") and "--dry-run" not in words:
        succeed([*words, "--dry-run"], where)


def assert_targets(words: list[str], where: str) -> None:
    """Every word of a `make` command but its variables names a target."""
    targets = re.findall(r"^([a-z][\w-]*):", (TOP / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    unknown = [word for word in words if "=" not in word and word not in targets]
    assert not unknown, f"{where}: the Makefile has no target {unknown[0]}"


def install_examples(document: Document, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the files that a document shows where a reader would; return the flags that find its yaml."""
    for block in document.blocks:
        if block.file is None:
            continue
        if block.language == "python":
            name = block.file.removesuffix(".py").replace("/", ".")
            module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader=None))
            exec(compile(block.text, block.file, "exec"), module.__dict__)
            monkeypatch.setitem(sys.modules, name, module)
        elif block.language == "yaml":
            path = folder / Path(block.file).relative_to("conf")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return ["--config-dir", str(folder)] if folder.exists() else []


def write_files_of_a_user(folder: Path) -> None:
    """Write the files that the documents say a user has: events, labels, a split, a checkpoint and its rows."""
    rng = random.Random(0)
    people = [f"user{number}" for number in range(60)]
    events = [f"{who},item{rng.randrange(30)},{step * 60}" for who in people for step in range(rng.randrange(8, 20))]
    write_csv(folder / "events.csv", "user,item,time", events)
    write_csv(folder / "users.csv", "user,country", [f"{who},{rng.choice(('DE', 'FR', 'IT'))}" for who in people])
    roles = ((0, "train"), (4, "valid"), (5, "test"))
    runs = [f"early,0,{who},{position},{role}" for who in people for position, role in roles]
    write_csv(folder / "splits.csv", "split,fold,user,position,role", runs)
    shutil.copy(TOP / "tests" / "golden" / "nextitnet_causal.npz", folder / "checkpoint.npz")
    names = ["Toy Story (1995)", *(f"i{number:05d}" for number in range(49))]  # of a film, of generated items
    write_csv(folder / "people.csv", "user", ["1", "u00001"])  # of a real data set, of the generated one
    write_csv(folder / "new.csv", "user,item", ["me,Toy Story (1995)", "me,i00001"])
    write_csv(folder / "rows.csv", "raw_item,row", [f"{name},{row}" for row, name in enumerate(names, 1)])


def write_csv(path: Path, header: str, lines: list[str]) -> None:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def test_the_json_answers_have_the_documented_keys(
    begun: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(begun, workplace, dirs_exist_ok=True)
    write_files_of_a_user(workplace)
    documented = json_keys(Document(TOP / "docs" / "formats.md"))
    imported = ["import", "checkpoint.npz", "--kind", "tenrec-nextitnet", "--shape", "dilations=[1,4,1,4]"]
    for words in (
        ["download", "ml-100k"], ["preprocess"],
        ["pretrain", "--run", "runs/json"], ["prune", "runs/base", "--export", "runs/x"],
        ["transfer", "--method", "head", "--from", "runs/base", "--run", "runs/head"], ["evaluate", "runs/head"],
        ["baseline", "majority", "--run", "runs/majority"], ["compare", "runs/head", "runs/majority"],
        ["chain", "runs/head"],
        [*imported, "--items", "rows.csv"], ["methods"],
        ["runs"], ["show", "runs/head"], ["recommend", "runs/base", "--users", "people.csv", "--out", "lists.csv"],
        ["embed", "runs/base", "--out", "users.parquet"], ["probe", "runs/base", "--label", "age"],
        ["transfer", "--method", "uaf", "--from", "runs/base", "--run", "runs/uaf"], ["routes", "runs/uaf"],
        ["sweep", "runs"],    ):  # fmt: skip
        capsys.readouterr()
        succeed([*smoke(words), "--json"], "docs/formats.md")
        answer = json.loads(capsys.readouterr().out)
        assert set(answer) == {"verb", "run", "seconds"} | documented[words[0]], words[0]


def json_keys(document: Document) -> dict[str, set[str]]:
    """Read the table of keys: those that one run of a verb answers with."""
    section = document.text.partition("## JSON")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    return {verb: set(re.findall(r"`([\w]+)`", keys.partition("; of several")[0])) for verb, keys in rows}


@pytest.mark.parametrize("document", documents(), ids=IDS)
def test_every_link_leads_somewhere(document: Document) -> None:
    for target in document.links:
        place, _, anchor = target.partition("#")
        path = (document.path.parent / place).resolve() if place else document.path
        assert path.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in Document(path).anchors, f"{document.name} links to {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [TOP / "README.md"]
    while waiting:
        path = waiting.pop()
        if path.suffix != ".md" or path in seen:
            continue
        seen.add(path)
        targets = (target.partition("#")[0] for target in Document(path).links)
        waiting += [(path.parent / target).resolve() for target in targets if target]
    assert {document.path for document in documents()} <= seen


@pytest.mark.parametrize("group", ["method", "model", "objective", "baseline"])
def test_every_yaml_of_a_group_is_in_a_table(group: str) -> None:
    """Each stands in a row of the README or of docs/ that links its yaml and its file."""
    rows = [line for document in documents() for line in document.text.splitlines() if line.startswith("|")]
    for path in sorted((TOP / "conf" / group).glob("*.yaml")):
        fitting = [row for row in rows if f"conf/{group}/{path.name})" in row]
        assert fitting, f"no table lists conf/{group}/{path.name}"
        module = str(read_yaml(path)["_target_"]).rpartition(".")[0].replace(".", "/") + ".py"
        assert any(module in row for row in fitting), f"the row of {path.name} does not name {module}"


def test_every_method_of_conf_is_in_the_method_table_of_the_readme() -> None:
    readme = Document(TOP / "README.md").text
    for path in (TOP / "conf" / "method").glob("*.yaml"):
        assert f"(conf/method/{path.name})" in readme


@pytest.mark.parametrize("document", documents(), ids=IDS)
def test_no_document_names_a_place_of_one_machine(document: Document) -> None:
    assert not re.search(r"(?<![\w.])/(?:root|home|work|tmp|Users)/", document.text)


def test_real_data_sets_are_those_with_sources() -> None:
    paths = (TOP / "conf" / "dataset").glob("*.yaml")
    found = {path.stem: read_yaml(path) for path in paths}
    assert set(REAL) == {name for name, node in found.items() if node.get("sources") or node.get("defaults")}
