"""Tables: which of them are updated row by row, and how; chosen by size and by what the loss reads, and told."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from userrep.errors import ConfigError
from userrep.models.rows import mark
from userrep.training.row_optimizers import LazyAdam

AUTO, DENSE = "auto", "dense"
LARGE = {"cpu": 100_000, "cuda": 1_000_000}  # rows from which a dense update is the most of a step, by device


@dataclass(frozen=True)
class Rows:
    """Which `tables` are updated row by row, by which row optimiser; `told` says why, or nothing."""

    kind: str = DENSE
    tables: tuple[nn.Parameter, ...] = ()
    told: str = ""


def choose_rows(asked: str, by_row: Sequence[nn.Parameter], device: str, sharded: bool = False) -> Rows:
    """Return what is updated row by row, of the tables `by_row` of which a loss reads single rows.

    `device` is the kind of device that a run began on. Where they are to be `sharded`, all of them are. Raises
    ConfigError where rows are asked for and the loss reads whole tables.
    """
    tables = tuple(table for table in by_row if table.requires_grad)
    wish = "trainer.shard_tables is true" if sharded else f"trainer.tables is {asked}"
    if sharded and asked == AUTO:
        asked = LazyAdam.name
    if asked == DENSE:
        return Rows()
    if asked != AUTO:
        if not tables:
            raise ConfigError(
                f"{wish}, and no table that trains is read by row: a full softmax reads all of it",
                "choose a loss that draws its negatives, such as objective.loss=sampled, or leave tables as they are",
            )
        why = "their rows dealt out to the processes" if sharded else "as asked for"
        return Rows(asked, tables, f"tables: {asked}, {why}")
    least = LARGE.get(device, LARGE["cuda"])
    large = tuple(table for table in tables if len(table) >= least)
    if not large:
        return Rows()
    most = max(len(table) for table in large)
    why = f"a step reads few of {most:,} rows; trainer.tables=dense forces Adam on all"
    return Rows(LazyAdam.name, large, f"tables: {LazyAdam.name}, since {why}")


def marked(modules: Sequence[nn.Module], tables: Sequence[nn.Parameter]) -> None:
    """Let lookups in `tables` make sparse gradients, and in all others of the modules dense ones."""
    chosen = {id(table) for table in tables}
    for module in modules:
        for parameter in module.parameters():
            if parameter.ndim == 2:
                mark(parameter, id(parameter) in chosen)
