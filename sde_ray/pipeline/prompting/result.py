"""The prompting study's result: rows, correlations, a verdict; as values, and as files in the sweep's folder.

analysis.jsonl (every measurement, by key) ─▶ analysis.json (rows, correlations, verdict) · analysis.svg
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.config.schema import SweepConfig
from sde_ray.design.designs import parse_design
from sde_ray.errors import UserError
from sde_ray.pipeline.prompting.correlation import Correlation, correlations, verdict
from sde_ray.pipeline.prompting.figure import scatter
from sde_ray.pipeline.prompting.tuned_scores import TunedScores
from sde_ray.storage.files import write_atomic

Row = Mapping[str, Any]
MIN_ADHERENCE = 0.5  # share of well-formed completions; below it a prompting score is mostly that of no answer


@dataclass(frozen=True)
class Analysis:
    """One task on one model. `notes` say what did not fit and was cut or left out."""

    task: str
    model: str
    metric: str
    rows: tuple[Row, ...]
    correlations: tuple[Correlation, ...]
    verdict: str
    notes: tuple[str, ...]
    figure: str

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "task": self.task,
            "model": self.model,
            "metric": self.metric,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "correlations": [correlation.to_dict() for correlation in self.correlations],
            "rows": [dict(row) for row in self.rows],
        }


def conclude(
    task: str, model: str, metric: str, rows: Sequence[Row], tuned: TunedScores, shots: Sequence[int]
) -> Analysis:
    """Correlate what was measured with the tuned scores."""
    results = correlations(rows, tuned, shots)
    scored = [{**row, "tuned": tuned.get(parse_design(str(row["design"])))} for row in rows]
    figure = scatter(rows, tuned, results, shots, metric)
    return Analysis(task, model, metric, tuple(scored), tuple(results), verdict(results), _notes(rows, shots), figure)


def _notes(rows: Sequence[Row], shots: Sequence[int]) -> tuple[str, ...]:
    """What the numbers do not say: cut texts, demonstrations left out, designs without a value."""
    notes = []
    adherences = [
        float(row[f"{k}_shot_adherence"]) for row in rows for k in shots if row.get(f"{k}_shot_adherence") is not None
    ]
    if adherences and max(adherences) < MIN_ADHERENCE:
        notes.append(
            f"The untuned model hardly does this task by prompting: in no design do more than {max(adherences):.0%} of "
            "its completions have the form that was asked for, so its prompting scores say little."
        )
    cut = [row for row in rows if row.get("cut")]
    if cut:
        worst = max(float(row["cut"]) for row in cut)
        notes.append(f"In {len(cut)} designs texts were cut to fit the context, in at most {worst:.0%} of the items.")
    for k in shots:
        fewer = [float(row[f"{k}_shot_fewer"]) for row in rows if row.get(f"{k}_shot_fewer")]
        if fewer:
            notes.append(
                f"Of {k} demonstrations not all fit the context in {len(fewer)} designs, in at most {max(fewer):.0%} "
                "of the items; the last ones were left out."
            )
    retries = [float(row[f"{k}_shot_retries"]) for row in rows for k in shots if row.get(f"{k}_shot_retries")]
    if retries:
        notes.append(
            f"Numbers that a completion left out were asked again alone, {sum(retries) / len(rows) / len(shots):.2g} "
            "for each prompt on average."
        )
    reasons: dict[str, int] = {}
    for row in rows:
        if row.get("error"):
            reasons[str(row["error"])] = reasons.get(str(row["error"]), 0) + 1
    notes += [f"{count} designs lack values: {reason}" for reason, count in list(reasons.items())[:3]]
    return tuple(notes)


def save(config: SweepConfig, analysis: Analysis) -> list[Path]:
    """Write analysis.json and analysis.svg, each whole or not at all."""
    run_dir = config.run_dir
    path = run_dir.analysis(analysis.task, analysis.model)
    texts = {
        path: json.dumps(analysis.to_dict(), ensure_ascii=False, indent=1) + "\n",
        path.with_suffix(".svg"): analysis.figure,
    }
    try:
        run_dir.path.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_atomic(path, text)
    except OSError as error:
        raise UserError(
            f'Cannot write to "{run_dir.path}": {error.strerror}. Set storage_path to a folder with room.'
        ) from None
    run_dir.folder.upload(*texts, run_dir.prompting_cache)
    return list(texts)
