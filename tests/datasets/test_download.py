"""`userrep download` as a stage: sources in order, files at hand, terms, doing nothing twice."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from faulty_site import Handler, Site, answers, sends

from userrep.errors import DataError, UsageError
from userrep.files import read_json, write_yaml
from userrep.stages.download import run
from userrep.stages.request import Request

MEMBERS = ["toy/u.data", "toy/u.user"]


@pytest.fixture
def toy(site: Site, tmp_path: Path) -> dict[str, Any]:
    """Return the yaml of a data set with a first and a second source on `site`, then steps by hand."""
    known = {"size": len(site.body), "sha256": sha256(site.body).hexdigest(), "pause": 0.01, "attempts": 2}
    web = {"_target_": "userrep.datasets.sources.Web", "layout": "official", "members": MEMBERS} | known
    steps = ["open the page", "userrep download toy --from-file toy.zip"]
    return {
        "_target_": "userrep.datasets.movielens.MovieLens",
        "name": "toy",
        "title": "Toy lens",
        "licence": "do what you like",
        "citation": "A. Toy, 2020",
        "sources": [
            web | {"url": site.url},
            web | {"url": site.url.replace("toy.zip", "mirror/toy.zip")},
            {"_target_": "userrep.datasets.sources.ByHand", "steps": steps},
        ],
    }


def request(tmp_path: Path, toy: dict[str, Any], fresh: bool = False, dry_run: bool = False, **extra: Any) -> Request:
    write_yaml(tmp_path / "conf" / "dataset" / "toy.yaml", toy)
    return Request(
        overrides=("dataset=toy",),
        data_dir=tmp_path / "data",
        config_dir=tmp_path / "conf",
        fresh=fresh,
        dry_run=dry_run,
        extra=extra,
    )


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_the_first_source_that_works_is_used(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    answer = run(request(tmp_path, toy))
    folder = tmp_path / "data" / "raw" / "toy"
    assert answer["verb"] == "download"
    assert (answer["dataset"], answer["source"], answer["layout"]) == ("toy", site.url, "official")
    assert answer["path"] == str(folder)
    assert answer["bytes"] == sum(file.stat().st_size for file in folder.glob("u.*"))
    assert contents(tmp_path / "data") == {"u.data", "u.user", "source.json"}
    assert read_json(folder / "source.json")["files"] == answer["files"]


def test_licence_and_citation_are_printed(
    tmp_path: Path, toy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(request(tmp_path, toy))
    shown = capsys.readouterr().out
    assert "do what you like" in shown
    assert "A. Toy, 2020" in shown


def test_a_second_run_says_so_and_asks_nobody(
    site: Site, tmp_path: Path, toy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(request(tmp_path, toy))
    asked = len(site.asked)
    capsys.readouterr()
    assert run(request(tmp_path, toy)) == first
    assert len(site.asked) == asked
    assert "already" in capsys.readouterr().out


def test_the_next_command_names_the_data_folder(
    tmp_path: Path, toy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(request(tmp_path, toy))
    assert f"next: userrep preprocess dataset=toy --data-dir {tmp_path / 'data'}" in capsys.readouterr().out


def test_a_damaged_file_is_fetched_again(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    first = run(request(tmp_path, toy))
    (tmp_path / "data" / "raw" / "toy" / "u.user").write_text("damaged")
    assert run(request(tmp_path, toy)) == first
    assert len(site.asked) == 2


def test_fresh_fetches_what_is_there_already(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    run(request(tmp_path, toy))
    run(request(tmp_path, toy, fresh=True))
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        ([answers(404)], "answered 404"),
        ([answers(500)] * 2, "answered 500"),
        ([sends(b"<html>sign in</html>", "text/html")], "web page"),
    ],
)
def test_a_source_that_fails_is_named_and_the_next_one_used(
    site: Site,
    tmp_path: Path,
    toy: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    faults: list,
    cause: str,
) -> None:
    site.faults = faults
    assert "mirror" in run(request(tmp_path, toy))["source"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert site.url in line
    assert cause in line


def test_a_wrong_checksum_moves_on_to_the_next_source(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    site.faults = [sends(b"x" * len(site.body))]
    assert "mirror" in run(request(tmp_path, toy))["source"]


def test_when_all_fail_the_steps_by_hand_are_the_remedy(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    site.faults = [answers(404)] * 2
    with pytest.raises(DataError, match="no source could be fetched") as caught:
        run(request(tmp_path, toy))
    assert caught.value.hint == "open the page; then userrep download toy --from-file toy.zip"
    assert contents(tmp_path / "data") == set()


def test_a_hostile_archive_with_the_right_checksum_is_refused(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    site.body = site.body.replace(b"toy/README", b"../README.")  # same length in both of its headers
    for source in toy["sources"][:2]:
        source["sha256"] = sha256(site.body).hexdigest()
    with pytest.raises(DataError):
        run(request(tmp_path, toy))
    assert not {"README.", "u.data", "u.user"} & contents(tmp_path)


def test_a_file_at_hand_needs_no_network(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    archive = tmp_path / "from a friend.zip"
    archive.write_bytes(site.body)
    answer = run(request(tmp_path, toy, from_file=archive))
    assert answer["source"] == site.url
    assert read_json(Path(answer["path"]) / "source.json")["archive"]["verified"] is True
    assert site.asked == []
    assert archive.exists()


def test_a_damaged_file_at_hand_leaves_the_good_files_alone(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    first = run(request(tmp_path, toy))
    archive = tmp_path / "toy.zip"
    archive.write_bytes(site.body[: len(site.body) // 2])
    with pytest.raises(DataError, match="damaged"):
        run(request(tmp_path, toy, from_file=archive))
    assert run(request(tmp_path, toy)) == first


def test_a_file_at_hand_with_another_checksum_is_taken_with_a_warning(
    site: Site, tmp_path: Path, toy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "toy.zip"
    archive.write_bytes(site.body + b"trailing")
    answer = run(request(tmp_path, toy, from_file=archive))
    assert read_json(Path(answer["path"]) / "source.json")["archive"]["verified"] is False
    assert "not its checksum" in capsys.readouterr().err


def test_a_missing_file_at_hand_is_a_data_error(tmp_path: Path, toy: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot read"):
        run(request(tmp_path, toy, from_file=tmp_path / "none.zip"))


def test_a_licence_that_must_be_accepted_stops_everything_before(
    site: Site, tmp_path: Path, toy: dict[str, Any]
) -> None:
    toy["accept"] = True
    with pytest.raises(UsageError, match="must be accepted") as caught:
        run(request(tmp_path, toy))
    assert "--accept-licence" in caught.value.hint
    assert site.asked == []
    assert run(request(tmp_path, toy, accept_licence=True))["source"] == site.url


def test_a_dry_run_fetches_nothing(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    run(request(tmp_path, toy, dry_run=True))
    assert site.asked == []
    assert not (tmp_path / "data").exists()


def test_a_data_set_without_sources_has_nothing_to_download(tmp_path: Path, toy: dict[str, Any]) -> None:
    assert run(request(tmp_path, toy | {"sources": []}))["files"] == {}


def test_a_fetch_that_broke_off_is_resumed_by_the_next_run(site: Site, tmp_path: Path, toy: dict[str, Any]) -> None:
    def stops(handler: Handler) -> None:
        handler.send_file(upto=50)

    toy["sources"] = toy["sources"][:1]
    site.faults = [stops, answers(404)]
    with pytest.raises(DataError, match="no source could give toy"):
        run(request(tmp_path, toy))
    run(request(tmp_path, toy))
    assert site.asked == [None, "bytes=50-", "bytes=50-"]


@pytest.mark.network
@pytest.mark.parametrize(("name", "events"), [("ml-100k", 100_000), ("ml-1m", 1_000_209)])
def test_the_real_mirror_has_the_data_set(
    name: str, events: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        answer = run(Request(overrides=(f"dataset={name}",), data_dir=tmp_path))
    except DataError as error:
        if "wrong checksum" in capsys.readouterr().err:
            raise
        pytest.skip(f"no source is reachable from here: {error}")
    interactions = max(answer["files"], key=lambda file: answer["files"][file]["bytes"])
    with open(Path(answer["path"]) / interactions, "rb") as lines:
        assert sum(1 for _ in lines) == events + (answer["layout"] == "atomic")
