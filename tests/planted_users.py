"""Generated users of whom one half needs adaptation and the other must not be touched; frozen before any tuning.

All users have 24 events. The last ten carry a bit each, which persists from one to the next with chance 0.7: that is
all that pre-training can learn of them. What a user wishes is the bit of his last event, which a pre-trained encoder
knows, or the bit of the event five before, of which it keeps next to nothing: it must be trained to fetch it. Which of
the two, only the first 14 events tell, by the kind of their items; they lie beyond the reach of the encoder's one
block, and so no single encoder serves both halves, whatever it learns.
"""

import numpy as np

EVENTS, LAG, ITEMS, PERSISTS = (14, 10), 5, 40, 0.7


def make_users(seed: int, users: int = 2000) -> tuple[str, str]:
    """Return a csv of events and one of labels: `wish`, and `group`, g1 for those who need adaptation."""
    rng = np.random.default_rng(seed)
    needs = rng.permutation(users) % 2
    early, recent = EVENTS
    events, labels = ["user,item,time"], ["user,wish,group"]
    for user in range(users):
        told = [f"{'pq'[needs[user]]}{item}" for item in rng.integers(0, ITEMS, early)]
        bits = np.empty(recent, dtype=int)
        bits[0] = rng.integers(2)
        for step in range(1, recent):
            bits[step] = bits[step - 1] if rng.random() < PERSISTS else 1 - bits[step - 1]
        told += [f"{'xy'[bit]}{item}" for bit, item in zip(bits, rng.integers(0, ITEMS, recent), strict=True)]
        events += [f"u{user},{item},{time}" for time, item in enumerate(told)]
        labels.append(f"u{user},w{bits[-1 - LAG] if needs[user] else bits[-1]},g{needs[user]}")
    return "\n".join(events) + "\n", "\n".join(labels) + "\n"
