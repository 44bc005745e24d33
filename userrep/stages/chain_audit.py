"""The audit of a chain: nothing that one of its tasks is judged by may have taught another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from userrep.build import build
from userrep.errors import UsageError
from userrep.objectives.objective import Objective
from userrep.run import Run
from userrep.sequences.exposure import Exposure, Leak, leaks
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared
from userrep.stages.lineage import lineage

NEW = "the new task"
ROLES = {"test": "test", "valid": "validation"}
TOLD = {
    "answers": "{share:.1%} of the {role} events of {judge} are answers in the training of {learner}",
    "inputs": "{share:.1%} of the {role} events of {judge} are read in the training of {learner}",
    "labels": "{share:.1%} of the {role} users of {judge} teach their label to {learner}",
}  # by kind of leak
ONE_CUT = (
    "cut all tasks of a chain at one place, before the first: protocol.events=chain and tasks that keep to it, "
    "such as next_item, chain_liked, or others with task.until=cut"
)
ONE_DIVISION = "divide the users once for all tasks of a chain: the same protocol.users and protocol.fold"
REMEDIES = {"answers": ONE_CUT, "inputs": ONE_CUT, "labels": ONE_DIVISION}


@dataclass(frozen=True)
class Link:
    """A task of a chain: its name, what it reads and asks for, and whether later runs go on answering for it."""

    name: str
    exposure: Exposure
    kept: bool = True


def check_chain(
    base: Run,
    data: Prepared,
    protocol: Protocol,
    objective: Objective,
    planned: Sequence[tuple[Protocol, Objective]] = (),
) -> None:
    """Prove that a new task and the ancestors it starts from are judged by nothing that any of them learned from.

    A plain pre-trained base makes no chain: `check_cut` is enough there. `planned` are tasks between base and new one.

    Raises:
        UsageError: an event that one task asks for in validation or test is in another's training, or a user whose
            label is asked for teaches a label; names both tasks and the share.
    """
    ancestors = list(reversed(list(lineage(base))))
    if not planned and not any(run.verb == "prune" or run.config.get("task") for run in ancestors):
        return
    everybody = np.ones(data.num_users, dtype=bool)
    new = [
        Link(f"{one.task_name} ({NEW})", one.exposure(data, its, everybody))
        for its, one in (*planned, (protocol, objective))
    ]
    refuse([*(link_of(run, data) for run in ancestors), *new])


def link_of(run: Run, data: Prepared) -> Link:
    """Return what a run reads and asks for, by its own config.

    A pre-trained base is a task that later runs answer for only as it was made task 1 by a pruning that keeps it.
    """
    protocol, aim = build(run.config["protocol"]), "task" if run.config.get("task") else "objective"
    objective: Objective = build(run.config[aim])
    users = np.ones(data.num_users, dtype=bool) if aim == "task" else seen_users(data, protocol)
    method = build(run.config["method"]) if run.config.get("method") else None
    kept = aim == "task" or (method is not None and method.certified)
    return Link(f"{objective.task_name} ({run.path})", objective.exposure(data, protocol, users), kept)


def refuse(chain: Sequence[Link]) -> None:
    """Raise UsageError for the worst leak between the tasks of a chain, oldest first; one of test before validation."""
    found = list(leaks_of(chain))
    if not found:
        return
    learner, judge, leak = max(found, key=lambda each: (each[2].role == "test", each[2].share))
    told = TOLD[leak.kind].format(share=leak.share, role=ROLES[leak.role], judge=judge.name, learner=learner.name)
    raise UsageError(told, REMEDIES[leak.kind])


def leaks_of(chain: Sequence[Link]) -> Iterator[tuple[Link, Link, Leak]]:
    """Yield (who learned, who is judged, what leaked) of every pair of tasks.

    What was learned before a task leaks into its numbers. What is learned after it leaks too where later runs answer
    for it.
    """
    for index, judge in enumerate(chain):
        for place, learner in enumerate(chain):
            if place < index or (place > index and judge.kept):
                yield from ((learner, judge, leak) for leak in leaks(learner.exposure, judge.exposure))
