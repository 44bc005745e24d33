"""The command line: verbs, flags and overrides, as users type them."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import userrep
from userrep import command
from userrep.config import flag_overrides
from userrep.errors import UsageError
from userrep.groups import choices, complete
from userrep.stages.request import Request

app = typer.Typer(
    name="userrep",
    help="Pre-train a sequence encoder on behaviour, adapt it to new tasks, trust the number.",
    epilog="Begin with: userrep download ml-100k, preprocess, pretrain, transfer, evaluate.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cost 0.1 s a help page
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _choices_of(group: str) -> Callable[[str], list[str]]:
    def completing(incomplete: str) -> list[str]:
        return [name for name in choices(group) if name.startswith(incomplete)]

    return completing


def _override(context: typer.Context, incomplete: str) -> list[str]:
    return complete(incomplete, context.params.get("overrides") or (), context.info_name)


def _sugar(group: str) -> Any:
    text = f"Short for {group}=NAME."
    return Annotated[str | None, typer.Option(help=text, metavar="NAME", autocompletion=_choices_of(group))]


_Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Config overrides: a group (model=nextitnet) or a key (trainer.epochs=3).",
        autocompletion=_override,
        show_default=False,
    ),
]
_COMMON: dict[str, tuple[Any, Any]] = {
    "overrides": (_Overrides, None),
    "dataset": (_sugar("dataset"), None),
    "model": (_sugar("model"), None),
    "method": (_sugar("method"), None),
    "task": (_sugar("task"), None),
    "base": (
        Annotated[Path | None, typer.Option("--from", help="The run to start from; the newest that fits.")],
        None,
    ),
    "run": (Annotated[Path | None, typer.Option(help="Where this run goes; a name from its config.")], None),
    "seed": (Annotated[int | None, typer.Option(min=0, help="Short for seed=N.")], None),
    "device": (Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")], "auto"),
    "resume": (
        Annotated[bool, typer.Option("--resume", help="Go on with a run; a partial one does so anyway.")],
        False,
    ),
    "fresh": (Annotated[bool, typer.Option("--fresh", help="Start over what is there already.")], False),
    "data_dir": (Annotated[Path, typer.Option(help="Where data sets are kept.")], Path("data")),
    "config_dir": (
        Annotated[Path | None, typer.Option(help="Your own yaml files, laid out like conf/.")],
        None,
    ),
    "dry_run": (
        Annotated[bool, typer.Option("--dry-run", help="Show the checked config, touch nothing.")],
        False,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")], False),
}
_SUGAR = ("dataset", "model", "method", "task", "seed")
_COMPOSING = ("overrides", "data_dir", "config_dir", "dry_run", "json")
_MAKING = ("run", "seed", "resume", "fresh")


@dataclass(frozen=True)
class _Ask:
    """What a verb's own arguments add to the request."""

    flags: dict[str, Any] = field(default_factory=dict)  # folded into the overrides
    base: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def _verb(name: str, *common: str) -> Callable[[Callable[..., _Ask]], Callable[..., _Ask]]:
    """Register a function as a verb: its own parameters, then the common ones named."""

    def register(ask: Callable[..., _Ask]) -> Callable[..., _Ask]:
        own = inspect.signature(ask).parameters

        def run(**given: Any) -> None:
            asked = ask(**{key: given.pop(key) for key in own})
            json = given.pop("json")
            command.execute(name, _request(given, asked), json=json)

        shared = [key for key in _COMMON if key in common]
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(key, kind, default=_COMMON[key][1], annotation=_COMMON[key][0])
            for key in shared
        ]
        parameters = [*(parameter.replace(kind=kind) for parameter in own.values()), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=inspect.getdoc(ask))(run)
        return ask

    return register


def _request(given: dict[str, Any], asked: _Ask) -> Request:
    flags = {key: given.pop(key) for key in _SUGAR if key in given}
    overrides = flag_overrides(given.pop("overrides", None) or (), **asked.flags, **flags)
    if given.get("resume") and given.get("fresh"):
        raise UsageError("--resume and --fresh contradict each other", "give one of the two")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given.get("device", "auto")):
        raise UsageError(f"--device is {given['device']!r}", "give auto, cpu, cuda or cuda:N")
    base = asked.base or given.pop("base", None)
    return Request(overrides=overrides, base=base, seed=flags.get("seed"), extra=asked.extra, **given)


class Split(StrEnum):
    """The users or events that an evaluation reads."""

    test = "test"
    valid = "valid"


_COLUMN = typer.Option(metavar="COLUMN", help="Of --from-file; none: there is none. Guessed from names.")
_Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
_Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)]


@_verb("download", *_COMPOSING, "fresh")
def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The data set.", autocompletion=_choices_of("dataset"))
    ],
    from_file: Annotated[
        list[Path] | None,
        typer.Option(help="An archive, a folder or a file that is here already; may be given again."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the data's licence.")
    ] = False,
) -> _Ask:
    """Fetch a data set, check it and unpack it."""
    return _Ask(
        {"dataset": name}, extra={"name": name, "from_file": from_file, "accept_licence": accept_licence}
    )


@_verb("preprocess", *_COMPOSING, "dataset", "fresh")
def preprocess(
    split_file: Annotated[Path | None, typer.Option(help="A split to import: a splits.parquet.")] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Events of your own: csv, tsv, parquet, jsonl; .gz or not.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call them; from then on dataset=NAME.")] = None,
    user_col: Annotated[str | None, _COLUMN] = None,
    item_col: Annotated[str | None, _COLUMN] = None,
    time_col: Annotated[str | None, _COLUMN] = None,
    rating_col: Annotated[str | None, _COLUMN] = None,
    domain_col: Annotated[str | None, _COLUMN] = None,
    users_file: Annotated[Path | None, typer.Option(help="A table of users with their labels.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A column of the users to predict; may be given again.")
    ] = None,
    items_file: Annotated[Path | None, typer.Option(help="A table of items with their texts.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count broken rows and leave them out.")
    ] = False,
) -> _Ask:
    """Turn raw files, or events of your own, into sequences and splits; audit and describe them."""
    columns = {
        "user_col": user_col, "item_col": item_col, "time_col": time_col, "rating_col": rating_col,
        "domain_col": domain_col,
    }  # fmt: skip
    own = {"from_file": from_file, "name": name, "users_file": users_file, "items_file": items_file, "label": label}
    flags = {"dataset.skip_bad": "true" if skip_bad and from_file is None else None}
    return _Ask(flags, extra={"split_file": split_file, "skip_bad": skip_bad, **own, **columns})


@_verb("pretrain", *_COMPOSING, *_MAKING, "dataset", "model", "device")
def pretrain() -> _Ask:
    """Train an encoder on the behaviour of many users."""
    return _Ask()


@_verb("transfer", *_COMPOSING, *_MAKING, "dataset", "method", "task", "base", "device")
def transfer(
    controls: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Methods to run beside it: scratch,head,full.")
    ] = None,
) -> _Ask:
    """Adapt a pre-trained encoder to a task."""
    names = tuple(name.strip() for name in (controls or "").split(",") if name.strip())
    return _Ask(extra={"controls": names})


@_verb("prune", *_COMPOSING, *_MAKING, "device")
def prune(
    base: _Run,
    keep: Annotated[
        float | None, typer.Option(help="Share of each tensor's weights to keep, in (0, 1].")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write the pruned encoder as plain weights there.")
    ] = None,
) -> _Ask:
    """Drop an encoder's smallest weights and retrain the rest."""
    return _Ask({"method.keep": keep}, base=base, extra={"keep": keep, "export": export})


@_verb("evaluate", "data_dir", "device", "fresh", "json")
def evaluate(
    runs: _Runs,
    split: Annotated[Split, typer.Option(help="Which cases to read.")] = Split.test,
    export: Annotated[Path | None, typer.Option(help="Write the metrics and per-user results there.")] = None,
) -> _Ask:
    """Measure runs on their test cases, with intervals and slices."""
    return _Ask(extra={"runs": runs, "split": split.value, "export": export})


@_verb("baseline", *_COMPOSING, *_MAKING, "dataset", "task", "device")
def baseline(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The baseline.", autocompletion=_choices_of("baseline"))
    ],
) -> _Ask:
    """Run a baseline on the same split; it writes an ordinary run."""
    return _Ask({"baseline": name}, extra={"name": name})


@_verb("compare", "data_dir", "json")
def compare(
    runs: _Runs,
    metric: Annotated[list[str] | None, typer.Option(help="A metric to compare; may be given again.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The run the others are held against; the first.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="What still counts as good, such as 0.01; by the metric.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Whose results to compare.")] = Split.test,
    latex: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the table for LaTeX there, - for stdout.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs of unlike protocols all the same.")
    ] = False,
) -> _Ask:
    """Put runs side by side, with paired intervals."""
    extra = {"runs": runs, "metrics": tuple(metric or ()), "reference": reference, "force": force}
    return _Ask(extra=extra | {"margin": margin, "split": split.value, "latex": latex})


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
) -> _Ask:
    """List runs."""
    state = status.value if status else None
    filters = {"verb": verb, "dataset": dataset, "task": task, "method": method, "status": state}
    return _Ask(extra={"folder": folder, "filters": filters, "sort": sort.value, "metric": metric})


@_verb("show", "json")
def show(source: _Run) -> _Ask:
    """Show a run: its config, what it came from, its metrics."""
    return _Ask(extra={"source": source})


@_verb("recommend", "data_dir", "device", "json")
def recommend(
    source: _Run,
    users: Annotated[
        Path | None, typer.Option(help="A table with the column user, or a .txt with an id a line.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="A table of new users' events: user, item and, if known, time.")
    ] = None,
    topk: Annotated[int, typer.Option(min=1, help="Items a user.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write all lists there: .parquet or .csv.")] = None,
) -> _Ask:
    """Name the best items for users, those that they have met left out."""
    return _Ask(extra={"source": source, "users": users, "events": events, "topk": topk, "out": out})


@_verb("import", *_COMPOSING, *_MAKING, "dataset")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A state dict.", show_default=False)
    ],
    kind: Annotated[str, typer.Option(help="The published code it comes from, such as tenrec-nextitnet.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="What the weights do not tell, such as dilations=[1,4]; repeatable."
        ),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="A csv of raw_item,row: which row of the checkpoint is which item.")
    ] = None,
) -> _Ask:
    """Make a run of an encoder that other code trained."""
    extra = {"checkpoint": checkpoint, "kind": kind, "shape": tuple(shape or ()), "items": items}
    return _Ask(extra=extra)


@_verb("methods", "config_dir", "json")
def methods() -> _Ask:
    """Show which method can be joined to which encoder, and why the others cannot."""
    return _Ask()


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"userrep {userrep.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(
        command.conduct(
            lambda: app(words, prog_name="userrep", standalone_mode=False), json="--json" in words
        )
    )
