"""Predictions: the raw completions of a trial on disk, `predictions.jsonl`; the one writer and the one reader.

{"split": "dev", "id": "d1-17", "prediction": "food: positive, ...", "task": "masa:d1"}        one line an item
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from sde_ray.errors import format_error
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic

ReportedSplit = Literal["train", "dev", "test", "dev_ood", "test_ood"]


@dataclass(frozen=True)
class Prediction:
    """A completion of one item. `task` tells out-of-domain tasks apart; None: the trial's own."""

    id: str
    split: ReportedSplit
    prediction: str
    task: str | None = None


_PREDICTION = TypeAdapter(Prediction)


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write one JSON object a line, in the order given."""
    lines = [{"split": p.split, "id": p.id, "prediction": p.prediction, "task": p.task} for p in predictions]
    write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_predictions(path: Path) -> list[Prediction]:
    """Read the predictions of a trial. Raises OSError, or ValueError that names the first broken line."""
    predictions = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):  # completions may hold other line ends
        if line.strip():
            try:
                predictions.append(_PREDICTION.validate_python(read_json(line)))
            except ValueError as error:
                raise ValueError(f"line {number}: {format_error(error)}") from None
    return predictions


def completions_by_task(path: Path, own_task: str) -> dict[tuple[str, str], dict[str, str]]:
    """(split, task) -> id -> completion. Raises as `read_predictions`."""
    by_task: dict[tuple[str, str], dict[str, str]] = {}
    for row in read_predictions(path):
        by_task.setdefault((row.split, row.task or own_task), {})[row.id] = row.prediction
    return by_task
