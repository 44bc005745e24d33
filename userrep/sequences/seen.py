"""What may be learned from: the training events of the users that a protocol lets a model see."""

import numpy as np

from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared


def training_events(data: Prepared, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return which events `(E,)` of the source domain train, a mask, and each event's position within its user."""
    offsets = data.sequences(protocol.source).offsets
    ends = data.split(protocol.events, domain=protocol.source).train_end
    counts = np.diff(offsets)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return position < np.repeat(np.where(seen_users(data, protocol), ends, 0), counts), position


def item_counts(data: Prepared, protocol: Protocol) -> np.ndarray:
    """Count each item's training events in the source domain: `(V,)` int64."""
    sequences = data.sequences(protocol.source)
    return np.bincount(sequences.items[training_events(data, protocol)[0]], minlength=sequences.vocab_size)
