"""Ray: the same child processes, placed by a Ray cluster whose machines share the folder."""

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from userrep import console
from userrep.errors import UsageError
from userrep.sweep.claim import Claim
from userrep.sweep.launch import PROGRAM, Child, begin
from userrep.sweep.ledger import LOG
from userrep.sweep.slots import THREADS

STOP = ".stop"
POLL, PATIENCE = 0.2, 10.0  # seconds


def conduct(command: Sequence[str], cwd: str, place: str, environment: Mapping[str, str]) -> int:
    """Run a command to its end on the machine of a Ray worker; ask it to stop once the file `.stop` is in its place."""
    if (Path(place) / STOP).exists():  # it waited for room when the sweep was stopped
        return 128 + signal.SIGTERM
    process, asked = begin(command, Path(place), environment, cwd=cwd), False
    while process.poll() is None:
        if not asked and (Path(place) / STOP).exists():
            asked = True
            process.send_signal(signal.SIGTERM)
        time.sleep(POLL)
    return int(process.returncode)


class RayChild:
    """A trial that a cluster runs, or will run."""

    where = "ray"

    def __init__(self, ray: Any, task: Any, place: Path, running: set["RayChild"]) -> None:
        self._ray, self._task, self._place, self._running = ray, task, place, running
        running.add(self)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs or waits; 1 where its machine was lost."""
        ready, _ = self._ray.wait([self._task], timeout=0)
        if not ready:
            return None
        self._running.discard(self)
        try:
            return int(self._ray.get(self._task))
        except Exception as error:  # Ray has many: a worker that died, a task that was cancelled
            with (self._place / LOG).open("a", encoding="utf-8") as log:
                log.write(f"ray lost it: {' '.join(str(error).split())[:500]}\n")
            return 1

    def stop(self) -> None:
        """Leave a file that asks the worker to stop its child; a trial that has not begun is taken back."""
        (self._place / STOP).touch()

    def kill(self) -> None:
        """Take the task away from its worker."""
        self.stop()
        self._ray.cancel(self._task, force=True)


class OnRay:
    """A Ray cluster; as many trials at once as it has room for now, `jobs` at most."""

    def __init__(self, ray: Any, cpus: int, gpus: float, jobs: int | None, program: Sequence[str] = PROGRAM) -> None:
        self._ray, self._cpus, self._gpus, self._jobs = ray, cpus, gpus, jobs
        self._program = tuple(program)
        self._running: set[RayChild] = set()
        self._conduct = ray.remote(conduct).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)

    def free(self) -> bool:
        """Say whether the cluster, as large as it is now, has room for another trial."""
        there = self._ray.cluster_resources()
        room = int(there.get("CPU", 0) // self._cpus)
        room = min(room, int(there.get("GPU", 0) / self._gpus + 1e-9)) if self._gpus else room
        return len(self._running) < min(room, self._jobs or room)

    def start(self, words: Sequence[str], place: Path, claim: Claim) -> Child:
        """Hand a trial to the cluster; the claim is this process's, and the lock of the run is its child's."""
        (place / STOP).unlink(missing_ok=True)
        given = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        environment = dict.fromkeys(THREADS, str(self._cpus)) | given
        command = [*self._program, *words, "--json"]
        task = self._conduct.remote(command, os.getcwd(), str(place.resolve()), environment)
        return RayChild(self._ray, task, place, self._running)


def _knock(address: str) -> None:
    """Raise OSError for an address at which nobody listens: Ray itself would try for minutes."""
    if found := re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address):
        socket.create_connection((found[1], int(found[2])), timeout=PATIENCE).close()


@contextmanager
def on_ray(cpus: int, jobs_per_gpu: int, jobs: int | None, program: Sequence[str] = PROGRAM) -> Iterator[OnRay]:
    """Connect to the cluster of RAY_ADDRESS, or to the one of this machine, or start one here.

    Raises:
        UsageError: Ray is not there, no cluster answers, or no machine of it has so many cores.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--on ray needs Ray", "pip install 'userrep[ray]'") from error
    address = os.environ.get("RAY_ADDRESS", "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _knock(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        remedy = "start one with `ray start --head`, or set RAY_ADDRESS"
        raise UsageError(f"no Ray cluster answers at {address or 'this machine'}: {error}", remedy) from error
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus for node in nodes):
            raise UsageError(f"no machine of the Ray cluster has {cpus} core(s)", "lower --cpus-per-trial")
        gpus = 1 / jobs_per_gpu if any(node.get("GPU", 0) for node in nodes) else 0.0
        console.note(f"Ray cluster: {len(nodes)} machine(s); a trial takes {cpus} core(s), {gpus:g} GPU")
        yield OnRay(ray, cpus, gpus, jobs, program)
    finally:
        ray.shutdown()
