"""A process of its own: run a command line, then tell what was resident when it began, the peak, and the seconds."""

import json
import sys
import time

import userrep.stages.pretrain
import userrep.stages.transfer  # noqa: F401  what a command imports belongs to its start
from userrep.cli import main
from userrep.planning.machine import peak_resident, resident

start, began = resident(), time.monotonic()
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
told = {"code": code, "start": start, "peak": peak_resident(), "seconds": time.monotonic() - began}
print(json.dumps(told), file=sys.stderr)
