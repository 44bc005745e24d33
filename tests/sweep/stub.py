"""A stand-in for `userrep`: notes in a file that it began, works, answers; on SIGTERM it ends with 143 as a run does.

stub.py NOTES SECONDS CODE --json
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def note(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")


def main() -> None:
    notes, seconds, code = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    name = next((word for word in sys.argv[4:] if word != "--json"), "")

    def stop(*_: object) -> None:
        note(notes, f"stopped {name}")
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    note(
        notes,
        f"began {name} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('OMP_NUM_THREADS')}",
    )
    sys.stderr.write("working\n")
    sys.stderr.flush()
    time.sleep(seconds)
    note(notes, f"ended {name}")
    if code:
        print(json.dumps({"error": {"kind": "data", "message": "the disk  is full", "hint": "free some"}}))
    else:
        print(json.dumps({"verb": "stub", "run": None, "name": name}))
    sys.exit(code)


if __name__ == "__main__":
    main()
