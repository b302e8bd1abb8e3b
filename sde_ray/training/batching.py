"""Which samples train in which step, and their tensors: pure functions of the seed, the same for every design.

    order(10 samples, 2 epochs)  ─▶  steps: ((7, 1, 4, 0), (2, 9, ...), ...)  ─▶  each worker's share  ─▶  ids, labels

A step is one optimiser update on `train_batch_size` samples, spread evenly over the workers and their
accumulated parts. Its loss is the mean over all
counted tokens of the step, whichever worker holds them: so one worker and two take the same steps, up to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from sde_ray.config.trial import Train
from sde_ray.models.tokenization import IGNORE_INDEX, TokenizedSample

Step = tuple[int, ...]


def steps(count: int, settings: Train, seed: int) -> list[Step]:
    """The sample indices of every optimiser update, of all epochs (or a part of one). The last may be short."""
    order: list[int] = []
    wanted = max(1, round(count * settings.num_train_epochs))
    draw = random.Random(seed)
    while len(order) < wanted:
        epoch = list(range(count))
        draw.shuffle(epoch)
        order += epoch
    size = settings.train_batch_size
    return [tuple(order[start : min(start + size, wanted)]) for start in range(0, wanted, size)]


def share(step: Step, rank: int, workers: int) -> Step:
    """The samples of a step that one worker trains on; may be empty at the end."""
    return step[rank::workers]


def split_micro_batches(samples: Step, count: int) -> list[Step]:
    """Cut a worker's share into `count` parts of nearly equal size, in order; parts may be empty."""
    size = -(-len(samples) // count)
    return [samples[part * size : (part + 1) * size] for part in range(count)]


def collate(rows: Sequence[TokenizedSample], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids [rows, length], targets [rows, kept], kept positions [kept]).

    Padding stands on the right, where a causal model's real tokens never see it: no mask is needed. `targets` are the
    next tokens at the positions where any row has one that counts; the logits of other positions are never computed.
    Without rows it gives one padding token that counts for nothing: a worker without work must still take the step.
    """
    length = max((len(row.ids) for row in rows), default=1)
    ids = torch.tensor([[*row.ids, *[pad] * (length - len(row.ids))] for row in rows] or [[pad]])
    labels = torch.tensor(
        [[*row.labels, *[IGNORE_INDEX] * (length - len(row.ids))] for row in rows] or [[IGNORE_INDEX]]
    )
    targets = torch.cat([labels[:, 1:], torch.full((len(labels), 1), IGNORE_INDEX)], dim=1)
    kept = (targets != IGNORE_INDEX).any(dim=0).nonzero().squeeze(1)
    kept = kept if len(kept) else torch.zeros(1, dtype=torch.long)
    return ids, targets[:, kept], kept
