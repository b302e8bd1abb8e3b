"""Batching and collation: which samples train in which step, and their tensors. Pure functions of the seed.

    batch_indices(10, settings, seed)  ─▶  [(7, 1, 4, 0), (2, 9, ...), ...]  ─▶  each worker's slice  ─▶  ids, targets

A step is one optimiser update on `train_batch_size` samples, spread evenly over the workers and their accumulated
parts. Its loss is the mean over all loss tokens of the step, each with its weight, whichever worker holds them: so one
worker and two take the same steps, up to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from sde_ray.config.trial import Train
from sde_ray.models.tokenization import IGNORE_INDEX, TokenizedSample

Step = tuple[int, ...]


def batch_indices(count: int, settings: Train, seed: int, total: int | None = None) -> list[Step]:
    """Sample indices of every optimiser step, of all epochs (or a part of one). The last step may be short.

    `total`: how many samples are seen in all, in place of `num_train_epochs`.
    """
    order: list[int] = []
    total = max(1, round(count * settings.num_train_epochs)) if total is None else total
    draw = random.Random(seed)
    while len(order) < total:
        epoch = list(range(count))
        draw.shuffle(epoch)
        order += epoch
    size = settings.train_batch_size
    return [tuple(order[start : min(start + size, total)]) for start in range(0, total, size)]


def rank_slice(step: Step, rank: int, workers: int) -> Step:
    """The samples of a step that one worker trains on; may be empty at the end."""
    return step[rank::workers]


def split_micro_batches(samples: Step, count: int, together: int = 1) -> list[Step]:
    """Cut a worker's slice into `count` parts of nearly equal size, in order; parts may be empty.

    Groups of so many samples stay `together`.
    """
    size = -(-len(samples) // (count * together)) * together
    return [samples[part * size : (part + 1) * size] for part in range(count)]


def collate(rows: Sequence[TokenizedSample], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Data collator: (ids [rows, length], targets [rows, positions], positions [positions]).

    Padding is on the right, where a causal model's real tokens never see it: no mask is needed. `targets` are the
    next tokens at the positions where any row has one that counts; the logits of other positions are never computed.
    Without rows it gives one padding token that does not count: a worker without samples must still take the step.
    """
    ids, targets = pad_rows(rows, pad_token_id)
    positions = (targets != IGNORE_INDEX).any(dim=0).nonzero().squeeze(1)
    positions = positions if len(positions) else torch.zeros(1, dtype=torch.long)
    return ids, targets[:, positions], positions


def loss_weights(rows: Sequence[TokenizedSample], positions: torch.Tensor) -> torch.Tensor | None:
    """[rows, positions] the weight of each target of `collate` in the loss; None where all that count have the same."""
    if all(row.weights is None for row in rows):
        return None
    length = max(len(row.input_ids) for row in rows)
    weights = [row.weights or [1.0] * len(row.input_ids) for row in rows]
    padded = torch.tensor([[*weight[1:], *[0.0] * (length - len(weight) + 1)] for weight in weights])
    return padded[:, positions]


def pad_rows(rows: Sequence[TokenizedSample], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, targets), both [rows, length], padded on the right; one padding token that does not count for no rows."""
    length = max((len(row.input_ids) for row in rows), default=1)
    ids = torch.tensor(
        [[*row.input_ids, *[pad_token_id] * (length - len(row.input_ids))] for row in rows] or [[pad_token_id]]
    )
    labels = torch.tensor(
        [[*row.labels, *[IGNORE_INDEX] * (length - len(row.input_ids))] for row in rows] or [[IGNORE_INDEX]]
    )
    return ids, torch.cat([labels[:, 1:], torch.full((len(labels), 1), IGNORE_INDEX)], dim=1)
