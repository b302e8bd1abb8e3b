"""Tuned scores of designs, to be compared with an untuned model's: from a sweep's ledger, or from a table.

from_results(results, "masa:d1", "tiny", "weighted_kappa", "dev")   -> {Design: 0.87, ...}
from_table(Path("masa_d1.csv"), "weighted_kappa")                  columns: the axes, and the metric
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.analysis.nuisance import results_without_nuisance
from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError, unknown
from sde_ray.types import Design, TrialResult

TunedScores = Mapping[Design, float]


def from_results(results: Sequence[TrialResult], task: str, model: str, metric: str, split: str) -> TunedScores:
    """The mean over seeds and nuisance values by design, at the largest training size that the sweep has finished."""
    finished = [
        result
        for result in results
        if (result.config["task"], result.config["model"]) == (task, model)
        and result.status == "finished"
        and metric in result.scores.get(split, {})
    ]
    if not finished:
        return {}
    sizes = {int(result.config["train_size"]) for result in finished}
    largest = [result for result in finished if result.config["train_size"] == max(sizes)]
    return {row.design: row.score for row in rank_designs(results_without_nuisance(largest), metric, split)}


def from_table(path: Path, metric: str) -> TunedScores:
    """The mean over rows by design. Raises UserError when the file is not such a table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"Cannot read the table {path}: {error}. Give a CSV file.") from None
    columns = list(rows[0]) if rows else []
    if metric not in columns or not set(AXES) & set(columns):
        raise UserError(
            f"{path} is no table of tuned designs: it needs a column for each axis ({', '.join(AXES)}), and "
            f"{unknown('metric', metric, columns) if columns else 'at least one row.'}"
        )
    scores: dict[Design, list[float]] = {}
    for number, row in enumerate(rows, 2):
        design, score = _read(row, metric, f"{path}, line {number}")
        scores.setdefault(design, []).append(score)
    return {design: fmean(several) for design, several in scores.items()}


def _read(row: Mapping[str, str], metric: str, line: str) -> tuple[Design, float]:
    try:
        design = make_design(**{axis: row[axis] for axis in AXES if row.get(axis)})
        score = float(row[metric])
    except UserError as error:
        raise UserError(f"{line}: {error}") from None
    except (ValueError, TypeError):
        raise UserError(f'{line}: {metric} is "{row[metric]}", expected a number.') from None
    if not math.isfinite(score):
        raise UserError(f'{line}: {metric} is "{row[metric]}", expected a finite number.')
    return design, score


def shared(tuned: TunedScores, designs: Iterable[Design]) -> list[Design]:
    """The designs that have a tuned score, in the order given."""
    return [design for design in designs if design in tuned]
