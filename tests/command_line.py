"""What a command line printed and how it ended, for tests to ask."""

import json
from typing import Any


class Told:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def answer(self) -> dict[str, Any]:
        assert self.out.count("\n") == 1, "one JSON object on one line"
        return dict(json.loads(self.out))

    @property
    def error(self) -> dict[str, str]:
        assert set(self.answer) == {"error"}
        assert set(self.answer["error"]) == {"kind", "message", "hint"}
        return dict(self.answer["error"])
