"""`userrep verify`: replay a run's certificate: every task of the chain reads and answers what it read and answered."""

from collections.abc import Sequence
from typing import Any

from userrep import console
from userrep.errors import DataError, UsageError, UserRepError, VerificationError
from userrep.evaluation.metrics import lower_is_better
from userrep.files import sha256_of
from userrep.run import Run, open_run
from userrep.run.certificate import REMEDY, Certificate, check_config, read_certificates
from userrep.sequences.store import open_prepared
from userrep.stages.certificate import check, measure
from userrep.stages.lineage import chain_of, lineage, served
from userrep.stages.request import Request
from userrep.stages.restore import check_data
from userrep.stages.resume import to_go_on
from userrep.training.fingerprint import environment, hashes
from userrep.training.weights import read_weights

VERB = "verify"


def run(request: Request) -> dict[str, Any]:
    """Verify the run of `extra["source"]` and its chain: certificates, then what each task reads, then the files.

    Tasks are served before any file is held to its recorded hash, so that what is wrong is named by tensor and task.

    Raises:
        UsageError: the run is unfinished, or has no certificate.
        VerificationError: anything is not as it was certified.
    """
    newest = open_run(request.extra["source"], checked=False)
    if not newest.finished:
        raise UsageError(f"{newest.path} is not finished", to_go_on(newest))
    ancestors = list(lineage(newest))
    for found in ancestors:
        check_config(found)
    runs = chain_of(newest)
    certificates = read_certificates(runs)
    data = open_prepared(request.data_dir, newest.config["dataset"])
    check_data(newest, data)
    damage = _damage(ancestors, dict(zip((run.path for run in runs), certificates, strict=True)))
    tasks = []
    try:
        for entry, answering in zip(certificates[-1]["tasks"], served(newest, data), strict=True):
            measured = measure(answering, data)
            agreed = check(entry, measured, str(newest.path))
            tasks.append(_row(entry, measured, answering.run, agreed))
    except VerificationError:
        raise
    except Exception as error:  # what was tampered with may break anything; the damage found before says why
        if damage is None:
            raise
        raise damage from error
    if damage is not None:
        raise damage
    return _told(newest, tasks, certificates[-1], len(ancestors))


def _damage(ancestors: Sequence[Run], certificates: dict[Any, Certificate]) -> UserRepError | None:
    """Return what is wrong with the first file of weights that is not the one recorded, by tensor where one differs."""
    expected: str | None = None
    for run in ancestors:
        path, known = run.weights, {run.weights_hash, expected or run.weights_hash}
        certificate = certificates.get(run.path)
        if certificate is not None:
            try:
                stored = hashes(read_weights(path))
            except DataError as error:
                return VerificationError(error.message, REMEDY)
            for name in sorted(stored.keys() | certificate["stored"].keys()):
                if stored.get(name) != certificate["stored"].get(name):
                    return VerificationError(f"{path} has another {name} than was certified", REMEDY)
            known.add(certificate["weights"])
        if known != {sha256_of(path)}:
            return VerificationError(f"{path} is not the file that was written: its sha256 differs", REMEDY)
        expected = (run.record.get("parent") or {}).get("weights_hash")
    return None


def _row(entry: dict[str, Any], measured: dict[str, Any], run: Run, agreed: str) -> dict[str, Any]:
    kept = {key: entry[key] for key in ("task", "name")}
    made = {key: value for key, value in entry["environment"].items() if value != measured["environment"].get(key)}
    return kept | {
        "run": str(run.path), "tensors": len(entry["tensors"]), "logits": agreed, "made_with": made,
        "metric": entry["metric"]["name"], "then": entry["metric"]["value"], "now": measured["metric"]["value"],
    }  # fmt: skip


def _told(newest: Run, tasks: list[dict[str, Any]], certificate: Certificate, files: int) -> dict[str, Any]:
    """Print and return what was found."""
    free = certificate["free"]
    columns = ("task", "name", "run", "tensors", "logits", "metric", "then", "now")
    console.table(
        f"verified: {newest.path}, {len(tasks)} task(s), {files} file(s) of weights",
        columns,
        [[row[name] for name in columns] for row in tasks],
        "metrics are those of the probe" + (f"; free weights {free:.2%}" if free is not None else ""),
    )
    for row in tasks:
        if row["made_with"]:
            here = environment()
            console.note(
                f"task {row['task']} was certified with "
                + ", ".join(f"{name} {value} (here {here.get(name)})" for name, value in row["made_with"].items())
                + ": its tensors match, its logits are compared to 1e-5"
            )
    backward = _backward_transfer(tasks[:-1])
    if backward is not None:
        told = "exactly 0" if backward == 0 else f"{backward:+.1e}, the rounding of another environment"
        console.note(f"backward transfer to {len(tasks) - 1} earlier task(s): {told}")
    return {
        "run": str(newest.path), "tasks": tasks, "backward_transfer": backward, "free": free,
        "owners": certificate["owners"], "files": files, "environment": environment(),
    }  # fmt: skip


def _backward_transfer(earlier: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean change of earlier tasks' metrics, above 0 where they became better; None without such a task."""
    moved = [
        (row["now"] - row["then"]) * (-1 if lower_is_better(row["metric"]) else 1)
        for row in earlier
        if None not in (row["now"], row["then"])
    ]
    return sum(moved) / len(moved) + 0.0 if moved else None
