"""The data card: what a data set holds and what was done to it, in numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from userrep import console
from userrep.files import replacing, write_json
from userrep.sequences.overlap import ENOUGH, overlaps
from userrep.sequences.store import Prepared, Sequences


def make_card(prepared: Prepared) -> dict[str, Any]:
    """Describe a prepared data set; shares are in [0, 1], None where there are no times."""
    meta = prepared.meta
    return {
        "name": prepared.name,
        "title": meta["title"],
        "hash": prepared.hash,
        "source": meta["source"],
        "users": prepared.num_users,
        "broken_rows": meta.get("broken", 0),
        "duplicates_merged": meta["duplicates"],
        "dropped": meta["dropped"],
        "ties": meta["ties"],
        "domains": [_domain(prepared.sequences(name), name) for name in prepared.domains],
        "labels": {label["name"]: _label_counts(prepared, label["name"]) for label in meta["labels"]},
        "splits": meta["splits"],
        "overlaps": overlaps(prepared),
        "notes": meta.get("notes", []),
    }


def _domain(sequences: Sequences, name: str) -> dict[str, Any]:
    lengths = np.diff(sequences.offsets)
    tied, targets = tied_shares(sequences)
    return {
        "name": name,
        "events": len(sequences.items),
        "items": len(sequences.item_ids),
        "items_unseen_in_training": int(np.sum(sequences.counts == 0)),
        "lengths": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "max": int(lengths.max()),
        },
        "users_under_3_events": int(np.sum(lengths < 3)),
        "tied_neighbours": tied,
        "tied_test_targets": targets,
    }


def tied_shares(sequences: Sequences) -> tuple[float | None, float | None]:
    """Return the share of events at the time of their user's event before: of all, and of last events."""
    if sequences.times is None:
        return None, None
    counts = np.zeros((2, 2), dtype=np.int64)  # of all pairs and of last ones: tied, looked at
    for part in sequences.by_users():
        assert part.times is not None
        starts, ends = part.offsets[:-1], part.offsets[1:]
        same = np.diff(part.times) == 0  # (E-1,)
        within = np.ones(len(same), dtype=bool)
        within[starts[(starts > 0) & (starts < len(part.items))] - 1] = False
        last = ends[ends - starts >= 3] - 2  # the pair that ends a user's events
        counts += [[same[within].sum(), within.sum()], [same[last].sum(), len(last)]]
    return _share(*counts[0]), _share(*counts[1])


def _share(marked: int, total: int) -> float | None:
    return float(marked / total) if total else None


def _label_counts(prepared: Prepared, name: str) -> dict[str, int]:
    codes, classes = prepared.labels(name), prepared.classes(name)
    counts = np.bincount(codes[codes >= 0], minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True)) | {"unknown": int(np.sum(codes < 0))}


def rows_of(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lay the card out as lines of a name and a value."""
    dropped = card["dropped"]
    rows = [
        ("users", f"{card['users']:,}"),
        *([("broken rows left out", f"{card['broken_rows']:,}")] if card.get("broken_rows") else []),
        ("duplicates merged", f"{card['duplicates_merged']:,}"),
        (
            "dropped by filters",
            ", ".join(f"{dropped[kind]:,} {kind}" for kind in ("users", "items", "events")),
        ),
        ("order of ties", card["ties"]),
    ]
    for domain in card["domains"]:
        mark = f" ({domain['name']})" if len(card["domains"]) > 1 else ""
        rows += [(label + mark, value) for label, value in _domain_rows(domain)]
    for overlap in card.get("overlaps", ()):  # a card of an earlier userrep has none
        rows += [(f"{label} ({overlap['source']} to {overlap['target']})", value) for label, value in _across(overlap)]
    for name, counts in card["labels"].items():
        rows.append((name, ", ".join(f"{value} {count:,}" for value, count in counts.items() if count)))
    for split in card["splits"]:
        rows.append((f"split {split['name']}", f"{split['kind']}, {split['folds']} fold(s), {split['hash'][:12]}"))
    rows += [("note", text) for text in card.get("notes", ())]
    return [*rows, ("source", card["source"]), ("content hash", card["hash"])]


def _domain_rows(domain: Mapping[str, Any]) -> list[tuple[str, str]]:
    lengths = domain["lengths"]
    rows = [
        ("items", f"{domain['items']:,}, of which {domain['items_unseen_in_training']:,} unseen in training"),
        ("events", f"{domain['events']:,}"),
        (
            "events a user",
            "min {min:,}, median {median:g}, mean {mean:.1f}, max {max:,}".format(**lengths),
        ),
        ("users under 3 events", f"{domain['users_under_3_events']:,} (they only train)"),
    ]
    if domain["tied_neighbours"] is None:
        return [*rows, ("times", "none: order of the file")]
    shares = (("tied neighbours", "tied_neighbours"), ("tied test targets", "tied_test_targets"))
    return rows + [(label, "-" if domain[key] is None else f"{domain[key]:.1%}") for label, key in shares]


def _across(overlap: Mapping[str, Any]) -> list[tuple[str, str]]:
    source, after = overlap["source"], "{:,}, of which {:,} after 1 {} event or more, {:,} after {} or more"
    targets = (overlap["targets"], overlap["after_one"], source, overlap["after_three"], ENOUGH)
    first = (overlap["users"], overlap["first_after_one"], source, overlap["first_after_three"], ENOUGH)
    return [
        ("users", f"{overlap['users']:,} in both, {overlap['source_only']:,} in {source} alone"),
        ("targets", after.format(*targets)),
        ("first targets", after.format(*first)),
    ]


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Save the card as card.json and card.md."""
    write_json(folder / "card.json", card)
    lines = [f"# {card['title'] or card['name']}", "", "| what | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows_of(card)]
    with replacing(folder / "card.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def show_card(card: Mapping[str, Any]) -> None:
    """Print the card."""
    console.table(card["title"] or card["name"], ["what", "value"], rows_of(card))
