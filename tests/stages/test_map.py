"""`userrep map`: users lie where a naive projection puts them, in the colour of their class."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from userrep.evaluation.plane import pca, umap
from userrep.evaluation.ranking import Csr
from userrep.run import open_run
from userrep.sequences.split import ROLES
from userrep.sequences.store import Prepared
from userrep.stages.map_picture import COLOURS, groups, scatter
from userrep.stages.pictures import PALE
from userrep.stages.vectors import embedder

SMALL = ("model.width=8", "model.dilations=[1]", "trainer.epochs=1", "protocol.history=20")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, succeed: Callable[..., None]) -> Path:
    """A folder with the runs `base` and `majority`; for reading only."""
    folder = tmp_path_factory.mktemp("made")
    succeed("pretrain", "dataset=synthetic", *SMALL, "--run", str(folder / "base"))
    succeed("baseline", "majority", "dataset=synthetic", "task=gender", "--run", str(folder / "majority"))
    return folder


@pytest.fixture
def draw(made: Path, ask: Any) -> Any:
    """Draw a map of a run of the folder by age, as `map.png`, and expect it to end with `code`."""

    def run(*words: str, code: int = 0, source: str = "base") -> Any:
        usual = [("--label", "age"), ("--out", "map.png")]
        added = [word for pair in usual if pair[0] not in words for word in pair]
        return ask("map", str(made / source), *words, *added, code=code)

    return run


def naive(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project by the eigenvectors of the covariance matrix."""
    centred = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(centred.T))
    return centred @ directions[:, [-1, -2]], values[[-1, -2]] / values.sum()


def test_a_map_is_a_picture_of_all_users_with_the_variance_it_shows(draw: Any, made: Path, prepared: Prepared) -> None:
    pytest.importorskip("matplotlib")
    answer, sequences = draw("--readout", "items"), prepared.sequences()
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    told = {"label", "users", "readout", "projection", "explained", "out"}  # as docs/formats.md has it
    assert set(answer) == {"verb", "run", "seconds"} | told
    assert (answer["run"], answer["label"], answer["out"]) == (str(made / "base"), "age", "map.png")
    assert (answer["users"], answer["projection"], answer["readout"]) == (prepared.num_users, "pca", "items")
    reader = embedder(open_run(made / "base"), prepared, torch.device("cpu"), "items")
    vectors = reader.all(Csr(sequences.items, sequences.offsets[:-1], sequences.offsets[1:]))
    assert answer["explained"] == pytest.approx(naive(vectors.astype(np.float64))[1], rel=1e-5)


def test_a_map_of_part_of_the_users_is_the_same_each_time(draw: Any, prepared: Prepared) -> None:
    pytest.importorskip("matplotlib")
    first = draw("--users", "50", "--out", "first.png")
    assert first["users"] == 50
    assert draw("--users", "50", "--out", "second.png")["explained"] == first["explained"]
    assert Path("first.png").read_bytes() == Path("second.png").read_bytes()
    valid = int((prepared.split("folds", 0).user_role == ROLES.index("valid")).sum())
    assert draw("--split", "valid")["users"] == valid


def test_principal_components_are_those_of_the_covariance_and_are_not_mirrored() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6)) @ np.diag([5, 1, 1, 3, 1, 1]) + 7
    places, shares = pca(vectors)
    expected, variance = naive(vectors)
    assert np.allclose(np.abs(places), np.abs(expected))
    assert np.allclose(shares, variance)
    mirrored, _ = pca(-vectors)
    assert np.allclose(mirrored, -places)  # a component has the same sign whatever the solver gave
    assert np.allclose(pca(vectors[:, :1])[1], [1, 0])
    assert np.allclose(pca(np.ones((4, 3)))[1], [0, 0])


def test_the_smallest_classes_lie_on_top_and_unknown_users_lowest() -> None:
    codes = np.array([0, 1, 1, 1, 2, 2, -1])
    found = groups(codes, ["a", "b", "c", "nobody"])
    assert [group.name for group in found] == ["b", "c", "a", "unknown"]
    assert [group.name for group in sorted(found, key=lambda group: group.height)] == ["unknown", "b", "c", "a"]
    assert [group.members.sum() for group in found] == [3, 2, 1, 1]
    assert found[-1].colour == PALE


@pytest.mark.parametrize(("count", "alone"), [(10, 10), (11, 9), (30, 9)])
def test_more_than_ten_classes_are_the_nine_largest_and_the_rest(count: int, alone: int) -> None:
    codes = np.repeat(np.arange(count), np.arange(count) + 1)
    found = groups(codes, [str(code) for code in range(count)])
    assert [group.name for group in found[:alone]] == [str(code) for code in range(count - 1, count - 1 - alone, -1)]
    assert [group.name for group in found[alone:]] == (["other"] if alone < count else [])
    assert sum(group.members.sum() for group in found) == len(codes)
    assert len({group.colour for group in found}) == len(COLOURS)


def test_names_of_strangers_are_shown_as_they_are(workplace: Path) -> None:
    pytest.importorskip("matplotlib")
    codes, classes = np.array([0, 1, 1, 2, 2, 2]), ["_hidden", r"$\nonsense$", "x" * 500]
    figure = scatter(np.arange(12.0).reshape(6, 2), groups(codes, classes), "costs $1 and $2", ("one", "two"))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    shown = [text.get_text().strip().replace(r"\$", "$") for text in legend.get_texts()]
    assert shown[1:] == [r"$\nonsense$ (2)", "_hidden (1)"]
    assert len(shown[0]) < 100
    figure.savefig("names.png", format="png")


def test_umap_lays_users_out_the_same_way_each_time() -> None:
    pytest.importorskip("umap")
    vectors = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    places = umap(vectors)
    assert places.shape == (60, 2)
    assert np.array_equal(places, umap(vectors))


@pytest.mark.parametrize(
    ("words", "source", "code", "part"),
    [
        (("--out", "map.pdf"), "base", 2, "map.pdf is no .png"),
        (("--label", "aeg"), "base", 3, "no label 'aeg'"),
        (("--readout", "token"), "base", 2, "reads a trained token"),
        ((), "majority", 2, "holds no encoder"),
        ((), "nowhere", 2, "does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: Any, words: tuple[str, ...], source: str, code: int, part: str) -> None:
    pytest.importorskip("matplotlib")
    error = draw(*words, code=code, source=source)
    assert part in error["message"]
    assert error["hint"]
    assert not Path("map.png").exists()


@pytest.mark.parametrize(("package", "extra"), [("matplotlib", "report"), ("umap", "umap")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    draw: Any, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    if package != "matplotlib":
        pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, package, None)
    error = draw("--projection", "umap", code=2)
    assert package in error["message"]
    assert f"userrep[{extra}]" in error["hint"]
