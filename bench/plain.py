"""The plain way: what published PyTorch code and a pandas script do, written with care but without tricks.

A Dataset that pads each sample in `__getitem__`; logits for all positions and all items at once; `torch.optim.Adam`
as it comes; scores of a batch sorted whole to find one rank. The network is Tenrec's NextItNet, layer by layer.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

PAD, FIRST = 0, 2  # ids below FIRST are no items


def prepare(path: Path, out: Path) -> dict[int, list[int]]:
    """Read the csv, drop copies, order by user and time, number items by popularity, save a list a user."""
    events = pd.read_csv(path).drop_duplicates(["user", "item", "time"])
    events = events.sort_values(["user", "time"], kind="stable")
    names = events["item"].value_counts().index
    events["item"] = events["item"].map({item: rank + FIRST for rank, item in enumerate(names)})
    sequences = events.groupby("user")["item"].apply(list).to_dict()
    np.savez(out, names=names, **{column: events[column].to_numpy() for column in ("user", "item", "time")})
    return sequences


class WindowDataset(Dataset[tuple[Tensor, Tensor]]):
    """A sample a window of at most `length` inputs with the items that follow them, left-padded."""

    def __init__(self, sequences: list[list[int]], length: int) -> None:
        self.length = length
        self.windows = [
            sequence[start : start + length + 1]
            for sequence in sequences
            for start in range(0, len(sequence) - 1, length)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        window = self.windows[index]
        padding = [PAD] * (self.length - len(window) + 1)
        return torch.tensor(padding + window[:-1]), torch.tensor(padding + window[1:])


def epoch(dataset: WindowDataset, batch_size: int) -> Iterator[list[Tensor]]:
    """Go through a dataset once in random order."""
    return iter(DataLoader(dataset, batch_size=batch_size, shuffle=True))


class ResidualBlock(nn.Module):
    """Two dilated convolutions, each with norm and ReLU, and a skip; names as in the published code."""

    def __init__(self, width: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, (1, kernel_size), dilation=dilation)
        self.ln1 = nn.LayerNorm(width, eps=1e-8)
        self.conv2 = nn.Conv2d(width, width, (1, kernel_size), dilation=2 * dilation)
        self.ln2 = nn.LayerNorm(width, eps=1e-8)
        self.reach = (kernel_size - 1) * dilation

    def forward(self, states: Tensor) -> Tensor:
        hidden = F.relu(self.ln1(self._convolve(self.conv1, states, self.reach)))
        return states + F.relu(self.ln2(self._convolve(self.conv2, hidden, 2 * self.reach)))

    @staticmethod
    def _convolve(conv: nn.Conv2d, states: Tensor, reach: int) -> Tensor:
        image = F.pad(states.permute(0, 2, 1).unsqueeze(2), (reach, 0))  # (B, D, 1, reach + T)
        return conv(image).squeeze(2).permute(0, 2, 1)  # (B, T, D)


class NextItNet(nn.Module):
    """Item table, residual blocks, output layer over the whole vocabulary."""

    def __init__(self, vocab_size: int, width: int, dilations: list[int], kernel_size: int = 3) -> None:
        super().__init__()
        self.item_embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)
        self.residual_blocks = nn.Sequential(*(ResidualBlock(width, kernel_size, rate) for rate in dilations))
        self.final_layer = nn.Linear(width, vocab_size)

    def encode(self, items: Tensor) -> Tensor:
        """Return the states (B, T, D)."""
        return self.residual_blocks(self.item_embedding(items))

    def forward(self, items: Tensor) -> Tensor:
        return self.final_layer(self.encode(items))  # (B, T, V)


def train_step(model: NextItNet, optimizer: torch.optim.Optimizer, items: Tensor, targets: Tensor) -> float:
    """Take one step on the cross-entropy of all positions over all items, padding ignored."""
    logits = model(items)
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=PAD)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def evaluate(model: NextItNet, sequences: list[list[int]], length: int, batch_size: int = 128) -> dict[str, float]:
    """Rank each sequence's last item among those it has not met by sorting all scores; return HR and NDCG at 10."""
    hits, gains = [], []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(sequences), batch_size):
            batch = sequences[start : start + batch_size]
            histories = [sequence[:-1][-length:] for sequence in batch]
            items = torch.tensor([[PAD] * (length - len(history)) + history for history in histories])
            scores = model.final_layer(model.encode(items)[:, -1])  # (B, V): the last position alone
            scores[:, :FIRST] = -torch.inf
            for row, sequence in enumerate(batch):
                met = set(sequence[:-1]) - {sequence[-1]}
                scores[row, list(met)] = -torch.inf
            order = scores.argsort(dim=1, descending=True)
            targets = torch.tensor([sequence[-1] for sequence in batch])
            rank = (order == targets[:, None]).nonzero()[:, 1] + 1  # (B,)
            hits.append((rank <= 10).float())
            gains.append(torch.where(rank <= 10, 1 / torch.log2(1 + rank.float()), 0.0))
    return {"hr@10": torch.cat(hits).mean().item(), "ndcg@10": torch.cat(gains).mean().item()}
