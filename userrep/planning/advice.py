"""Advice: settings that may suit better, those that memory asks for and those that are worth a try."""

from collections.abc import Iterator
from dataclasses import dataclass

from userrep.objectives.item_loss import ItemLoss
from userrep.planning.counting import pieces
from userrep.planning.forecast import Forecast
from userrep.planning.shapes import row_state_bytes
from userrep.planning.span import volume
from userrep.sequences.vocab import RESERVED
from userrep.training.row_optimizers import LazyAdam, RowAdagrad

FEW_ITEMS = 5_000  # below, a softmax over all of them costs little
LONG_TABLE = 10_000  # rows from which an update by row may pay
PAYS, SAVES = 1.1, 0.7  # speed, and memory, from which a setting is worth a line
OTHER_LOSS = "another loss: it takes about half as many steps more to the same metric"
OTHER_BATCH = "fewer updates an epoch: a higher trainer.lr may be wanted"
OTHER_TABLES = "not quite Adam: rows that a step did not read stand still"


@dataclass(frozen=True)
class Suggestion:
    """What to type, and what it is good for; `speed` and `memory` (bytes) are what was found of it, if anything was."""

    override: str
    why: str
    speed: float | None = None
    memory: int | None = None


def to_fit(found: Forecast, section: str) -> Iterator[Suggestion]:
    """Name what makes a forecast fit that does not; `section` of the config holds the loss."""
    trainer = found.ready.job.trainer
    users = _that_fits(found)
    if users:
        size = f"{volume(found.total_at(users))} in all"
        parts = -(-trainer.batch_size // (users * trainer.devices))
        if found.ready.job.objective.divisible and found.ready.phase.loss is None:
            yield Suggestion(f"trainer.accumulate={parts}", f"{size}; the same batch, in {parts} parts")
        yield Suggestion(f"trainer.batch_size={users * pieces(trainer)}", f"{size}; {OTHER_BATCH}")
    if _full_loss(found):
        yield Suggestion(f"{section}.loss=sampled", f"no logits of all items, no gradient of them; {OTHER_LOSS}")
    tables = found.ready.by_row
    if tables and found.ready.rows.kind != RowAdagrad.name:
        own = sum(2 * table.nbytes for table in tables) - sum(row_state_bytes(RowAdagrad.name, one) for one in tables)
        why = f"{volume(own)} of optimiser state less; its rate is another, 0.05 to 0.1"
        yield Suggestion(f"trainer.tables={RowAdagrad.name}", why)
    if tables and trainer.devices > 1 and not trainer.shard_tables:
        state = sum(table.nbytes + row_state_bytes(LazyAdam.name, table) for table in tables)
        away = volume(state * (1 - 1 / trainer.devices))
        yield Suggestion("trainer.shard_tables=true", f"{away} of tables and their state lie with other processes")
    if not users:
        yield Suggestion("model.width=...", "weights, gradients and optimiser state alone are too much")


def worth_trying(found: Forecast, section: str) -> Iterator[Suggestion]:
    """Name what may be faster, to be tried."""
    ready, trainer = found.ready, found.ready.job.trainer
    if _full_loss(found):
        yield Suggestion(f"{section}.loss=sampled", OTHER_LOSS)
    if any(len(table) >= LONG_TABLE for table in ready.by_row) and not ready.rows.tables:
        yield Suggestion("trainer.tables=lazy", OTHER_TABLES)
    if trainer.precision == "fp32":
        yield Suggestion("trainer.precision=bf16", "products in bf16; weights stay fp32")
    larger = 4 * trainer.batch_size
    if found.look.steps >= 8 and (found.memory.there is None or found.total_at(4 * _users(found)) < found.memory.there):
        yield Suggestion(f"trainer.batch_size={larger}", OTHER_BATCH)


def is_worth(tried: Suggestion, found: Forecast) -> bool:
    """Say whether what was found of a suggestion is reason enough to give it."""
    faster = tried.speed is not None and tried.speed >= PAYS
    return faster or (tried.memory is not None and tried.memory <= SAVES * found.memory.total)


def _users(found: Forecast) -> int:
    return found.counted.full.users


def _that_fits(found: Forecast) -> int:
    """Return the examples at once, a power of two, that the memory is enough for; 0 where it is not for any."""
    there = found.memory.there or 0
    users = 1 << max(0, _users(found) - 1).bit_length()
    while users >= 1 and (users >= _users(found) or found.total_at(users) > there):
        users //= 2
    return users


def _full_loss(found: Forecast) -> bool:
    loss = getattr(found.ready.job.objective, "item_loss", None)
    items = found.ready.job.encoder.vocab_size - RESERVED
    return isinstance(loss, ItemLoss) and not loss.draws and items >= FEW_ITEMS and _biasless(found)


def _biasless(found: Forecast) -> bool:
    return getattr(found.ready.job.objective, "bias", None) is None
