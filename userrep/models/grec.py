"""GRec's encoder: NextItNet that reads both ways, with convolutions of SAME padding (Yuan et al., WWW 2020)."""

from typing import ClassVar

from userrep.models.nextitnet import NextItNet


class GRec(NextItNet):
    """Encode with dilated convolutions centred on each item (PeterRec, spec 1.4)."""

    causal: ClassVar[bool] = False
