"""The trainer's settings: how long, how fast and how often."""

from dataclasses import dataclass

from userrep.build import Component
from userrep.errors import ConfigError

COMPILING = ("none", "blocks", "graphs")
PRECISIONS = ("fp32", "bf16", "auto")
TABLES = ("auto", "dense", "lazy", "rowwise")


@dataclass(frozen=True)
class Trainer(Component):
    """Settings of the training loop.

    epochs              passes over the training examples, at most
    batch_size          examples a step
    length              window length of next-item training; tasks on users read `protocol.history` instead
    lr                  peak learning rate of the encoder's dense weights
    table_lr, head_lr   of item tables and of heads; as `lr` where null
    weight_decay        decoupled, on dense matrices; `table_weight_decay` on item tables; never on norms and biases
    warmup              share of the updates over which the rate rises
    schedule            linear: decays to zero at the last update; constant
    clip                largest gradient norm, 0 for none
    patience            validations without a better metric before stopping, 0 for never
    validate_users      so many users choose the epoch by their validation cases, 0 for all: fewer are quicker
    tables              how item tables are updated: dense, all rows by Adam; lazy or rowwise, the rows that a step
                        read, by LazyAdam or RowAdagrad; auto, lazy where rows are many and the loss reads few
    shard_tables        deal the rows of tables that are read by row out to the processes, each to hold its share
    accumulate          parts that a batch is made of, one after another, where it does not fit into memory at once
    precision           fp32; bf16, products in bfloat16 and all else in fp32; auto, whichever a probe finds faster
    compile             none; blocks, by torch.compile; graphs, with CUDA graphs too; as they were where that fails
    devices             processes that train together, each on its share of every batch; or say so to torchrun
    checkpoint_seconds  at most this much work is lost to a crash
    """

    epochs: int = 20
    batch_size: int = 128
    length: int = 100
    lr: float = 1e-3
    table_lr: float | None = None
    head_lr: float | None = None
    weight_decay: float = 0.0
    table_weight_decay: float = 0.0
    warmup: float = 0.0
    schedule: str = "linear"
    clip: float = 5.0
    patience: int = 0
    validate_users: int = 0
    tables: str = "auto"
    shard_tables: bool = False
    accumulate: int = 1
    precision: str = "fp32"
    compile: str = "none"
    devices: int = 1
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.length < 1:
            raise ConfigError(
                f"trainer has epochs={self.epochs} batch_size={self.batch_size} length={self.length}",
                "give whole numbers of at least 1",
            )
        for name in ("lr", "table_lr", "head_lr"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < float("inf"):
                raise ConfigError(f"trainer.{name} is {rate}", "give a rate above 0")
        for name in ("weight_decay", "table_weight_decay", "clip", "patience", "validate_users", "checkpoint_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"trainer.{name} is {getattr(self, name)}", "give 0 or more")
        if self.schedule not in ("linear", "constant"):
            raise ConfigError(f"trainer.schedule is '{self.schedule}'", "choose linear or constant")
        if self.tables not in TABLES:
            raise ConfigError(f"trainer.tables is '{self.tables}'", f"choose from {', '.join(TABLES)}")
        if self.shard_tables and self.tables == "dense":
            raise ConfigError("sharded tables are updated by row, and trainer.tables is dense", "set it to auto")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"trainer.precision is '{self.precision}'", f"choose from {', '.join(PRECISIONS)}")
        if self.compile not in COMPILING:
            raise ConfigError(f"trainer.compile is '{self.compile}'", f"choose from {', '.join(COMPILING)}")
        if not 1 <= self.accumulate <= self.batch_size:
            raise ConfigError(
                f"trainer.accumulate is {self.accumulate}", f"give a number of parts from 1 to {self.batch_size}"
            )
        if self.devices < 1:
            raise ConfigError(f"trainer.devices is {self.devices}", "give a number of at least 1")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"trainer.warmup is {self.warmup}", "give a share of the updates in [0, 1)")
