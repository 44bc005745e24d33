"""The command line: the verbs that make something, with their flags and overrides, as users type them."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import userrep
from userrep import command, team
from userrep.arguments import COLUMN, COMPOSING, MAKING, Run, choices_of
from userrep.looking import looking
from userrep.verb import Ask, call, register, rehearse

app = typer.Typer(
    name="userrep",
    help="Pre-train a sequence encoder on behaviour, adapt it to new tasks, trust the number.",
    epilog="Begin with: userrep download ml-100k, preprocess, pretrain, transfer, evaluate.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cost 0.1 s a help page
    context_settings={"help_option_names": ["-h", "--help"]},
)
_verb = partial(register, app)


@_verb("download", *COMPOSING, "fresh")
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.", autocompletion=choices_of("dataset"))],
    from_file: Annotated[
        list[Path] | None,
        typer.Option(help="An archive, a folder or a file that is here already; may be given again."),
    ] = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept the data's licence.")] = False,
) -> Ask:
    """Fetch a data set, check it and unpack it."""
    return Ask({"dataset": name}, extra={"name": name, "from_file": from_file, "accept_licence": accept_licence})


@_verb("preprocess", *COMPOSING, "dataset", "fresh")
def preprocess(
    split_file: Annotated[Path | None, typer.Option(help="A split to import: a splits.parquet.")] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Your events: csv, tsv, parquet, jsonl; .gz or not; a folder, a pattern.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call them; from then on dataset=NAME.")] = None,
    user_col: Annotated[str | None, COLUMN] = None,
    item_col: Annotated[str | None, COLUMN] = None,
    time_col: Annotated[str | None, COLUMN] = None,
    rating_col: Annotated[str | None, COLUMN] = None,
    domain_col: Annotated[str | None, COLUMN] = None,
    users_file: Annotated[Path | None, typer.Option(help="A table of users with their labels.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A column of the users to predict; may be given again.")
    ] = None,
    items_file: Annotated[Path | None, typer.Option(help="A table of items with their texts.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Count broken rows and leave them out.")] = False,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory to stay below, such as 4GiB, the default.")
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="By way of the disk, or all in memory; by size.")
    ] = None,
    on: Annotated[str | None, typer.Option(metavar="ENGINE", help="Divide and sort on a cluster: ray.")] = None,
) -> Ask:
    """Turn raw files, or events of your own, into sequences and splits; audit and describe them."""
    columns = {
        "user_col": user_col, "item_col": item_col, "time_col": time_col, "rating_col": rating_col,
        "domain_col": domain_col,
    }  # fmt: skip
    own = {"from_file": from_file, "name": name, "users_file": users_file, "items_file": items_file, "label": label}
    flags = {"dataset.skip_bad": "true" if skip_bad and from_file is None else None}
    how = {"memory": memory, "stream": stream, "on": on}
    return Ask(flags, extra={"split_file": split_file, "skip_bad": skip_bad, **own, **columns, **how})


@_verb("pretrain", *COMPOSING, *MAKING, "config", "dataset", "model", "device")
def pretrain() -> Ask:
    """Train an encoder on the behaviour of many users."""
    return Ask()


@_verb("transfer", *COMPOSING, *MAKING, "config", "dataset", "method", "task", "base", "device")
def transfer(
    controls: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Methods to run beside it: scratch,head,full.")
    ] = None,
) -> Ask:
    """Adapt a pre-trained encoder to a task."""
    names = tuple(name.strip() for name in (controls or "").split(",") if name.strip())
    return Ask(extra={"controls": names})


@_verb("plan", *COMPOSING, *MAKING, "dataset", "model", "method", "task", "base", "config", "device")
def plan(
    verb: Annotated[str, typer.Argument(metavar="VERB", help="pretrain or transfer.", show_default=False)],
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="Plan for a GPU that is not here: h100, a100, l4, ...")
    ] = None,
) -> Ask:
    """Predict the memory and the time of a command, and suggest what would change them."""
    return Ask(extra={"plans": verb, "gpu": gpu})


@_verb("prune", *COMPOSING, *MAKING, "config", "method", "device")
def prune(
    base: Run,
    keep: Annotated[float | None, typer.Option(help="Share of each tensor's weights to keep, in (0, 1].")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the pruned encoder as plain weights there.")] = None,
) -> Ask:
    """Drop an encoder's smallest weights and retrain the rest."""
    return Ask({"method.keep": keep}, base=base, extra={"keep": keep, "export": export})


@_verb("baseline", *COMPOSING, *MAKING, "dataset", "task", "base", "device")
def baseline(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The baseline.", autocompletion=choices_of("baseline"))],
) -> Ask:
    """Run a baseline on the same split; it writes an ordinary run."""
    return Ask({"baseline": name}, extra={"name": name})


@_verb("import", *COMPOSING, *MAKING, "dataset")
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A state dict.", show_default=False)],
    kind: Annotated[str, typer.Option(help="The published code it comes from, such as tenrec-nextitnet.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="What the weights do not tell, such as dilations=[1,4]; repeatable."),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="A csv of raw_item,row: which row of the checkpoint is which item.")
    ] = None,
) -> Ask:
    """Make a run of an encoder that other code trained."""
    extra = {"checkpoint": checkpoint, "kind": kind, "shape": tuple(shape or ()), "items": items}
    return Ask(extra=extra)


class Searcher(StrEnum):
    """What may propose the trials of a sweep."""

    optuna = "optuna"


class Pruner(StrEnum):
    """What may end trials of a search early."""

    median = "median"
    halving = "halving"
    none = "none"


class Cluster(StrEnum):
    """What may run the trials of a sweep elsewhere."""

    ray = "ray"


@_verb("sweep", "run", "dry_run", "json", context_settings={"ignore_unknown_options": True})
def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="VERB ...", help="A command; lists in it, as task=age,gender, are its axes."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Instead of a command, a list: one a line.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at once on the processor; one.")] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1|all", help="Trials on these GPUs, one each.")] = None,
    jobs_per_gpu: Annotated[int | None, typer.Option(min=1, help="Trials at once on a GPU; one.")] = None,
    search: Annotated[Searcher | None, typer.Option(help="Propose values rather than try all.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Of a search: trials in all; 20.")] = None,
    by: Annotated[str | None, typer.Option(metavar="METRIC", help="Of a search: the validation metric.")] = None,
    pruner: Annotated[Pruner, typer.Option(help="Of a search: what ends bad trials early.")] = Pruner.median,
    search_seed: Annotated[int, typer.Option(min=0, help="Of a search: the seed of what is proposed.")] = 0,
    on: Annotated[Cluster | None, typer.Option(help="Run the trials on a cluster.")] = None,
    cpus_per_trial: Annotated[int | None, typer.Option(min=1, help="Of --on ray: cores of a trial; one.")] = None,
) -> Ask:
    """Run a command for each value of the lists in it, or a list of commands; go on where it stopped."""
    places = {"gpus": gpus, "jobs_per_gpu": jobs_per_gpu, "jobs": jobs, "on": on, "cpus_per_trial": cpus_per_trial}
    searching = {"search": search, "trials": trials, "by": by, "pruner": pruner.value, "search_seed": search_seed}
    extra = {"words": tuple(words or ()), "file": file, "rehearse": partial(rehearse, app)}
    return Ask(extra=extra | places | searching)


app.add_typer(looking)


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
    team.remember(words)
    sys.exit(command.conduct(lambda: call(app, words), json="--json" in words))
