"""Do the designs that an untuned model takes to best also tune best? Rank correlations, picks, and words.

    found = correlations(rows, tuned, shots=(0, 2, 4))
    found[0]         Correlation("prompt_perplexity", spearman=Ranked(-0.12, -0.26, 0.03), kendall=..., pick=...)
    verdict(found)   "Good prompting would not have picked a good sample design here: ..."

Every measure is turned so that more is better (a low perplexity is good), so a positive correlation always says that
the measure foretells tuning. Intervals are bootstraps over designs, 95%: which designs a study happens to hold is its
luck, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.design.designs import paper_label, parse_design
from sde_ray.pipeline.prompting.tuned_scores import Tuned
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
DRAWS = 2000
FEWEST = 4  # designs that a correlation needs
PROMPTING = "best_prompting"
GOOD = 0.75  # a pick within the best quarter is a good design
DIGITS = 9  # a score that is 0 but for the rounding of its sums ties with 0
LOWER_IS_BETTER = ("prompt_perplexity", "output_perplexity")


@dataclass(frozen=True)
class Ranked:
    """A rank correlation with its interval; all None where one side does not vary."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Pick:
    """The design that a measure likes best, and what it came to after tuning. `place` counts from 1.

    Where several are liked alike (`tied` of them, `design` is one), score and place are their means: a person would
    have to draw among them.
    """

    design: Design
    value: float
    tuned: float
    place: int
    best: float
    tied: int = 1


@dataclass(frozen=True)
class Correlation:
    """What one measure of the untuned model says of tuning."""

    measure: str
    spearman: Ranked
    kendall: Ranked
    designs: int
    pick: Pick | None

    def to_dict(self) -> dict[str, Any]:
        """One flat row."""
        row: dict[str, Any] = {"measure": self.measure, "designs": self.designs}
        for name, ranked in (("spearman", self.spearman), ("kendall", self.kendall)):
            row |= {name: ranked.value, f"{name}_low": ranked.low, f"{name}_high": ranked.high}
        pick = asdict(self.pick) | {"design": self.pick.design.slug} if self.pick else {}
        return {**row, **{f"pick_{key}" if key != "design" else "pick": value for key, value in pick.items()}}


def measures(shots: Sequence[int]) -> tuple[str, ...]:
    """What is held against the tuned score. `best_prompting`: each design with the number of examples that suits it."""
    scores = tuple(f"{k}_shot" for k in shots)
    return ("prompt_perplexity", "output_perplexity", "output_log_likelihood", *scores, PROMPTING)


def correlations(rows: Sequence[Mapping[str, Any]], tuned: Tuned, shots: Sequence[int]) -> list[Correlation]:
    """One row a measure, over the designs that have both values."""
    return [_correlation(name, rows, tuned, shots) for name in measures(shots)]


def goodness(row: Mapping[str, Any], measure: str, shots: Sequence[int]) -> float | None:
    """A row's value of a measure, turned so that more is better."""
    if measure == PROMPTING:
        scores = [row[f"{k}_shot"] for k in shots if row.get(f"{k}_shot") is not None]
        value = max(scores, default=None)
    else:
        value = row.get(measure)
    if value is None:
        return None
    rounded = round(float(value), DIGITS)
    return -rounded if measure in LOWER_IS_BETTER else rounded


def _correlation(name: str, rows: Sequence[Mapping[str, Any]], tuned: Tuned, shots: Sequence[int]) -> Correlation:
    pairs = []
    for row in rows:
        design, value = parse_design(str(row["design"])), goodness(row, name, shots)
        if value is not None and design in tuned:
            pairs.append((value, tuned[design], design))
    x, y = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    if len(pairs) < FEWEST:
        return Correlation(name, Ranked(None), Ranked(None), len(pairs), None)
    return Correlation(name, *rank_correlations(x, y), len(pairs), _pick(name, x, y, [pair[2] for pair in pairs]))


def _pick(name: str, x: Array, y: Array, designs: Sequence[Design]) -> Pick:
    """The designs with the highest value; the first of them stands for all."""
    tied = np.flatnonzero(x == x.max())
    places = [1 + int((y > y[n]).sum()) for n in tied]
    value = -float(x.max()) if name in LOWER_IS_BETTER else float(x.max())
    first = designs[int(tied[0])]
    return Pick(first, value, float(y[tied].mean()), round(float(np.mean(places))), float(y.max()), len(tied))


# ---- rank correlations -----------------------------------------------------------------------------------------------


def rank_correlations(x: Array, y: Array, draws: int = DRAWS, seed: int = 0) -> tuple[Ranked, Ranked]:
    """Spearman's rho and Kendall's tau-b with bootstrap intervals.

    A draw is how often each design is taken. Both statistics are sums over designs or pairs of designs, so all draws
    are a few matrix products; ties, which every bootstrap makes, are handled as in the statistics' own definitions.
    """
    random = np.random.default_rng(seed)
    once = np.ones((1, len(x)))
    drawn = random.multinomial(len(x), np.full(len(x), 1 / len(x)), draws).astype(float)
    found = []
    for statistic in (_spearman, _kendall):
        value = statistic(x, y, once)[0]
        spread = statistic(x, y, drawn)
        spread = spread[np.isfinite(spread)]
        if not np.isfinite(value) or not len(spread):
            found.append(Ranked(None))
            continue
        low, high = np.quantile(spread, (0.025, 0.975))
        found.append(Ranked(float(value), float(low), float(high)))
    return found[0], found[1]


def _spearman(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's correlation of the mid-ranks within each draw."""
    total = weights.sum(axis=1)
    a, b = (weights @ _below(values).T for values in (x, y))  # (draws, n): the mid-rank of each design in the draw
    a = a - ((weights * a).sum(axis=1) / total)[:, None]
    b = b - ((weights * b).sum(axis=1) / total)[:, None]
    return _ratio((weights * a * b).sum(axis=1), (weights * a * a).sum(axis=1), (weights * b * b).sum(axis=1))


def _below(values: Array) -> Array:
    """(n, n): 1 where the column's value lies below the row's, a half where both are equal."""
    return (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])


def _kendall(x: Array, y: Array, weights: Array) -> Array:
    """Concordant minus discordant pairs, corrected for ties (tau-b); a design drawn twice ties with itself."""
    a, b = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    sums = [((weights @ pairs) * weights).sum(axis=1) for pairs in (a * b, a * a, b * b)]
    return _ratio(*sums)


def _ratio(both: Array, first: Array, second: Array) -> Array:
    """`both` over the root of the product; nan where one side does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((first > 1e-12) & (second > 1e-12), both / np.sqrt(first * second), np.nan)


# ---- in words --------------------------------------------------------------------------------------------------------


def verdict(found: Sequence[Correlation]) -> str:
    """Whether the prompt engineer's choice would have been the sample designer's."""
    by_name = {one.measure: one for one in found}
    prompting = by_name[PROMPTING]
    if prompting.pick is None:
        return (
            f"Nothing can be said: {prompting.designs} designs have both a prompting score and a tuned one, and a "
            f"correlation needs {FEWEST}. Run the sweep first, or name a table of tuned scores."
        )
    value, low = prompting.spearman.value, prompting.spearman.low
    if value is None or low is None:
        return "Good prompting could not have picked a sample design here: all designs prompt alike, or tune alike."
    pick = prompting.pick
    above = 1 - (pick.place - 1) / prompting.designs  # the share of designs that are not better than the pick
    said = (
        f"{_picked(pick)} number {pick.place} of {prompting.designs} after tuning, {pick.best - pick.tuned:.3f} below "
        f"the best; prompting scores and tuned scores have a rank correlation of {value:+.2f} [{low:+.2f}, "
        f"{prompting.spearman.high:+.2f}]."
    )
    return f"{_headline(low, above)} {said} {_others(found)}"


def _picked(pick: Pick) -> str:
    if pick.tied == 1:
        return f"The design that prompts best ({pick.value:.3f}), {paper_label(pick.design)}, is"
    names = f"{paper_label(pick.design)} among them"
    return f"{pick.tied} designs prompt best alike ({pick.value:.3f}), {names}; they are on average"


def _headline(low: float, above: float) -> str:
    if above > GOOD and low > 0:
        return "Good prompting would have picked a good sample design here."
    if above > GOOD:
        return "Good prompting would have picked a good sample design here, but by luck as far as these designs show."
    if low > 0:
        return "Good prompting would not have picked a good sample design here, though it does better than chance."
    return "Good prompting would not have picked a good sample design here."


def _others(found: Sequence[Correlation]) -> str:
    """The measures other than prompting that tell something of tuning at all, rightly or the wrong way round."""
    shown = [one for one in found if one.measure in ("prompt_perplexity", "output_perplexity", "output_log_likelihood")]
    above = [one for one in shown if one.spearman.low is not None and one.spearman.low > 0]
    below = [one for one in shown if one.spearman.high is not None and one.spearman.high < 0]
    parts = [f"Above chance: {_named(above)}."] if above else []
    parts += [f"The wrong way round, so misleading: {_named(below)}."] if below else []
    return " ".join(parts) or "No likelihood measure foretells tuning here."


def _named(found: Sequence[Correlation]) -> str:
    return ", ".join(f"{one.measure.replace('_', ' ')} ({one.spearman.value:+.2f})" for one in found)
