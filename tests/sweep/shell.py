"""What a second shell does: work off a list of stubs, in a process of its own.

shell.py FOLDER NOTES COUNT SECONDS SLOTS
"""

import sys
from pathlib import Path

from stubs import stub_trials, worked

from userrep.errors import Interrupted


def main() -> None:
    folder, notes, count, seconds, slots = sys.argv[1:6]
    trials = stub_trials(Path(notes), int(count), float(seconds))
    try:
        queue = worked(trials, Path(folder), int(slots))
    except Interrupted as stopped:
        sys.exit(stopped.exit_code)
    print(len(queue.outcomes), queue.launcher.started)


if __name__ == "__main__":
    main()
