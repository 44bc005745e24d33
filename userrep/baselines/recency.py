"""Bags whose items weigh less the longer ago they were met."""

import numpy as np
from scipy import sparse

from userrep.evaluation.ranking import Csr


def recent_bags(events: Csr, vocab_size: int, decay: float = 1.0, history: int | None = None) -> sparse.csr_matrix:
    """Weigh the items of each row's newest `history` events by `decay` to the power of their age: `(N, V)`.

    The newest event has age 0, the one before it 1; an item that occurs again counts at its newest place. A decay of 1
    gives ones.
    """
    starts = events.starts if history is None else np.maximum(events.starts, events.ends - history)
    lengths = events.ends - starts
    owner, items = Csr(events.items, starts, events.ends).pairs(np.arange(len(lengths)))
    age = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(owner))
    _, backwards = np.unique((owner * vocab_size + items)[::-1], return_index=True)
    newest = len(owner) - 1 - backwards
    weights = np.float64(decay) ** age[newest]
    return sparse.csr_matrix((weights, (owner[newest], items[newest])), (len(lengths), vocab_size))
