"""The verbs that look at what was made, with their flags, as users type them."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from userrep.arguments import Run, Runs
from userrep.verb import Ask, register

looking = typer.Typer()
_verb = partial(register, looking)


class Split(StrEnum):
    """The users or events that an evaluation reads."""

    test = "test"
    valid = "valid"


@_verb("evaluate", "data_dir", "device", "fresh", "json")
def evaluate(
    runs: Runs,
    split: Annotated[Split, typer.Option(help="Which cases to read.")] = Split.test,
    tasks: Annotated[
        str | None, typer.Option(metavar="all|1,2,...", help="Tasks that the one run's encoder has learned.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write metrics and per-user results there; with --tasks, plain runs.")
    ] = None,
) -> Ask:
    """Measure runs on their test cases, with intervals and slices."""
    return Ask(extra={"runs": runs, "split": split.value, "tasks": tasks, "export": export})


@_verb("verify", "data_dir", "json")
def verify(source: Run) -> Ask:
    """Replay a run's certificate: each task of its chain reads and answers what it did."""
    return Ask(extra={"source": source})


@_verb("chain", "data_dir", "device", "json")
def chain(
    source: Run,
    split: Annotated[Split, typer.Option(help="Which cases to read.")] = Split.test,
    single: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="A model of one task to hold it against; repeatable.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A metric to tell tasks by, if they have it; may be given again.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw who owns the weights there.")] = None,
) -> Ask:
    """Measure every task of a chain after each of its tasks: what is kept, gained and left."""
    extra = {"single": tuple(single or ()), "metrics": tuple(metric or ()), "plot": plot}
    return Ask(extra={"source": source, "split": split.value, **extra})


@_verb("compare", "data_dir", "json")
def compare(
    runs: Runs,
    metric: Annotated[list[str] | None, typer.Option(help="A metric to compare; may be given again.")] = None,
    reference: Annotated[Path | None, typer.Option(help="The run the others are held against; the first.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="What still counts as good, such as 0.01; by the metric.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Whose results to compare.")] = Split.test,
    latex: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the table for LaTeX there, - for stdout.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the table as Markdown there, - for stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare runs of unlike protocols all the same.")] = False,
) -> Ask:
    """Put runs side by side, with paired intervals."""
    extra = {"runs": runs, "metrics": tuple(metric or ()), "reference": reference, "force": force}
    return Ask(extra=extra | {"margin": margin, "split": split.value, "latex": latex, "markdown": markdown})


class Sort(StrEnum):
    """What a list of runs is sorted by."""

    created = "created"
    metric = "metric"
    seconds = "seconds"


class Status(StrEnum):
    """How far a run is."""

    finished = "finished"
    running = "running"
    stopped = "stopped"


@_verb("runs", "json")
def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the runs lie.")] = Path("runs"),
    verb: Annotated[str | None, typer.Option(help="Those that this verb made.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Those of this data set.")] = None,
    task: Annotated[str | None, typer.Option(help="Those of this task.")] = None,
    method: Annotated[str | None, typer.Option(help="Those of this method or baseline.")] = None,
    status: Annotated[Status | None, typer.Option(help="Those that are so far.")] = None,
    sort: Annotated[Sort, typer.Option(help="Newest last, best first or longest first.")] = Sort.created,
    metric: Annotated[str | None, typer.Option(help="The validation metric to show.")] = None,
) -> Ask:
    """List runs."""
    state = status.value if status else None
    filters = {"verb": verb, "dataset": dataset, "task": task, "method": method, "status": state}
    return Ask(extra={"folder": folder, "filters": filters, "sort": sort.value, "metric": metric})


@_verb("show", "json")
def show(source: Run) -> Ask:
    """Show a run: its config, what it came from, its metrics."""
    return Ask(extra={"source": source})


@_verb("recommend", "data_dir", "device", "json")
def recommend(
    source: Run,
    users: Annotated[
        Path | None, typer.Option(help="A table with the column user, or a .txt with an id a line.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="A table of new users' events: user, item and, if known, time.")
    ] = None,
    topk: Annotated[int, typer.Option(min=1, help="Items a user.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write all lists there: .parquet or .csv.")] = None,
) -> Ask:
    """Name the best items for users, those that they have met left out."""
    return Ask(extra={"source": source, "users": users, "events": events, "topk": topk, "out": out})


class Whose(StrEnum):
    """The users whose vectors are read."""

    all = "all"
    train = "train"
    valid = "valid"
    test = "test"


@_verb("embed", "data_dir", "device", "json")
def embed(
    source: Run,
    split: Annotated[
        Whose, typer.Option(help="All users with all of their events, or cases as they are evaluated.")
    ] = Whose.all,
    events: Annotated[
        Path | None, typer.Option(help="A table of new users' events: user, item and, if known, time.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the vectors there: .parquet.")] = None,
    readout: Annotated[
        str | None, typer.Option(metavar="PARTS", help="How to read users, as mean+items; the run's own.")
    ] = None,
    rows_per_file: Annotated[
        int, typer.Option(min=1, help="Rows a file; more users make a folder of files.")
    ] = 1_000_000,
) -> Ask:
    """Write the user vectors of a run as a table."""
    asked = {"split": split.value, "events": events, "out": out, "readout": readout}
    return Ask(extra={"source": source, "rows_per_file": rows_per_file, **asked})


@_verb("probe", "data_dir", "device", "json")
def probe(
    runs: Runs,
    label: Annotated[list[str] | None, typer.Option(help="A label to predict, repeatable; all of them.")] = None,
    readout: Annotated[
        list[str] | None, typer.Option(metavar="PARTS", help="How to read users, as mean+items; repeatable; the run's.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Which users to predict.")] = Split.valid,
    label_fraction: Annotated[float, typer.Option(help="Share of the users that keep their label, in (0, 1].")] = 1.0,
    label_draw: Annotated[int, typer.Option(min=0, help="Seed of that draw.")] = 0,
    fold: Annotated[int | None, typer.Option(min=0, help="The fold of users; the run's own.")] = None,
) -> Ask:
    """Predict labels from frozen user vectors by linear models."""
    extra = {"labels": tuple(label or ()), "readouts": tuple(readout or ()), "split": split.value, "fold": fold}
    return Ask(extra=extra | {"runs": runs, "label_fraction": label_fraction, "label_draw": label_draw})


class Projection(StrEnum):
    """How a map is laid out."""

    pca = "pca"
    umap = "umap"


@_verb("map", "data_dir", "device", "json")
def map_(
    source: Run,
    label: Annotated[str, typer.Option(help="The label that colours users.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Draw the map there.", show_default=False)],
    projection: Annotated[Projection, typer.Option(help="How to lay users out.")] = Projection.pca,
    readout: Annotated[
        str | None, typer.Option(metavar="PARTS", help="How to read users, as mean+items; the run's own.")
    ] = None,
    users: Annotated[int, typer.Option(min=3, help="At most so many, drawn by chance.")] = 5_000,
    split: Annotated[Whose, typer.Option(help="Which users to draw.")] = Whose.all,
) -> Ask:
    """Draw users in two dimensions, coloured by a label."""
    extra = {"source": source, "label": label, "out": out, "readout": readout, "users": users}
    return Ask(extra=extra | {"projection": projection.value, "split": split.value})


class Role(StrEnum):
    """The cases whose routes are read."""

    test = "test"
    valid = "valid"
    train = "train"


class Order(StrEnum):
    """What a picture of routes is sorted by."""

    history = "history"
    earlier_targets = "earlier_targets"
    usage = "usage"


@_verb("routes", "data_dir", "device", "json")
def routes(
    source: Run,
    split: Annotated[Role, typer.Option(help="Which cases to read.")] = Role.test,
    sort: Annotated[Order, typer.Option(help="What to sort users by in routes.png.")] = Order.history,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the routes and pictures of them there.")
    ] = None,
) -> Ask:
    """Show which users of a run of UAF pass which blocks by the tuned side."""
    return Ask(extra={"source": source, "split": split.value, "sort": sort.value, "out": out})


@_verb("methods", "config_dir", "json")
def methods() -> Ask:
    """Show which method can be joined to which encoder, and why the others cannot."""
    return Ask()
