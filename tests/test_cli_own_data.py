"""From a csv of one's own to a compared result in five commands; what cannot be read or named is refused."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from userrep.config import compose
from userrep.datasets.many_files import found_files
from userrep.files import read_yaml
from userrep.groups import with_own
from userrep.sequences.store import Prepared

EPOCH = "trainer.epochs=1"
SMALL = ("model.width=16", "model.dilations=[1]", EPOCH)


@pytest.fixture
def shop(workplace: Path) -> Path:
    """The files of a shop: events, customers whose land shows in what they buy, products."""
    rng = random.Random(0)
    events, people = ["customer,product,bought_at,stars,shelf"], ["customer,country,city,planet"]
    for user in range(60):
        people.append(f"c{user},{'DE' if user % 2 else 'FR'},{user},Earth")
        for step in range(rng.randrange(8, 14)):
            product = rng.randrange(12) + 12 * (user % 2)
            events.append(f"c{user},p{product},2024-01-{step + 1:02d} 10:00:00,{rng.randrange(1, 6)},s{step % 2}")
    (workplace / "events.csv").write_text("\n".join(events) + "\n")
    (workplace / "people.csv").write_text("\n".join(people) + "\n")
    (workplace / "things.csv").write_text('product,title\np1,"Tea, green"\nunsold,Pan\n')
    return workplace


def test_five_commands_lead_from_a_csv_to_a_compared_result(userrep: Any, shop: Path) -> None:
    own = ("--time-col", "bought_at", "--users-file", "people.csv", "--items-file", "things.csv")
    chain = (
        ("preprocess", "--from-file", "events.csv", "--name", "shop", *own),
        ("pretrain", "dataset=shop", "--run", "runs/shop", *SMALL),
        ("transfer", "--from", "runs/shop", "--method", "head", "--controls", "scratch", "--run", "runs/land", EPOCH),
        ("evaluate", "runs/land", "runs/land-scratch"),
        ("compare", "runs/land", "runs/land-scratch"),
    )  # fmt: skip
    told = [userrep(*words, "--json") for words in chain]
    for words, answer in zip(chain, told, strict=True):
        assert answer.code == 0, (words, answer.err)
    made, compared = told[0].answer, told[-1].answer
    assert made["columns"] == {
        "user": "customer", "item": "product", "time": "bought_at", "rating": "stars", "domain": None,
    }  # fmt: skip
    assert (made["users"], made["yaml"], made["broken"]) == (60, "data/conf/dataset/shop.yaml", 0)
    assert told[2].answer["task"] == "country"
    assert compared["users"] == 12
    prepared = Prepared(Path(made["path"]))
    assert prepared.classes("country") == ["DE", "FR"]
    sequences = prepared.sequences()
    assert sequences.times[0] == 1_704_103_200  # 2024-01-01 10:00:00 UTC
    assert dict(zip(sequences.item_ids, sequences.texts, strict=True))["p1"] == "Tea, green"
    assert "bought_at (text)" in told[0].err
    assert "planet is no label: it has one class ('Earth')" in told[0].err


def test_the_yaml_is_what_was_prepared_and_every_verb_finds_it(userrep: Any, shop: Path) -> None:
    odd = shop / "it's: #1 (é).csv"
    odd.write_text((shop / "events.csv").read_text().replace("product", "1e3").replace("stars", "no"))
    flags = ("--item-col", "1e3", "--rating-col", "no", "--domain-col", "shelf", "dataset.min_user_events=2")
    made = userrep("preprocess", "--from-file", odd.name, "--name", "odd", *flags, "--json")
    assert made.code == 0, made.err
    with with_own(shop / "data" / "conf"):
        node = compose("preprocess", ["dataset=odd"])["dataset"]
    assert node == read_yaml(shop / "data" / "conf" / "dataset" / "odd.yaml")
    again = userrep("preprocess", "dataset=odd", "--json")
    assert again.answer["path"] == made.answer["path"]
    assert "already prepared" in again.err
    assert Prepared(shop / again.answer["path"]).domains == ["s0", "s1"]
    assert userrep("baseline", "popularity", "dataset=odd", "task=next_item", "--json").code == 0
    assert userrep("download", "odd").code == 0
    assert userrep("preprocess", "dataset=od").code == 2
    elsewhere = userrep("preprocess", "dataset=odd", "--data-dir", "elsewhere")
    assert elsewhere.code == 2
    assert "unknown dataset 'odd'" in elsewhere.err


@pytest.mark.parametrize("kind", ["tsv", "parquet", "jsonl", "csv.gz"])
def test_the_same_events_in_another_file_have_the_same_hash(userrep: Any, shop: Path, kind: str) -> None:
    frame = pl.read_csv(shop / "events.csv")
    path = shop / f"other.{kind}"
    if kind == "tsv":
        frame.write_csv(path, separator="\t")
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress((shop / "events.csv").read_bytes()))
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.with_columns(pl.col("bought_at").str.to_datetime()).write_parquet(path)
    flags = ("--time-col", "bought_at", "--json")
    first = userrep("preprocess", "--from-file", "events.csv", "--name", "first", *flags).answer
    second = userrep("preprocess", "--from-file", path.name, "--name", "second", *flags).answer
    assert first["hash"] == second["hash"]


def test_each_file_may_part_its_fields_in_its_own_way(userrep: Any, shop: Path) -> None:
    pl.read_csv(shop / "events.csv").write_csv(shop / "events.tsv", separator="\t")
    (shop / "people.txt").write_text((shop / "people.csv").read_text().replace(",", ";"))
    for people in ("people.csv", "people.txt"):
        words = ("--from-file", "events.tsv", "--users-file", people, "--label", "country", "--name", "parted")
        told = userrep("preprocess", *words, "--json")
        assert told.code == 0, told.err
        assert told.answer["users"] == 60


def test_copies_in_a_folder_of_events_are_not_read(userrep: Any, shop: Path) -> None:
    (shop / "many").mkdir()
    whole = (shop / "events.csv").read_bytes()
    for name in ("a.CSV", "a.csv.bak", "a.csv.old", "a.csv.md5", "notes.gz"):
        (shop / "many" / name).write_bytes(whole)
    (shop / "many" / "b.csv.gz").write_bytes(gzip.compress(whole))
    told = [userrep("preprocess", "--from-file", path, "--name", "many", "--json") for path in ("events.csv", "many")]
    assert [one.answer["hash"] for one in told] == [told[0].answer["hash"]] * 2  # equal events are merged
    copied = found_files(shop / "many")
    assert [path.name for path in copied] == ["a.CSV", "b.csv.gz"]


def test_broken_lines_are_all_named_and_nothing_is_written_or_they_are_left_out(userrep: Any, shop: Path) -> None:
    lines = (shop / "events.csv").read_text().splitlines()
    lines[6], lines[100], lines[299] = "c0,p1", "c5,,2024-01-03 10:00:00,3,s0", "c5,p1,tomorrow,3,s0"
    (shop / "events.csv").write_text("\n".join(lines))
    words = ("preprocess", "--from-file", "events.csv", "--name", "shop", "--time-col", "bought_at")
    refused = userrep(*words)
    assert refused.code == 3
    for told in ("3 broken lines", "line 7: 2 fields", "line 101: there is no product", "line 300: bought_at is"):
        assert told in refused.err
    assert "--skip-bad" in refused.err
    assert not (shop / "data" / "conf").exists()
    assert not list((shop / "data").rglob("meta.json"))
    made = userrep(*words, "--skip-bad", "--json")
    assert made.code == 0
    assert (made.answer["broken"], made.answer["events"]) == (3, len(lines) - 4)
    assert "left out 3 broken lines" in made.err
    card = json.loads((shop / made.answer["path"] / "card.json").read_text())
    assert card["broken_rows"] == 3
    assert userrep("preprocess", "dataset=shop", "--fresh", "--json").answer["hash"] == made.answer["hash"]


def test_a_dry_run_shows_the_columns_and_writes_nothing(userrep: Any, shop: Path) -> None:
    told = userrep("preprocess", "--from-file", "events.csv", "--name", "shop", "--dry-run", "--json")
    assert told.code == 0
    assert told.answer["columns"]["user"] == "customer"
    assert not (shop / "data").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--from-file", "events.csv", "--name", "ml-1m"), 2, "ml-1m is a data set that userrep knows"),
        (("--from-file", "events.csv", "--name", "../up"), 2, "cannot name a data set"),
        (("--from-file", "events.csv", "--name", "null"), 2, "cannot name a data set"),
        (("--from-file", "absent.csv", "--name", "x"), 3, "there is no file"),
        (("--from-file", "things.csv", "--name", "x"), 3, "no column of"),
        (("--from-file", "events.csv", "--user-col", "who"), 3, "no column 'who'"),
        (("--from-file", "events.csv", "dataset=ml-1m"), 2, "give one of the two"),
        (("--from-file", "events.csv", "--label", "country"), 2, "--users-file"),
        (("--from-file", "events.csv", "--users-file", "people.csv", "--label", "planet"), 3, "one class ('Earth')"),
        (("--from-file", "events.csv", "--users-file", "things.csv"), 3, "looks like the users"),
        (("dataset=synthetic", "--name", "x"), 2, "add --from-file"),
        (("dataset=synthetic", "--skip-bad"), 2, "skip_bad"),
    ],
)
def test_what_cannot_be_described_is_refused(
    userrep: Any, shop: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    refused = userrep("preprocess", *words)
    assert refused.code == code, refused.err
    assert told in refused.err
    assert "try: " in refused.err
    assert not (shop / "data" / "conf").exists()


def test_a_name_that_comes_to_mean_another_file_is_told(userrep: Any, shop: Path) -> None:
    (shop / "other.csv").write_bytes((shop / "events.csv").read_bytes())
    words = ("preprocess", "--name", "shop", "--from-file")
    for file, changed in (("events.csv", False), ("events.csv", False), ("other.csv", True)):
        told = userrep(*words, file)
        assert (told.code, "from now on" in told.err) == (0, changed)


def test_a_label_called_like_another_task_is_refused_and_one_of_a_known_task_uses_it(userrep: Any, shop: Path) -> None:
    people = (shop / "people.csv").read_text()
    (shop / "people.csv").write_text(people.replace("country", "next_item"))
    words = ("preprocess", "--from-file", "events.csv", "--name", "shop", "--users-file", "people.csv")
    refused = userrep(*words)
    assert refused.code == 3
    assert "'next_item' is the name of another task" in refused.err
    (shop / "people.csv").write_text(people.replace("country", "gender"))
    assert userrep(*words).code == 0
    assert not (shop / "data" / "conf" / "task").exists()
