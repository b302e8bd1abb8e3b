"""The report's section on what was left out: pinned axes, dropped designs, trials that failed or were pruned, and why.

A pruned trial is listed with the score for which it was stopped, next to the scores of the trials that were promoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from sde_ray.analysis.effects import non_finite_results
from sde_ray.analysis.report.html import Html, joined, table, tag
from sde_ray.analysis.study import Study
from sde_ray.design.designs import design_of, paper_label
from sde_ray.types import RungResult, TrialResult

MAX_CHARS = 300  # characters of an error


def write_excluded(studies: Sequence[Study], pinned: Mapping[str, str], dropped: Sequence[tuple[str, str]]) -> Html:
    """The section: how trials ended, and a row for everything that is not in the analysis."""
    results = [result for study in studies for result in study.results]
    by_status = Counter(result.status for result in results)
    counts = ", ".join(
        f"{by_status[status]} {status}" for status in ("finished", "pruned", "failed") if by_status[status]
    )
    rows = [{"what": axis, "why": f"pinned: {why}"} for axis, why in pinned.items()]
    rows += [{"what": what, "why": f"dropped: {why}"} for what, why in dropped]
    rows += [*_failed(results), *_pruned(results), *_odd(studies)]
    reasons = (
        table({"what": "what", "why": "why"}, rows) if rows else tag("p", "Nothing was pinned, dropped or pruned.")
    )
    return joined([tag("h2", "What was left out"), tag("p", f"Trials: {counts or 'none'}."), reasons, _each(studies)])


def _failed(results: Sequence[TrialResult]) -> Iterator[dict[str, str]]:
    errors = Counter(result.error.split("\n")[0][:MAX_CHARS] for result in results if result.status == "failed")
    for error, count in errors.items():
        yield {"what": f"{count} trials", "why": f"failed: {error or 'no reason given'}"}


def _pruned(results: Sequence[TrialResult]) -> Iterator[dict[str, str]]:
    pruned = [result for result in results if result.status == "pruned"]
    if pruned:
        early = Counter(result.rungs[-1].examples for result in pruned if result.rungs)
        at = ", ".join(f"{count} at {examples} examples" for examples, count in sorted(early.items()))
        why = f"pruned on their score: {at}. They are not in leaderboard and effects"
        yield {"what": f"{len(pruned)} trials", "why": why}


def _odd(studies: Sequence[Study]) -> Iterator[dict[str, str]]:
    for study in studies:
        odd = non_finite_results(study.results, study.objective, study.split)
        if odd:
            yield {"what": f"{len(odd)} trials", "why": f"left out: their {study.objective} is not a finite number"}


# ---- each pruned trial ---------------------------------------------------------------------------------------------


def _each(studies: Sequence[Study]) -> Html | None:
    """Every pruned trial with its last score, next to those that were promoted."""
    rows = [row for study in studies for row in _rows(study)]
    if not rows:
        return None
    columns = {
        "design": "label", "seed": "seed", "stopped at": "examples", "score there": "score",
        "median of those that went on": "others", "given up": "why",
    }  # fmt: skip
    return tag("details", tag("summary", "Each pruned trial"), table(columns, rows))


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    for result in study.results:
        if result.status != "pruned" or not result.rungs:
            continue
        last = result.rungs[-1]
        on = [
            _score(rung, study)
            for other in study.results
            for rung in other.rungs
            if rung.rung == last.rung and (other.status == "finished" or other.rungs[-1].rung > last.rung)
        ]
        finite = [score for score in on if score is not None]
        yield {
            "label": paper_label(design_of(result)),
            "seed": str(result.config["seed"]),
            "examples": f"{last.examples} examples",
            "score": _score(last, study),
            "others": median(finite) if finite else None,
            "why": last.stopped_early or "by its rank at this rung",
        }


def _score(rung: RungResult, study: Study) -> float | None:
    return rung.scores.get(study.split, {}).get(study.objective)
