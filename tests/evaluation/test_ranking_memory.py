"""How much memory a full ranking takes above the weights, at a million items."""

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import re
import numpy as np, torch
from userrep.evaluation.ranking import Csr, DotScorer
from userrep.evaluation.results import RankingResult

def kibibytes(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

rng = np.random.default_rng(0)
users, items, width, events = 600, 1_000_002, 64, 200
table, states = torch.randn(items, width), torch.randn(users, width)
history = rng.integers(2, items, users * events).astype(np.int32)
starts = np.arange(users) * events
targets = rng.integers(2, items, users)
open("/proc/self/clear_refs", "w").write("5")
before = kibibytes("VmRSS")
scorer = DotScorer(states, table)
result = RankingResult.rank(np.arange(users), targets, scorer, Csr(history, starts, starts + events), items)
result.metrics()
print(kibibytes("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_ranking_a_million_items_takes_less_than_a_gibibyte_above_the_weights() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    mebibytes = int(done.stdout) / 1024
    assert mebibytes < 1024, f"{mebibytes:.0f} MiB above the weights"
