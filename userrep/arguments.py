"""The arguments that several verbs share, each with its help, its default and its completion."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from userrep.groups import choices, complete


def choices_of(group: str) -> Callable[[str], list[str]]:
    """Return a completion of the choices of a config group."""

    def completing(incomplete: str) -> list[str]:
        return [name for name in choices(group) if name.startswith(incomplete)]

    return completing


def _override(context: typer.Context, incomplete: str) -> list[str]:
    return complete(incomplete, context.params.get("overrides") or (), context.info_name)


def _sugar(group: str) -> Any:
    text = f"Short for {group}=NAME."
    return Annotated[str | None, typer.Option(help=text, metavar="NAME", autocompletion=choices_of(group))]


_Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Config overrides: a group (model=nextitnet) or a key (trainer.epochs=3).",
        autocompletion=_override,
        show_default=False,
    ),
]
COMMON: dict[str, tuple[Any, Any]] = {
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
    "config": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="A whole config, as --dry-run prints it.")],
        None,
    ),
    "dry_run": (
        Annotated[bool, typer.Option("--dry-run", help="Show the checked config, touch nothing.")],
        False,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")], False),
}
COMPOSING = ("overrides", "data_dir", "config_dir", "dry_run", "json")
MAKING = ("run", "seed", "resume", "fresh")

COLUMN = typer.Option(metavar="COLUMN", help="Of --from-file; none: there is none. Guessed from names.")
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)]
