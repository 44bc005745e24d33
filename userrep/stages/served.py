"""Served: a method is run by a verb that it serves, and by no other."""

import shlex
from typing import Any

from userrep.build import build
from userrep.errors import UsageError
from userrep.groups import VERBS
from userrep.methods.method import Method
from userrep.run import Run
from userrep.stages.request import Request

_BASE_FLAG = {"transfer": "--from"}  # other verbs take their base as it is


def check_serves(config: dict[str, Any], verb: str, base: Run, request: Request) -> None:
    """Raise UsageError, with the command to type, where the config's method is not for this verb."""
    method: Method = build(config["method"])
    if verb in method.verbs:
        return
    name, right = config["choices"]["method"], method.verbs[0]
    words = ["userrep", right, *filter(None, [_BASE_FLAG.get(right)]), str(base.path)]
    words += [] if VERBS[right].choices.get("method") == name else [f"method={name}"]
    words += [text for text in request.overrides if text.startswith("method.")]
    raise UsageError(f"method {name} is for {' and '.join(method.verbs)}, not for {verb}", f"type: {shlex.join(words)}")
