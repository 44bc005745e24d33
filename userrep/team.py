"""The team: processes that train one model together, each on its share of every batch; usually one process alone.

`torchrun` starts them and says so in the environment; `trainer.devices=N` starts them here. The first of them leads: it
alone writes and prints. What they agree on they sum: gradients, how many examples they are of, whether to stop.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from userrep import console
from userrep.errors import UserRepError

if TYPE_CHECKING:
    import numpy as np
    import torch

GRACE = 30.0  # seconds in which others may end by themselves once one has ended
_words: list[str] = []


class Handed(UserRepError):
    """The work was done by other processes, or is finished here because another leads: nothing is left to tell."""

    kind = "handed"

    def __init__(self, exit_code: int = 0) -> None:
        super().__init__("handed over", "")
        self.exit_code = exit_code  # type: ignore[misc]


class TeammateLost(UserRepError):
    """Another process of the team has died."""

    kind = "team"

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"another process of the team is gone: {cause}",
            "the last checkpoint is whole: give the command again, on as many devices as there are, and it goes on",
        )


def remember(words: Sequence[str]) -> None:
    """Keep the words of the command, which are what each process of a team is given."""
    _words[:] = words


def size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the place of this process among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def follows() -> bool:
    """Say whether another process leads."""
    return rank() > 0


def local_rank() -> int:
    """Return the place of this process on its machine, which is the number of its device."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def share(index: "np.ndarray") -> "np.ndarray":
    """Return this process's share of the examples of a batch; each example is in one share."""
    return index[rank() :: size()] if size() > 1 else index


def launch(devices: int) -> None:
    """Run this command in `devices` processes, then end: raise Handed with the exit code of the one that failed first.

    A signal is passed on, so that all of them write what they must and stop. What goes wrong for all is told by the
    leader; what the others say on stderr is kept, and shown when it was one of them that failed.
    """
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(devices)}
    command = [sys.executable, "-m", "userrep", *_words]
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(devices)]
        children = [
            subprocess.Popen(
                command, env=shared | {"RANK": str(place), "LOCAL_RANK": str(place)}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if place else None, stderr=own if place else None,
                start_new_session=True,  # a terminal's Ctrl-C would reach them beside ours, a second one cuts them off
            )
            for place, own in enumerate(said)
        ]  # fmt: skip
        with _signals_to(children):
            code, place = _wait(children)
        said[place].seek(0)
        if text := said[place].read().decode(errors="replace").rstrip():
            console.tell(text)
        raise Handed(code)


@contextmanager
def _signals_to(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def pass_on(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    for number in before:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(children: list[subprocess.Popen[bytes]]) -> tuple[int, int]:
    """Wait for all; where one fails, give the others some time to notice, then stop them.

    Returns the code to end with and the place of the process whose it is: the first that fails knows why, others only
    know that it is gone; where the leader knows why, it is the leader.
    """
    first, deadline = None, float("inf")
    while any([child.poll() is None for child in children]):  # each is asked, each time
        if first is None and (first := _first_failed(children)) is not None:
            deadline = time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(0.05)
    if first is None:
        first = _first_failed(children)
    lead = children[0].returncode
    knows_not = (0, TeammateLost.exit_code, -signal.SIGKILL)  # killed above: it waited for one that is gone
    place = 0 if first is None or lead not in knows_not else first
    code = children[place].returncode
    return (128 - code if code < 0 else code), place


def _first_failed(children: list[subprocess.Popen[bytes]]) -> int | None:
    return next((place for place, child in enumerate(children) if child.returncode), None)


@cache
def join() -> None:
    """Meet the other processes, once; a process alone meets nobody."""
    if size() == 1:
        return
    from torch import distributed

    distributed.init_process_group("cpu:gloo,cuda:nccl" if _cuda() else "gloo", timeout=timedelta(minutes=10))


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def agree(value: float) -> float:
    """Return the leader's value."""
    if size() == 1:
        return value
    import torch

    told = torch.tensor([value], dtype=torch.float64)
    _together("broadcast", told, 0)
    return float(told)


def add(*values: "torch.Tensor") -> None:
    """Sum tensors over all processes, in place."""
    if size() > 1:
        for value in values:
            _together("all_reduce", value)


def share_weights(values: Sequence["torch.Tensor"]) -> None:
    """Give every process the leader's values, in place: what each drew for itself would part them."""
    for value in values:
        _together("broadcast", value.detach(), 0)


def gather_rows(value: "torch.Tensor") -> list["torch.Tensor"]:
    """Return every process's tensor, in order; they may differ in length `(N, ...)` alone."""
    if size() == 1:
        return [value]
    import torch

    lengths = torch.zeros(size(), dtype=torch.int64, device=value.device)
    lengths[rank()] = len(value)
    add(lengths)
    most = int(lengths.max())
    padded = value.new_zeros((most, *value.shape[1:]))
    padded[: len(value)] = value
    return [one[:length] for one, length in zip(gather(padded), lengths.tolist(), strict=True)]


def gather(value: "torch.Tensor") -> list["torch.Tensor"]:
    """Return every process's tensor, in order; all of them have one shape."""
    import torch

    found = [torch.empty_like(value) for _ in range(size())]
    _together("all_gather", found, value)
    return found


def exchange(values: "torch.Tensor", sent: list[int], received: list[int]) -> "torch.Tensor":
    """Send `sent[j]` of the `values`, in order, to each process j, and return what came, `received[j]` of each."""
    found = values.new_empty(sum(received))
    _together("all_to_all_single", found, values.contiguous(), received, sent)
    return found


def send(value: "torch.Tensor") -> None:
    """Send a tensor to the leader."""
    _together("send", value, 0)


def receive(space: "torch.Tensor", place: int) -> "torch.Tensor":
    """Receive what process `place` sends, in `space`, which has its shape."""
    _together("recv", space, place)
    return space


def _together(what: str, *given: object) -> None:
    from torch import distributed

    join()
    try:
        getattr(distributed, what)(*given)
    except RuntimeError as error:
        raise TeammateLost(str(error).splitlines()[0]) from error
