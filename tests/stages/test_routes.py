"""`userrep routes`: what is told and written is what is read of the cases, and bad input is refused."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from userrep.build import build
from userrep.cli import main
from userrep.methods.route_watch import routes_of
from userrep.objectives.cross_domain import CrossDomain
from userrep.run import open_run
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.restore import restore
from userrep.stages.route_pictures import heat_map, places
from userrep.stages.route_reading import Routes
from userrep.stages.routes import collapse

SMALL = ("model.width=8", "model.dilations=[1,2,1]", "trainer.epochs=1", "trainer.batch_size=64")
SHORT = ("protocol.history=20", "trainer.epochs=1")
TWO = ("dataset=synthetic", "dataset.n_users=150", "dataset.target_items=16", "dataset.labels=[]",
       "dataset.tasks=[cold_first,cold_k,liked]")  # fmt: skip
PICTURES = ["routes.png", "chances.png", "training.png"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `base`, `majority`, of UAF `uaf` (each user its own way), `soft` and `global` (all alike),
    and `head`, which starts from `uaf`; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    succeed("pretrain", "dataset=synthetic", *SMALL, SHORT[0], "--run", str(folder / "base"))
    words = ("--from", str(folder / "base"), "task=age", *SHORT)
    each = ("method.policy=random", "method.warm_epochs=1")
    succeed("transfer", "--method", "uaf", *words, *each, "--run", str(folder / "uaf"))
    succeed("transfer", "--method", "uaf_soft", *words, "--run", str(folder / "soft"))
    succeed("transfer", "--method", "uaf", *words, "method.policy=global", "--run", str(folder / "global"))
    again = ("--from", str(folder / "uaf"), "task=gender", *SHORT)
    succeed("transfer", "--method", "head", *again, "--run", str(folder / "head"))
    succeed("baseline", "majority", "dataset=synthetic", "task=gender", "--run", str(folder / "majority"))
    return folder


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two domains in `data` and a run `uaf` that ranks a user's later targets, too; for reading only."""
    folder = tmp_path_factory.mktemp("targets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ("--from", "base", "task=cold_k", "protocol=cross_domain", "trainer.epochs=1", "method.policy=random")
        for line in (
            ["preprocess", *TWO], ["pretrain", *TWO, *SMALL, "protocol=cross_domain", "--run", "base"],
            ["transfer", "--method", "uaf", *words, "--run", "uaf"],
        ):  # fmt: skip
            with pytest.raises(SystemExit) as ended:
                main(line)
            assert not ended.value.code
    return folder


@pytest.fixture
def routes(made: Path, ask: Any) -> Any:
    """Ask for the routes of a run of the folder, and expect it to end with `code`."""

    def run(*words: str, code: int = 0, source: str = "uaf") -> Any:
        return ask("routes", str(made / source), *words, code=code)

    return run


def read(run: Path, data: Prepared, split: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return routes and chances of the cases of a split, and the cases."""
    source = open_run(run)
    encoder, objective = restore(source, data, torch.device("cpu"))
    protocol = build(source.config["protocol"], at="protocol")
    cases = objective.cases(data, protocol, split)
    return *routes_of(encoder, objective, data, protocol, cases), cases


@pytest.mark.parametrize(("source", "split"), [("uaf", "test"), ("soft", "valid"), ("head", "train")])
def test_what_is_told_is_what_is_read_of_the_cases(
    routes: Any, made: Path, prepared: Prepared, source: str, split: str
) -> None:
    answer = routes("--split", split, source=source)
    route, chance, cases = read(made / source, prepared, split)
    told = {"split", "users", "cases", "usage", "entropy", "routes", "collapsed", "blocks", "frequent", "slices"}
    assert set(answer) == {"verb", "run", "seconds", "out", "written"} | told  # as docs/formats.md has it
    assert (answer["users"], answer["cases"], answer["split"]) == (len(cases), len(cases), split)
    assert [block["block"] for block in answer["blocks"]] == [1, 2, 3]
    assert [block["usage"] for block in answer["blocks"]] == pytest.approx(route.mean(axis=0).tolist())
    assert [block["chance"] for block in answer["blocks"]] == pytest.approx(chance.mean(axis=0).tolist())
    assert answer["usage"] == pytest.approx(route.mean())
    counts = Counter("".join("1" if share > 0.5 else "0" for share in row) for row in route.tolist())
    assert answer["routes"] == len(counts)
    assert answer["collapsed"] == (len(counts) == 1)
    assert {each["route"]: each["cases"] for each in answer["frequent"]} == dict(counts)
    shares = [each["share"] for each in answer["frequent"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    lengths = cases.ends - prepared.sequences().offsets[cases.rows]
    assert sum(piece["cases"] for piece in answer["slices"]) == len(cases)
    for piece in answer["slices"]:
        inside = (lengths >= piece["low"]) & (lengths <= piece["high"])
        assert (piece["by"], piece["cases"]) == ("history", inside.sum())
        assert piece["usage"] == pytest.approx(route[inside].mean())


def test_the_folder_has_a_row_a_user_and_three_pictures(routes: Any, made: Path, prepared: Prepared) -> None:
    pytest.importorskip("matplotlib")
    answer = routes("--out", "seen")
    assert answer["out"] == "seen"
    assert answer["written"] == [f"seen/{name}" for name in ("routes.parquet", *PICTURES)]
    assert sorted(path.name for path in Path("seen").iterdir()) == sorted(["routes.parquet", *PICTURES])
    for name in PICTURES:
        assert Path("seen", name).read_bytes().startswith(b"\x89PNG")
    route, chance, cases = read(made / "uaf", prepared, "test")
    table = pl.read_parquet("seen/routes.parquet")
    blocks, chances = ([f"{what}_{place}" for place in (1, 2, 3)] for what in ("block", "chance"))
    assert table.columns == ["user", "history", "usage", *blocks, *chances]
    assert table["user"].to_list() == [prepared.user_ids[row] for row in cases.rows]
    assert table["history"].to_list() == (cases.ends - prepared.sequences().offsets[cases.rows]).tolist()
    assert np.array_equal(table.select(blocks).to_numpy(), route)
    assert np.array_equal(table.select(chances).to_numpy(), chance)
    assert table["usage"].to_list() == pytest.approx(route.mean(axis=1).tolist())
    assert 1 < len(np.unique(route, axis=0)) <= 8


def test_without_out_nothing_is_written(routes: Any, made: Path, workplace: Path) -> None:
    before = sorted((made / "uaf").iterdir())
    answer = routes()
    assert (answer["out"], answer["written"]) == (None, [])
    assert not list(workplace.iterdir())
    assert sorted((made / "uaf").iterdir()) == before


def test_a_policy_that_sends_all_users_one_way_is_called_collapsed(
    userrep: Any, made: Path, prepared_data_dir: Path
) -> None:
    where = ("--data-dir", str(prepared_data_dir))
    told = userrep("routes", str(made / "global"), *where)
    assert told.code == 0
    line = next(line for line in told.out.splitlines() if "collapsed" in line)
    assert line.startswith("the policy has collapsed to one route: all 60 cases take ")
    assert line.split()[-1].strip("01") == ""
    assert "1 of 8 routes" in told.out
    assert "collapsed" not in userrep("routes", str(made / "uaf"), *where).out
    shares = np.array([[0.9, 0.25], [0.75, 0.0]])
    told = collapse(Routes(np.arange(2), shares, shares, {}))
    assert told.endswith("to one route: all 2 cases take 10; shares of a side differ by 0.2500 at most")


def test_the_pictures_are_sorted_by_what_is_asked_for() -> None:
    pytest.importorskip("matplotlib")
    route = np.random.default_rng(0).integers(0, 2, (90, 3)).astype(np.float32)
    told = {"history": np.random.default_rng(1).permutation(90)}
    few = Routes(np.arange(90), route, route, told)
    for sort, order in (("history", np.argsort(told["history"])), ("usage", np.lexsort((*route.T[::-1], few.usage)))):
        axes = heat_map("a run", few, sort).axes[0]
        assert np.array_equal(np.asarray(axes.images[0].get_array()), route[order].T)
        assert axes.get_xlabel().startswith("cases sorted by")
    many = Routes(np.arange(9_000), np.tile(route, (100, 1)), route, {"history": np.arange(9_000)})
    axes = heat_map("a run", many, "history").axes[0]
    assert np.asarray(axes.images[0].get_array())[:, 0] == pytest.approx(many.route[:45].mean(axis=0))
    assert "the mean of about 45 cases" in axes.get_xlabel()


def test_epochs_are_counted_through_all_phases(made: Path) -> None:
    lines = (made / "uaf" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    epochs, begins = places([json.loads(line) for line in lines])
    assert begins == {"warm": 0, "train": 1}
    assert (epochs[-1], sorted(epochs)) == (2, epochs)


def test_a_run_that_took_its_policy_over_has_no_picture_of_its_training(
    userrep: Any, made: Path, prepared_data_dir: Path
) -> None:
    pytest.importorskip("matplotlib")
    told = userrep("routes", str(made / "head"), "--out", "seen", "--data-dir", str(prepared_data_dir), "--json")
    assert "tells of no routes: there is no training.png" in told.err
    assert [Path(path).name for path in told.answer["written"]] == ["routes.parquet", *PICTURES[:2]]
    assert not Path("seen/training.png").exists()


def test_several_cases_of_a_user_are_told_apart_with_their_earlier_targets(userrep: Any, targets: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ("routes", str(targets / "uaf"), "--sort", "earlier_targets", "--out", "seen")
    answer = userrep(*words, "--data-dir", str(targets / "data"), "--json").answer
    source = open_run(targets / "uaf")
    data, protocol = open_prepared(targets / "data", source.config["dataset"]), build(source.config["protocol"])
    cases = CrossDomain().cases(data, protocol, "test")
    earlier = cases.met - data.sequences("target").offsets[cases.rows]
    assert (answer["cases"], answer["users"]) == (len(cases), len(np.unique(cases.rows)))
    table = pl.read_parquet("seen/routes.parquet")
    assert table.columns[:5] == ["user", "case", "history", "earlier_targets", "usage"]
    assert table["earlier_targets"].to_list() == earlier.tolist()
    found = [piece for piece in answer["slices"] if piece["by"] == "earlier_targets"]
    known = [(0, 0), (1, 2), (3, 5), (6, int(earlier.max()))]
    assert [(piece["low"], piece["high"]) for piece in found] == known[: len(found)]
    for piece in found:
        inside = ((earlier >= piece["low"]) & (earlier <= piece["high"])).tolist()
        assert piece["cases"] == sum(inside)
        assert piece["usage"] == pytest.approx(table["usage"].filter(inside).mean())


def test_evaluate_slices_a_run_whose_users_choose_by_their_tuned_blocks(
    ask: Any, userrep: Any, made: Path, targets: Path, prepared: Prepared
) -> None:
    for source in ("uaf", "soft"):
        answer = ask("evaluate", str(made / source), "--split", "valid")
        tuned = np.rint(read(made / source, prepared, "valid")[0].sum(axis=1)).astype(int)
        found = [piece for piece in answer["slices"] if piece["by"] == "tuned_blocks"]
        assert [(piece["low"], piece["high"]) for piece in found] == [(count, count) for count in np.unique(tuned)]
        assert [piece["cases"] for piece in found] == [int((tuned == count).sum()) for count in np.unique(tuned)]
        right = sum(piece["cases"] * piece["metrics"]["accuracy"] for piece in found)
        assert right / len(tuned) == pytest.approx(answer["metrics"]["accuracy"])
    plain = ask("evaluate", str(made / "base"), "--split", "valid")
    assert {piece["by"] for piece in plain["slices"]} == {"history", "popularity"}
    told = userrep("evaluate", str(targets / "uaf"), "--data-dir", str(targets / "data"), "--json")
    kinds = {piece["by"] for piece in told.answer["slices"]}
    assert kinds == {"history", "popularity", "earlier_targets", "tuned_blocks"}


@pytest.mark.parametrize(
    ("source", "words", "code", "part", "hint"),
    [
        ("base", (), 2, "passes all users through the same blocks", "--method uaf"),
        ("majority", (), 2, "is a baseline run and holds no encoder", "--method uaf"),
        ("nowhere", (), 2, "does not exist", "name a folder"),
        ("uaf", ("--split", "all"), 2, "all", "test"),
        ("uaf", ("--sort", "age"), 2, "age", "history"),
        ("uaf", ("--sort", "earlier_targets"), 2, "age tells no earlier_targets", "usage, history"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    routes: Any, source: str, words: tuple[str, ...], code: int, part: str, hint: str
) -> None:
    error = routes(*words, code=code, source=source)
    assert part in error["message"]
    assert hint in error["message"] + error["hint"]
    assert not Path("seen").exists()


def test_several_tasks_learned_together_are_refused(succeed: Callable[..., None], ask: Any, workplace: Path) -> None:
    cut = ("protocol.events=chain", SHORT[0])
    parts = ("task=joint_ml", "~task.parts.occupation", "~task.parts.liked", "~task.parts.loved")
    succeed("pretrain", "dataset=synthetic", *SMALL, *cut, "--run", "cut")
    succeed("transfer", "--method", "uaf", "--from", "cut", *parts, *cut, SHORT[1], "--run", "both")
    error = ask("routes", "both", code=2)
    assert "several tasks are learned together" in error["message"]
    assert "tuned_blocks" not in str(ask("evaluate", "both", "--split", "valid")["slices"])


def test_an_unfinished_run_is_refused(made: Path, workplace: Path, ask: Any) -> None:
    Path("half").mkdir()
    for name in ("config.yaml", "run.json"):
        text = (made / "uaf" / name).read_text(encoding="utf-8")
        (workplace / "half" / name).write_text(text.replace('"finished"', '"running"', 1), encoding="utf-8")
    error = ask("routes", "half", code=2)
    assert "is not finished" in error["message"]
    assert error["hint"] == "userrep transfer --resume --run half"


def test_a_file_in_the_place_of_the_folder_is_refused_and_left(routes: Any) -> None:
    pytest.importorskip("matplotlib")
    Path("seen").write_text("mine")
    assert "cannot write seen" in routes("--out", "seen", code=3)["message"]
    assert Path("seen").read_text() == "mine"


def test_a_damaged_log_is_named_before_anything_is_written(made: Path, workplace: Path, ask: Any) -> None:
    pytest.importorskip("matplotlib")
    shutil.copytree(made, workplace / "copy")
    log = Path("copy/uaf/log.jsonl")
    log.write_text(log.read_text(encoding="utf-8")[:-10], encoding="utf-8")
    assert "copy/uaf/log.jsonl is damaged" in ask("routes", "copy/uaf", "--out", "seen", code=3)["message"]
    assert not Path("seen").exists()


def test_without_matplotlib_the_tables_are_there_and_the_folder_is_not(
    routes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = routes("--out", "seen", code=2)
    assert "matplotlib" in error["message"]
    assert error["hint"] == "pip install 'userrep[report]'"
    assert not Path("seen").exists()
    assert routes()["cases"] == 60
