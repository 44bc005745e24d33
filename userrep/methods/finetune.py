"""Fine-tuning controls: everything, the head, the last blocks, or the same network from random weights."""

from typing import ClassVar

from userrep.errors import ConfigError
from userrep.methods.method import Method
from userrep.models.encoder import Encoder


class Full(Method):
    """Train everything from the pre-trained weights (FineAll)."""

    paper: ClassVar[str] = "Yuan et al., SIGIR 2020 (FineAll)"
    over_routes: ClassVar[bool] = True

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return ("*",)


class Scratch(Full):
    """Train everything from random weights: what the labels alone can teach."""

    paper: ClassVar[str] = "none: a control"
    pretrained: ClassVar[bool] = False


class Head(Method):
    """Train the head on frozen user vectors (FineCLS), computed once unless the readout or an option adds weights."""

    paper: ClassVar[str] = "Yuan et al., SIGIR 2020 (FineCLS)"
    over_routes: ClassVar[bool] = True


class Last(Method):
    """Train the head, the last `blocks` blocks and the final norm (FineLast)."""

    paper: ClassVar[str] = "Yuan et al., SIGIR 2020 (FineLast)"

    def __init__(self, blocks: int = 1, table_rank: int = 0, stem_patch: int = 0) -> None:
        super().__init__(table_rank, stem_patch)
        self.blocks = blocks

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        count = len(encoder.blocks)
        if not 0 < self.blocks <= count:
            raise ConfigError(
                f"method.blocks is {self.blocks}, the encoder has {count}", f"give a number from 1 to {count}"
            )
        final = ("final.*",) if any(True for _ in encoder.final.parameters()) else ()
        return (*(f"blocks.{index}.*" for index in range(count - self.blocks, count)), *final)
