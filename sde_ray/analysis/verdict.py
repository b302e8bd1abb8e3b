"""The verdict of the final comparison: values, words, and a file.

    verdict = make_verdict(strategy, comparisons)
    verdict.summary       "The assembled design wins against all controls. Better than baseline (+0.121 [...]), ..."
    verdict.recommended   the contender to use: "assembled", or the control that beats it or does as well for less
    verdict.action        "Use the baseline: no difference is shown, and it is cheaper (25 output tokens against 49)."

"Better" needs all of these: two training seeds or more, a 95% confidence interval of the paired difference above 0 that
holds the noise of training, and Holm's adjusted p-value below the level of this look (`looks.py`). The family of Holm's
correction is the controls on one split: other splits and single training sizes are families of their own. One seed
shows no more than that a design is ahead on these items. An interval that holds 0 is "no difference shown", which is
not "equal". A verdict without a winner is a result, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sde_ray.analysis.action import choose, with_actions
from sde_ray.analysis.comparison import (
    AHEAD,
    ASSEMBLED,
    BEHIND,
    BEST_SEEN,
    BETTER,
    NO_DIFFERENCE,
    NO_INTERVAL,
    NO_SCORE,
    SAME_DESIGN,
    WORSE,
    Comparison,
    Cost,
    comparison_claim,
)
from sde_ray.analysis.dropped_seeds import DroppedSeeds, dropped_sentence
from sde_ray.analysis.estimate import format_estimate
from sde_ray.analysis.looks import ALPHA, Look
from sde_ray.analysis.paired import ITEMS, PairedDifference
from sde_ray.analysis.strategy import Strategy
from sde_ray.design.designs import make_design, paper_label
from sde_ray.errors import UserError, format_error
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.types import Design

__all__ = [
    "AHEAD",
    "ASSEMBLED",
    "BEHIND",
    "BEST_SEEN",
    "BETTER",
    "NO_DIFFERENCE",
    "NO_INTERVAL",
    "NO_SCORE",
    "SAME_DESIGN",
    "WORSE",
    "Comparison",
    "Cost",
    "Verdict",
    "claim_sentences",
    "comparison_claim",
    "earlier_looks",
    "load",
    "make_verdict",
    "save",
    "verdict_table",
]


@dataclass(frozen=True)
class Verdict:
    """What the final comparison shows. `recommended` names the contender to use, `summary` says it in words.

    `action` says what to do, `cost` what the assembled design costs. `looks`: every look at the test split so far,
    `look` the number of this one. `dropped`: the seeds on which a contender could not be compared. `repeated`: the same
    comparisons at further values of the sweep's nuisance axes, which decide nothing.
    """

    strategy_design: Design
    objective: str
    rows: tuple[Comparison, ...]
    summary: str
    recommended: str
    look: int = 1
    looks: tuple[Look, ...] = ()
    dropped: tuple[DroppedSeeds, ...] = ()
    action: str = ""
    cost: Cost = field(default_factory=Cost)
    repeated: tuple[Comparison, ...] = ()

    @property
    def level(self) -> float:
        """The level at which this look may claim."""
        return next((look.level for look in self.looks if look.number == self.look), ALPHA)

    def overall(self, split: str = "test") -> list[Comparison]:
        """The rows behind the verdict: all sizes together."""
        return [row for row in self.rows if row.split == split and row.train_size is None]


_VERDICT = TypeAdapter(Verdict)


# ---- the verdict in words ------------------------------------------------------------------------------------------


def make_verdict(
    strategy: Strategy,
    rows: Sequence[Comparison],
    looks: Sequence[Look] = (),
    dropped: Sequence[DroppedSeeds] = (),
    cost: Cost | None = None,
    repeated: Sequence[Comparison] = (),
) -> Verdict:
    """The verdict that the comparisons give: the headline, one sentence for each kind of claim, what they rest on.

    Args:
        strategy: the assembled design.
        rows: the comparisons.
        looks: all looks at the test split, this one last.
        dropped: the seeds on which a contender could not be compared.
        cost: of the assembled design.
        repeated: the comparisons at further values of nuisance axes.
    """
    cost = cost or Cost()
    rows = with_actions(rows, cost)
    home = [row for row in rows if row.split == "test" and row.train_size is None]
    away = [row for row in rows if row.split == "test_ood" and row.train_size is None]
    action = choose(home, cost)
    words = " ".join(part for part in (action.words, _reversed_at(home, repeated)) if part)
    parts = [_headline(home, action.use), *_sentences(home)]
    if away:
        parts += ["Out-of-domain:", *_sentences(away)]
    elif strategy.design["instruction"] == "none" and any(row.score is not None for row in home):
        parts.append("Out-of-domain: not applicable without an instruction.")
    parts += [*_foundations(home, looks, dropped), *_repetitions(home, repeated), strategy.ranking]
    number = looks[-1].number if looks else 1
    summary = " ".join(part for part in parts if part)
    return Verdict(
        strategy.design,
        strategy.objective,
        tuple(rows),
        summary,
        action.use,
        number,
        tuple(looks),
        tuple(dropped),
        words,
        cost,
        tuple(repeated),
    )


def _headline(rows: Sequence[Comparison], recommended: str) -> str:
    claims = {row.claim for row in rows if row.claim not in (SAME_DESIGN, NO_SCORE)}
    if WORSE in claims:
        return f"The assembled design does not win: use {recommended}."
    if all(row.claim == SAME_DESIGN for row in rows if row.score is not None):
        return "Every control that has a score is the assembled design itself."
    if claims == {BETTER} and all(row.claim != NO_SCORE for row in rows):
        return "The assembled design wins against all controls."
    if claims == {BETTER}:
        return "The assembled design wins against all controls that have a score."
    if claims == {NO_INTERVAL}:
        return "Nothing can be said: the noise is not known, so there is no interval."
    if BETTER in claims:
        return "The assembled design wins against some controls, not against all."
    if all(row.seeds == 1 for row in rows if row.claim not in (SAME_DESIGN, NO_SCORE)):
        return "One seed shows no design to be better than another."
    return "The assembled design is not shown to be better than any control."


def _repetitions(home: Sequence[Comparison], repeated: Sequence[Comparison]) -> list[str]:
    """What the same comparison says at each further value of a nuisance axis, in-domain and over all sizes."""
    configured, parts = {row.control: row.claim for row in home}, []
    for at in dict.fromkeys(row.at for row in repeated):
        rows = [row for row in repeated if row.at == at and row.split == "test" and row.train_size is None]
        same = {row.control: row.claim for row in rows} == configured
        opening = "The same is found at" if same else "It is not the same at"
        parts += [f"{opening} {at.replace('=', ' ')}:", *_sentences(rows)]
    return parts


def _reversed_at(home: Sequence[Comparison], repeated: Sequence[Comparison]) -> str:
    """Where the opposite was found at another value of a nuisance axis: what to do then depends on it."""
    opposite, claims = {BETTER: WORSE, WORSE: BETTER}, {row.control: row.claim for row in home}
    against: dict[str, list[str]] = {}
    for row in repeated:
        if row.split == "test" and row.train_size is None and row.claim == opposite.get(claims.get(row.control, "")):
            against.setdefault(row.at.replace("=", " "), []).append(row.control)
    places = " and ".join(f"at {at} against {_joined(controls)}" for at, controls in against.items())
    return f"This holds as it is configured; {places} it is the other way round." if places else ""


def _foundations(rows: Sequence[Comparison], looks: Sequence[Look], dropped: Sequence[DroppedSeeds]) -> list[str]:
    """What the claims rest on: one seed, seeds that were left out, the family of the correction, the look."""
    compared = {row.design: row.paired for row in rows if row.paired is not None and row.paired.p_value is not None}
    parts = []
    if any(row.seeds == 1 for row in rows):
        noise = {paired.noise for paired in compared.values() if paired.seeds == 1}
        parts.append("One seed only" + (f": {_ONE_SEED[ITEMS in noise]}." if noise else "."))
    parts.append(dropped_sentence(dropped))
    if len(compared) > 1:
        parts.append(f"Holm's correction counts the {len(compared)} controls of a split.")
    if looks and looks[-1].number > 1:
        parts.append(f"This is look {looks[-1].number} at the test items: claims at level {looks[-1].level:g}.")
    return parts


_ONE_SEED = {
    True: "the intervals hold the noise of the items, not that of training",
    False: "the noise of training is taken from replicates of other trials",
}
OPENINGS = {
    BETTER: "Better than",
    WORSE: "Worse than",
    AHEAD: "Ahead on these items, one seed:",
    BEHIND: "Behind on these items, one seed:",
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
    for row in (*verdict.rows, *verdict.repeated):
        paired = asdict(row.paired) if row.paired else dict.fromkeys(each.name for each in fields(PairedDifference))
        values = {key: value for key, value in asdict(row).items() if key not in ("paired", "design", "cost")}
        if not verdict.repeated:
            values.pop("at")
        rows.append(
            {**paired, **values, "tokens": row.cost.tokens, "design": row.design.slug, "label": paper_label(row.design)}
        )
    return rows


def save(verdict: Verdict, path: Path) -> None:
    """Write validation.json, whole or not at all."""
    values = asdict(verdict) | {"strategy_design": dict(verdict.strategy_design.options)}
    for name in ("rows", "repeated"):
        values[name] = [asdict(row) | {"design": dict(row.design.options)} for row in getattr(verdict, name)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def load(path: Path) -> Verdict:
    """The inverse of `save`; `UserError` for any other file."""
    try:
        values = read_json(path.read_bytes())
        by_name = {"rows": values["rows"], "repeated": values.get("repeated", [])}
        rows = {
            name: [{**row, "design": make_design(**row["design"])} for row in several]
            for name, several in by_name.items()
        }
        return _VERDICT.validate_python({**values, "strategy_design": make_design(**values["strategy_design"]), **rows})
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. `sde-ray validate` writes it.') from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f'"{path}" is no validation of sde_ray ({format_error(error)}). `sde-ray validate` writes it again.'
        ) from None


def earlier_looks(path: Path) -> tuple[Look, ...]:
    """The looks at the test split that a validation.json has counted; none where there is no such file."""
    try:
        return load(path).looks
    except UserError:
        return ()
