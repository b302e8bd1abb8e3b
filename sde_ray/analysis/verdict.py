"""The verdict of the final comparison: values, words, and a file.

    verdict = make_verdict(strategy, comparisons)
    verdict.summary       "The assembled design wins against all controls. Better than baseline (+0.121 [...]), ..."
    verdict.recommended   the contender to use: "assembled", or the control that beats it

"Better" needs both: the 95% confidence interval of the paired difference lies above 0, and Holm's adjusted p-value over
all controls is below 0.05. An interval that holds 0 is "no difference shown", which is not "equal". A verdict without a
winner is a result, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sde_ray.analysis.estimate import format_estimate
from sde_ray.analysis.paired import PairedDifference
from sde_ray.analysis.strategy import Strategy
from sde_ray.design.designs import make_design, paper_label
from sde_ray.errors import UserError, format_error
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.types import Design

ASSEMBLED, BEST_SEEN = "assembled", "best seen"
ALPHA = 0.05  # significance level of the adjusted p-value
BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference shown"
NO_INTERVAL, SAME_DESIGN, NO_SCORE = "no interval", "same design", "no score"


@dataclass(frozen=True)
class Comparison:
    """The assembled design against a control, on one split; `train_size` None: the mean over all sizes."""

    control: str
    design: Design
    split: str
    train_size: int | None
    assembled: float | None
    score: float | None
    paired: PairedDifference | None
    seeds: int
    items: int
    claim: str


@dataclass(frozen=True)
class Verdict:
    """What the final comparison shows. `recommended` names the contender to use, `summary` says it in words."""

    strategy_design: Design
    objective: str
    rows: tuple[Comparison, ...]
    summary: str
    recommended: str

    def overall(self, split: str = "test") -> list[Comparison]:
        """The rows behind the verdict: all sizes together."""
        return [row for row in self.rows if row.split == split and row.train_size is None]


_VERDICT = TypeAdapter(Verdict)


def comparison_claim(paired: PairedDifference | None) -> str:
    """Significance of a paired comparison in words: what may be said of the assembled design against a control.

    "better" and "worse" need an interval on one side of 0 and an adjusted p-value below `ALPHA`. The vocabulary is not
    that of effects (`claims.effect_claim`): nothing here is ever called equivalent, or better "perhaps".
    """
    if paired is None:
        return NO_SCORE
    if paired.low is None or paired.high is None:
        return NO_INTERVAL
    significant = (paired.adjusted_p_value or 0.0) < ALPHA
    if significant and paired.low > 0:
        return BETTER
    return WORSE if significant and paired.high < 0 else NO_DIFFERENCE


# ---- the verdict in words ------------------------------------------------------------------------------------------


def make_verdict(strategy: Strategy, rows: Sequence[Comparison]) -> Verdict:
    """The verdict that the comparisons give: the headline, then one sentence for each kind of claim."""
    home = [row for row in rows if row.split == "test" and row.train_size is None]
    away = [row for row in rows if row.split == "test_ood" and row.train_size is None]
    lost = [row for row in home if row.claim == WORSE]
    recommended = max(lost, key=lambda row: row.score or 0.0).control if lost else ASSEMBLED
    parts = [_headline(home, recommended), *_sentences(home)]
    if away:
        parts += ["Out-of-domain:", *_sentences(away)]
    elif strategy.design["instruction"] == "none" and any(row.score is not None for row in home):
        parts.append("Out-of-domain: not applicable without an instruction.")
    if any(row.seeds == 1 for row in home):
        parts.append("One seed only: the intervals hold the noise of the items, not that of training.")
    return Verdict(strategy.design, strategy.objective, tuple(rows), " ".join(parts), recommended)


def _headline(rows: Sequence[Comparison], recommended: str) -> str:
    claims = {row.claim for row in rows if row.claim != SAME_DESIGN}
    if recommended != ASSEMBLED:
        return f"The assembled design does not win: use {recommended}."
    if not claims:
        return "Every control that has a score is the assembled design itself."
    if claims == {BETTER}:
        return "The assembled design wins against all controls."
    if claims == {NO_INTERVAL}:
        return "Nothing can be said: one seed and no kept completions give no interval."
    if BETTER in claims:
        return "The assembled design wins against some controls, not against all."
    return "The assembled design is not shown to be better than any control."


OPENINGS = {
    BETTER: "Better than",
    WORSE: "Worse than",
    NO_DIFFERENCE: "No difference shown against",
    NO_INTERVAL: "Without an interval against",
    SAME_DESIGN: "The same design as",
    NO_SCORE: "No score of",
}


def claim_sentences(claims: Iterable[tuple[str, str, PairedDifference | None]]) -> list[str]:
    """One sentence for each kind of claim that occurs, with the differences; `claims` are (claim, control, paired)."""
    controls: dict[str, list[str]] = {}
    for claim, control, paired in claims:
        controls.setdefault(claim, []).append(_against(control, claim, paired))
    return [f"{opening} {_joined(controls[claim])}." for claim, opening in OPENINGS.items() if claim in controls]


def _sentences(rows: Sequence[Comparison]) -> list[str]:
    return claim_sentences((row.claim, row.control, row.paired) for row in rows)


def _against(control: str, claim: str, paired: PairedDifference | None) -> str:
    if paired is None or claim in (SAME_DESIGN, NO_SCORE):
        return control
    return f"{control} ({format_estimate(paired.difference, paired.low, paired.high)})"


def _joined(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


# ---- validation.json -----------------------------------------------------------------------------------------------


def verdict_table(verdict: Verdict) -> list[dict[str, Any]]:
    """One flat row a comparison, for CLI, MLflow and report."""
    rows = []
    for row in verdict.rows:
        paired = asdict(row.paired) if row.paired else dict.fromkeys(field.name for field in fields(PairedDifference))
        values = {key: value for key, value in asdict(row).items() if key not in ("paired", "design")}
        rows.append({**values, **paired, "design": row.design.slug, "label": paper_label(row.design)})
    return rows


def save(verdict: Verdict, path: Path) -> None:
    """Write validation.json, whole or not at all."""
    values = asdict(verdict) | {"strategy_design": dict(verdict.strategy_design.options)}
    values["rows"] = [asdict(row) | {"design": dict(row.design.options)} for row in verdict.rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def load(path: Path) -> Verdict:
    """The inverse of `save`; `UserError` for any other file."""
    try:
        values = read_json(path.read_bytes())
        rows = [{**row, "design": make_design(**row["design"])} for row in values["rows"]]
        return _VERDICT.validate_python(
            {**values, "strategy_design": make_design(**values["strategy_design"]), "rows": rows}
        )
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. `sde-ray validate` writes it.') from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f'"{path}" is no validation of sde_ray ({format_error(error)}). `sde-ray validate` writes it again.'
        ) from None
