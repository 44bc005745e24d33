"""From one domain to another through the command line: who was seen, which domain is read, growth, and real data."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny
import torch

from tests.sequences.listed import prepared_from, user_of
from userrep.build import build
from userrep.cli import main
from userrep.errors import UsageError
from userrep.files import read_json
from userrep.methods.growth import GrownTable, grow_for
from userrep.objectives.cross_domain import CrossDomain
from userrep.run import open_run
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared, open_prepared
from userrep.stages.restore import restore
from userrep.training.weights import read_weights

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TWO = ("dataset=synthetic", "dataset.n_users=150", "dataset.target_items=16", "dataset.labels=[]",
       "dataset.tasks=[cold_first,cold_k,liked]")  # fmt: skip
SMALL = ("model.width=16", "model.dilations=[1,2]", "trainer.batch_size=64", "trainer.epochs=1")
QUICK = ("protocol=cross_domain", "trainer.epochs=1")


def typed(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two domains prepared in `data` and bases that read either: `base` and `back`; for copying."""
    folder = tmp_path_factory.mktemp("made")
    where = ("--data-dir", str(folder / "data"))
    typed("preprocess", *TWO, *where)
    typed("pretrain", *TWO, *SMALL, "protocol=cross_domain", "--run", str(folder / "base"), *where)
    back = ("protocol.source=target", "protocol.pretrain_users=train", "trainer.length=4")
    typed("pretrain", *TWO, *SMALL, *back, "--run", str(folder / "back"), *where)
    return folder


@pytest.fixture
def verb(userrep: Any, made: Path, workplace: Path) -> Any:
    """Run a verb on the data of two domains, beside copies of the bases, and expect the given exit code."""
    for name in ("base", "back"):
        shutil.copytree(made / name, workplace / name)

    def run(*words: str, code: int = 0) -> Any:
        told = userrep(*words, "--data-dir", str(made / "data"), "--json")
        assert told.code == code, told.err
        return told.answer if code == 0 else told.error

    return run


@pytest.fixture
def data(made: Path) -> Prepared:
    return open_prepared(made / "data", open_run(made / "base").config["dataset"])


def test_the_base_learns_from_users_of_the_source_alone_and_no_tested_user_was_seen(verb: Any, data: Prepared) -> None:
    alone = seen_users(data, build(open_run(Path("base")).config["protocol"]))
    assert read_json(Path("base/run.json"))["pretrained_users"] == alone.sum() > 0
    assert not (alone & (np.diff(data.sequences("target").offsets) > 0)).any()
    for fold in (0, 3):
        answer = verb("transfer", "--from", "base", *QUICK, f"protocol.fold={fold}", "--run", f"fold-{fold}")
        assert (answer["task"], answer["test_users_seen"]) == ("cold_first", 0.0)


@pytest.mark.parametrize(("whom", "fold", "seen"), [("train", 0, 0.0), ("all", 0, 1.0), ("train", 1, None)])
def test_the_share_of_tested_users_that_were_seen_counts_those_of_the_task(
    verb: Any, data: Prepared, whom: str, fold: int, seen: float | None
) -> None:
    verb("pretrain", *TWO, *SMALL, f"protocol.pretrain_users={whom}", "--run", "known")
    words = ("transfer", "--from", "known", "--method", "head", "trainer.epochs=1", "task=cold_k")
    answer = verb(*words, f"protocol.fold={fold}", "--run", "one")
    tested = np.unique(CrossDomain().cases(data, Protocol(fold=fold), "test").rows)
    trained = seen_users(data, Protocol(pretrain_users=whom))
    assert answer["test_users_seen"] == trained[tested].mean()
    assert seen is None or answer["test_users_seen"] == seen
    again = ("transfer", "--from", "one", "--method", "full", "trainer.epochs=1", "--run", "two")
    refused = verb(*again, f"protocol.fold={(fold + 2) % 5}", code=2)
    assert "test events of cold_first (the new task) are answers in the training of cold_k (" in refused["message"]
    tested = np.unique(CrossDomain(which="first").cases(data, Protocol(fold=fold), "test").rows)
    trained[CrossDomain().cases(data, Protocol(fold=fold), "train").rows] = True
    assert verb(*again)["test_users_seen"] == trained[tested].mean()
    scratch = verb("transfer", "--from", "one", "--method", "scratch", "trainer.epochs=1", "--run", "three")
    assert scratch["test_users_seen"] == 0


def test_users_with_several_targets_go_through_evaluation_comparison_and_a_baseline(verb: Any, data: Prepared) -> None:
    for method in ("peterrec", "head"):
        answer = verb("transfer", "--from", "base", "--method", method, "task=cold_k", *QUICK, "--run", method)
        assert verb("evaluate", method, "--split", "valid")["metrics"] == answer["metrics"]
    told = verb("evaluate", "peterrec", "head")
    cases = CrossDomain().cases(data, Protocol(), "test")
    kept = pl.read_parquet("peterrec/per_user.parquet")
    assert kept["user"].to_list() == [data.user_ids[row] for row in cases.rows]
    assert kept["targets"].to_list() == cases.targets.tolist()
    users = len(set(cases.rows.tolist()))
    assert [run["users"] for run in told["runs"]] == [users, users]
    assert users < len(cases)
    assert {piece["by"] for piece in told["runs"][0]["slices"]} == {"history", "popularity", "earlier_targets"}
    verb("baseline", "popularity", *TWO, "task=cold_k", "protocol=cross_domain", "--run", "popular")
    compared = verb("compare", "head", "peterrec", "popular")
    assert len(compared["arms"]) == 3


GROWING = [("head", ()), ("peterrec", ()), ("lora", ("method.table_rank=2",)), ("full", ()), ("scratch", ())]


@pytest.mark.parametrize(("method", "options"), GROWING, ids=[method for method, _ in GROWING])
def test_both_histories_grow_the_stem_by_rows_that_train_and_come_back(
    verb: Any, data: Prepared, method: str, options: tuple[str, ...]
) -> None:
    words = ("--from", "base", "--method", method, *options, "task=cold_k", "task.history=both", *QUICK)
    answer = verb("transfer", *words, "--run", "grown")
    assert verb("evaluate", "grown", "--split", "valid")["metrics"] == answer["metrics"]
    name = "encoder.stem.table.inner.fresh.weight" if options else "encoder.stem.table.fresh.weight"
    fresh = read_weights(Path("grown/delta.safetensors"))[name]
    assert len(fresh) == len(data.sequences("target").item_ids)
    encoder, _ = restore(open_run(Path("grown")), data)
    assert torch.equal(encoder.state_dict()[name.removeprefix("encoder.")], fresh)
    assert data.merged("main", "target").vocab_size == len(encoder.item_vectors())
    before, _ = restore(open_run(Path("base")), data)
    if method in ("head", "peterrec"):
        known = before.vocab_size
        assert torch.equal(encoder.item_vectors()[:known], before.item_vectors())
        width = before.width
        added = answer["trainable"] - verb("transfer", *words, "task.history=source", "--run", "plain")["trainable"]
        assert added == len(fresh) * width


def test_new_rows_move_under_a_method_that_trains_nothing_else(verb: Any, data: Prepared) -> None:
    words = ("--from", "base", "--method", "head", "task=cold_k", "task.history=both", "protocol=cross_domain")
    rows = []
    for rate in ("1e-12", "0.01"):
        verb("transfer", *words, f"trainer.lr={rate}", "trainer.epochs=2", "--run", rate)
        last = read_weights(Path(rate) / "last.safetensors") if (Path(rate) / "last.safetensors").exists() else None
        rows.append((last or read_weights(Path(rate) / "delta.safetensors"))["encoder.stem.table.fresh.weight"])
    moved = (rows[0] - rows[1]).abs().amax(dim=1)
    cases, merged = CrossDomain(history="both").cases(data, Protocol(), "train"), data.merged("main", "target")
    known = data.sequences("main").vocab_size
    read = {item - known for row, end in zip(cases.rows, cases.ends, strict=True)
            for item in merged.items[merged.offsets[row] : end] if item >= known}  # fmt: skip
    assert {index for index, change in enumerate(moved.tolist()) if change > 1e-6} == read


def test_a_grown_run_is_a_base_for_tasks_with_and_without_what_it_grew_for(verb: Any, data: Prepared) -> None:
    verb("transfer", "--from", "base", "task=cold_k", "task.history=both", *QUICK, "--run", "grown")
    for history in ("source", "both"):
        words = ("--from", "grown", "--method", "full", "task=cold_k", f"task.history={history}", *QUICK)
        answer = verb("transfer", *words, "--run", history)
        assert verb("evaluate", history, "--split", "valid")["metrics"] == answer["metrics"]
        tables = restore(open_run(Path(history)), data)[0].stem.table.modules()
        assert sum(isinstance(module, GrownTable) for module in tables) == 1


def test_growing_for_other_items_than_before_is_refused(tmp_path: Path) -> None:
    events = user_of("u", "abc", [None] * 3) * 3
    data = prepared_from(tmp_path, events, domains=["one"] * 3 + ["two"] * 3 + ["three"] * 3)
    encoder = build(tiny.shrink(tiny.node("model", "nextitnet")), vocab_size=data.sequences().vocab_size)
    for task, grown in ((CrossDomain(target="two", history="both"), True), (CrossDomain(target="three"), False)):
        assert (grow_for(encoder, task, data, Protocol()) is not None) is grown
    assert grow_for(encoder, CrossDomain(target="two", history="both"), data, Protocol()) is None
    with pytest.raises(UsageError, match=r"grown to read one\+two, and cold_k,target=three,history=both reads"):
        grow_for(encoder, CrossDomain(target="three", history="both"), data, Protocol())


def test_a_grown_table_looks_known_items_up_as_before_and_passes_each_row_its_gradient() -> None:
    inner = torch.nn.Embedding(5, 3)
    grown = GrownTable(inner, 4, "one+two")
    items = torch.tensor([[0, 1, 4], [5, 8, 8]])
    assert torch.equal(grown(items[:1]), inner(items[:1]))
    assert torch.equal(grown(items), grown.weight[items])
    grown(items).sum().backward()
    assert inner.weight.grad[:, 0].tolist() == [1, 1, 0, 0, 1]
    assert grown.fresh.weight.grad[:, 0].tolist() == [1, 0, 0, 2]


def test_the_child_reads_the_domain_that_its_base_reads(verb: Any) -> None:
    answer = verb("transfer", "--from", "back", "--method", "full", "task=cold_k", "trainer.epochs=1", "--run", "child")
    assert open_run(Path("child")).config["protocol"]["source"] == "target"
    assert verb("evaluate", "child", "--split", "valid")["metrics"] == answer["metrics"]
    same = verb("transfer", "--from", "back", "task=cold_k", "trainer.epochs=1", "protocol.source=target", "--dry-run")
    assert same["config"]["protocol"]["source"] == "target"


@pytest.mark.parametrize(("base", "source"), [("back", "main"), ("base", "target")])
def test_another_source_than_the_base_s_is_refused(verb: Any, base: str, source: str) -> None:
    error = verb("transfer", "--from", base, "task=cold_k", f"protocol.source={source}", "--run", "child", code=2)
    assert f"protocol.source={source}, but base {base} reads" in error["message"]
    assert not Path("child").exists()


def test_events_after_a_cut_that_the_base_did_not_make_are_refused(verb: Any) -> None:
    words = ("transfer", "--from", "base", "task=liked", "protocol.events=chain", "trainer.epochs=1")
    error = verb(*words, "--run", "child", code=2)
    assert "was trained with protocol.events=leave_one_out" in error["message"]
    assert "pre-trained with protocol.events=chain" in error["hint"]
    assert not Path("child").exists()
    assert verb(*words, "--method", "scratch", "--run", "scratch")["test_users_seen"] == 0
    verb("pretrain", *TWO, *SMALL, "protocol.events=chain", "--run", "chained")
    verb("transfer", "--from", "chained", *words[3:], "--run", "child")
    assert read_json(Path("child/run.json"))["task"] == "liked"
    assert set(read_json(Path("child/run.json"))["splits"]) == {"events", "users"}


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("transfer", "--from", "base", "task=cold_k", "task.target=man"), 3, "no domain 'man'"),
        (("transfer", "--from", "base", "task=cold_k", "task.min_history=1000"), 3, "no target for cold_k"),
        (("transfer", "--from", "base", "task.history=both"), 2, "history=both is history=source"),
        (("pretrain", *TWO, *SMALL, "protocol=cross_domain", "protocol.source=target"), 3, "source_only leaves nobody"),
        (("pretrain", *TWO, *SMALL, "protocol.source=mein"), 3, "no domain 'mein'"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_left(
    verb: Any, words: tuple[str, ...], code: int, part: str
) -> None:
    error = verb(*words, "--run", "child", code=code)
    assert part in error["message"]
    assert error["hint"]
    assert not Path("child").exists()


def test_one_domain_alone_is_refused_for_a_task_of_two(userrep: Any, prepared_data_dir: Path) -> None:
    where = ("--data-dir", str(prepared_data_dir), "--json")
    assert userrep("pretrain", "dataset=synthetic", *SMALL, "--run", "base", *where).code == 0
    told = userrep("transfer", "--from", "base", "task=cold_first", *where)
    assert (told.code, told.error["kind"]) == (3, "data")
    assert "no domain but main" in told.error["message"]


REAL = {
    "amazon-food-kitchen-large": {
        "users": 9_398, "source_only": 38_191, "first_after_one": 4_372, "first_after_three": 1_608,
    },
    "amazon-food-kitchen": {
        "users": 7_144, "source_only": 0, "targets": 83_663, "after_one": 72_037, "after_three": 55_192,
        "first_after_one": 3_824, "first_after_three": 1_565,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_counts_on_real_data_are_those_counted_by_hand(userrep: Any, name: str) -> None:
    prepare_real(userrep, name)
    there = read_json(next(Path("data/prepared").glob("*/card.json")))["overlaps"][0]
    assert (there["source"], there["target"]) == ("kitchen", "food")
    assert {key: there[key] for key in REAL[name]} == REAL[name]


def prepare_real(userrep: Any, name: str, *options: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not beside this checkout, in shared/data")
    assert userrep("download", name, "--from-file", str(SHARED / name)).code == 0
    assert userrep("preprocess", f"dataset={name}", *options).code == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kitchen_to_food_goes_from_raw_files_to_a_comparison(userrep: Any) -> None:
    name = "amazon-food-kitchen-large"
    prepare_real(userrep, name)
    model = ("model.width=16", "model.dilations=[1]", "objective=next_item_sampled", "objective.negatives=64")
    loop = ("trainer.batch_size=256", "trainer.epochs=1", "trainer.length=10")
    where = ("protocol=cross_domain", "protocol.source=kitchen")
    told = userrep("pretrain", f"dataset={name}", *where, *model, *loop, "--run", "base")
    assert told.code == 0, told.err
    for method in ("peterrec", "head"):
        words = ("--from", "base", "--method", method, "protocol=cross_domain", "trainer.epochs=1", "--run", method)
        told = userrep("transfer", *words, "--json")
        assert told.code == 0, told.err
        assert (told.answer["task"], told.answer["test_users_seen"]) == ("cold_first", 0.0)
    told = userrep("evaluate", "peterrec", "head", "--json")
    assert [run["users"] for run in told.answer["runs"]] == [923, 923]
    assert userrep("compare", "peterrec", "head", "--json").code == 0
