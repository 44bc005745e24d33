"""The matrix: which methods can be joined to which encoders, and why the others cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userrep.build import build
from userrep.errors import ConfigError
from userrep.methods.method import Method

Node = Mapping[str, Any]
WIDTH, STEPS, VOCABULARY = 16, 12, 24  # of a small encoder
# Keys of a model's yaml that make it small; a newcomer with a key of another name adds it here.
SMALL: dict[str, Any] = {
    "width": WIDTH, "dilations": [1, 2], "blocks": 2, "layers": 2, "heads": 2, "hidden": 2 * WIDTH,
    "max_length": 2 * STEPS,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What a method is, and for each encoder why it cannot be joined to it, None where it can."""

    name: str
    paper: str
    joint: str
    identity_at_start: bool
    verbs: tuple[str, ...]
    gaps: dict[str, str | None]


def shrink(model: Node) -> dict[str, Any]:
    """Return a model's node with the sizes that make it small."""
    return {key: SMALL.get(key, value) for key, value in model.items()}


def refusal(model: Node, method: Node) -> str | None:
    """Join a method to a small encoder; return why the two refuse, None where they fit.

    The contract tests hold every pair that fits to the laws of methods, and skip the others for this reason.
    """
    encoder = build(shrink(model), vocab_size=VOCABULARY)
    try:
        build(method).adapt(encoder, "mean")
    except ConfigError as error:
        return error.message
    return None


def matrix(models: Mapping[str, Node], methods: Mapping[str, Node]) -> list[Row]:
    """Return a row for each method, over all models; both are nodes by name."""
    return [_row(name, node, models) for name, node in methods.items()]


def _row(name: str, node: Node, models: Mapping[str, Node]) -> Row:
    method: Method = build(node)
    gaps = {model: refusal(shape, node) for model, shape in models.items()}
    identity = method.pretrained and method.identity_at_start
    return Row(name, method.paper, method.joint, identity, method.verbs, gaps)
