"""One condition of a robustness study: paired comparison of the assembled design with each control.

    verdict = judge_condition("sampled decoding", table)
    verdict.summary   "Better than baseline (+0.120 [+0.081, +0.160]). No difference shown against es-sde (...)."
    verdict.holds     True: no control is better; False: one is; None: nothing can be said

`table` has the scores of the contenders by training seed (rows) and variant of the condition (columns: decoding seeds,
or one), and the same under a bootstrap of the items. Each control is compared on the seeds that it shares with the
assembled design. "Better" is said as in the final comparison: of two seeds or more and a confidence interval above 0,
where Holm's correction over the controls agrees. Each condition is a family of its own: nothing is corrected over
conditions, so of twenty of them one may say "better" by luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.analysis.paired import PairedDifference, ScoreTable
from sde_ray.analysis.verdict import (
    AHEAD,
    ASSEMBLED,
    BEHIND,
    BETTER,
    NO_INTERVAL,
    SAME_DESIGN,
    WORSE,
    claim_sentences,
    comparison_claim,
)

ITEM_DRAWS = 1000


@dataclass(frozen=True)
class ConditionRow:
    """A contender's mean score with its 95% confidence interval, and the assembled design's paired lead over it."""

    name: str
    score: float
    low: float | None
    high: float | None
    paired: PairedDifference | None
    claim: str


@dataclass(frozen=True)
class ConditionVerdict:
    """The comparisons on one condition, the assembled design's own row first."""

    condition: str
    rows: tuple[ConditionRow, ...]
    summary: str
    holds: bool | None

    def to_dict(self) -> list[dict[str, Any]]:
        """Flat rows for JSON, MLflow and tables."""
        rows = []
        for row in self.rows:
            lead = row.paired
            rows.append(
                {
                    "condition": self.condition,
                    "design": row.name,
                    "score": row.score,
                    "low": row.low,
                    "high": row.high,
                    "lead": lead and lead.difference,
                    "lead_low": lead and lead.low,
                    "lead_high": lead and lead.high,
                    "claim": row.claim,
                }
            )
        return rows


def judge_condition(condition: str, table: ScoreTable) -> ConditionVerdict:
    """Paired comparisons of the assembled design on one condition; without its own score nothing can be said."""
    if ASSEMBLED not in table.scores:
        return ConditionVerdict(condition, (), "Nothing can be said: the assembled design has no score here.", None)
    representatives = table.representatives()
    names = [name for name, design in table.designs.items() if representatives[design] == name]
    differences, levels = table.compare(names), table.levels(names)
    rows = [_row(ASSEMBLED, levels[ASSEMBLED], None, "")]
    for name, design in table.designs.items():
        if name == ASSEMBLED:
            continue
        same = design == table.designs[ASSEMBLED]
        paired = None if same else differences[representatives[design]]
        claim = SAME_DESIGN if same else comparison_claim(paired)
        rows.append(_row(name, levels[representatives[design]], paired, claim))
    return ConditionVerdict(condition, tuple(rows), _summary(rows), _holds(rows))


def _row(name: str, level: PairedDifference, paired: PairedDifference | None, claim: str) -> ConditionRow:
    return ConditionRow(name, level.difference, level.low, level.high, paired, claim)


def _holds(rows: Sequence[ConditionRow]) -> bool | None:
    claims = {row.claim for row in rows[1:]} - {SAME_DESIGN}
    if not claims - {NO_INTERVAL, AHEAD, BEHIND}:
        return None
    return WORSE not in claims


def _summary(rows: Sequence[ConditionRow]) -> str:
    sentences = claim_sentences((row.claim, row.name, row.paired) for row in rows[1:])
    return " ".join(sentences) or "No control has a score here."


def summarize(verdicts: Sequence[ConditionVerdict]) -> str:
    """All conditions in one sentence or two."""
    lost = [verdict.condition for verdict in verdicts if verdict.holds is False]
    held = [verdict.condition for verdict in verdicts if verdict.holds]
    silent = [verdict.condition for verdict in verdicts if verdict.holds is None]
    won = [
        verdict.condition for verdict in verdicts if any(row.claim == BETTER for row in verdict.rows) and verdict.holds
    ]
    parts = []
    if lost:
        parts.append(f"The assembled design is not robust: a control beats it on {', '.join(lost)}.")
    elif held:
        parts.append(f"No control beats the assembled design on any of {len(held)} conditions.")
    if held or lost:
        parts.append(f"It is shown to be better than at least one control on {len(won)} of {len(held) + len(lost)}.")
    if silent:
        parts.append(f"Nothing can be said of {', '.join(silent)}.")
    return " ".join(parts)
