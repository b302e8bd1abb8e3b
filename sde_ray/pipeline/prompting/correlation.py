"""Rank correlations between an untuned model's measures of designs and the designs' tuned scores, and the verdict.

    results = correlations(rows, tuned, shots=(0, 2, 4))
    results[0]         Correlation("prompt_perplexity", RankCorrelation(-0.12, -0.26, 0.03), kendall=..., pick=...)
    verdict(results)   "Good prompting would not have picked a good sample design here: ..."

Every measure is oriented so that more is better (a low perplexity is good), so a positive correlation always says that
the measure predicts tuning. Intervals are 95% bootstraps over designs: which designs a study happens to hold is chance,
too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.design.designs import paper_label, parse_design
from sde_ray.pipeline.prompting.tuned_scores import TunedScores
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
BOOTSTRAP_DRAWS = 2000
MIN_DESIGNS = 4  # that a correlation needs
PROMPTING = "best_prompting"
GOOD_SHARE = 0.75  # a pick within the best quarter is a good design
DIGITS = 9  # a score that is 0 but for the rounding of its sums ties with 0
LOWER_IS_BETTER = ("prompt_perplexity", "output_perplexity")


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation with its 95% interval; all None where one side does not vary."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Pick:
    """The design with the highest value of a measure, and its tuned score and rank. `rank` counts from 1.

    If several tie (`tied` of them, `design` is one), score and rank are their means: a person would have to draw among
    them.
    """

    design: Design
    value: float
    tuned: float
    rank: int
    best: float
    tied: int = 1


@dataclass(frozen=True)
class Correlation:
    """How well one measure of the untuned model predicts tuned scores."""

    measure: str
    spearman: RankCorrelation
    kendall: RankCorrelation
    designs: int
    pick: Pick | None

    def to_dict(self) -> dict[str, Any]:
        """One flat row."""
        row: dict[str, Any] = {"measure": self.measure, "designs": self.designs}
        for name, correlation in (("spearman", self.spearman), ("kendall", self.kendall)):
            row |= {name: correlation.value, f"{name}_low": correlation.low, f"{name}_high": correlation.high}
        pick = asdict(self.pick) | {"design": self.pick.design.slug} if self.pick else {}
        return {**row, **{f"pick_{key}" if key != "design" else "pick": value for key, value in pick.items()}}


def measures(shots: Sequence[int]) -> tuple[str, ...]:
    """The measures. `best_prompting`: each design with the number of demonstrations that suits it."""
    scores = tuple(f"{k}_shot" for k in shots)
    return ("prompt_perplexity", "output_perplexity", "output_log_likelihood", *scores, PROMPTING)


def correlations(rows: Sequence[Mapping[str, Any]], tuned: TunedScores, shots: Sequence[int]) -> list[Correlation]:
    """One row a measure, over the designs that have both values."""
    return [_correlation(name, rows, tuned, shots) for name in measures(shots)]


def oriented_value(row: Mapping[str, Any], measure: str, shots: Sequence[int]) -> float | None:
    """A row's value of a measure, oriented so that more is better."""
    if measure == PROMPTING:
        scores = [row[f"{k}_shot"] for k in shots if row.get(f"{k}_shot") is not None]
        value = max(scores, default=None)
    else:
        value = row.get(measure)
    if value is None:
        return None
    rounded = round(float(value), DIGITS)
    return -rounded if measure in LOWER_IS_BETTER else rounded


def _correlation(name: str, rows: Sequence[Mapping[str, Any]], tuned: TunedScores, shots: Sequence[int]) -> Correlation:
    pairs = []
    for row in rows:
        design, value = parse_design(str(row["design"])), oriented_value(row, name, shots)
        if value is not None and design in tuned:
            pairs.append((value, tuned[design], design))
    x, y = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    if len(pairs) < MIN_DESIGNS:
        return Correlation(name, RankCorrelation(None), RankCorrelation(None), len(pairs), None)
    return Correlation(name, *rank_correlations(x, y), len(pairs), _pick(name, x, y, [pair[2] for pair in pairs]))


def _pick(name: str, x: Array, y: Array, designs: Sequence[Design]) -> Pick:
    """The designs with the highest value; the first of them is named."""
    tied = np.flatnonzero(x == x.max())
    ranks = [1 + int((y > y[n]).sum()) for n in tied]
    value = -float(x.max()) if name in LOWER_IS_BETTER else float(x.max())
    first = designs[int(tied[0])]
    return Pick(first, value, float(y[tied].mean()), round(float(np.mean(ranks))), float(y.max()), len(tied))


# ---- rank correlations -----------------------------------------------------------------------------------------------


def rank_correlations(
    x: Array, y: Array, draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> tuple[RankCorrelation, RankCorrelation]:
    """Spearman's rho and Kendall's tau-b with 95% bootstrap intervals.

    Args:
        x: [designs] values of a measure.
        y: [designs] tuned scores.
        draws: bootstrap samples.
        seed: of the bootstrap.

    A draw is how often each design is taken. Both statistics are sums over designs or pairs of designs, so all draws
    are a few matrix products; ties, which every bootstrap makes, are handled as in the statistics' own definitions.
    """
    random = np.random.default_rng(seed)
    unweighted = np.ones((1, len(x)))
    weights = random.multinomial(len(x), np.full(len(x), 1 / len(x)), draws).astype(float)
    correlations = []
    for statistic in (_spearman, _kendall):
        value = statistic(x, y, unweighted)[0]
        replicates = statistic(x, y, weights)
        replicates = replicates[np.isfinite(replicates)]
        if not np.isfinite(value) or not len(replicates):
            correlations.append(RankCorrelation(None))
            continue
        low, high = np.quantile(replicates, (0.025, 0.975))
        correlations.append(RankCorrelation(float(value), float(low), float(high)))
    return correlations[0], correlations[1]


def _spearman(x: Array, y: Array, weights: Array) -> Array:
    """[draws] Pearson's correlation of the mid-ranks within each draw; `weights` [draws, designs]."""
    total = weights.sum(axis=1)
    a, b = (weights @ _midrank_matrix(values).T for values in (x, y))  # [draws, designs]: mid-ranks in each draw
    a = a - ((weights * a).sum(axis=1) / total)[:, None]
    b = b - ((weights * b).sum(axis=1) / total)[:, None]
    return _ratio((weights * a * b).sum(axis=1), (weights * a * a).sum(axis=1), (weights * b * b).sum(axis=1))


def _midrank_matrix(values: Array) -> Array:
    """[designs, designs]: 1 where the column's value lies below the row's, a half where both are equal."""
    return (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])


def _kendall(x: Array, y: Array, weights: Array) -> Array:
    """[draws] Kendall's tau-b: concordant minus discordant pairs, corrected for ties; a design drawn twice ties."""
    a, b = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    sums = [((weights @ pairs) * weights).sum(axis=1) for pairs in (a * b, a * a, b * b)]
    return _ratio(*sums)


def _ratio(both: Array, first: Array, second: Array) -> Array:
    """`both` over the root of the product; nan where one side does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((first > 1e-12) & (second > 1e-12), both / np.sqrt(first * second), np.nan)


# ---- in words --------------------------------------------------------------------------------------------------------


def verdict(results: Sequence[Correlation]) -> str:
    """The verdict in words: would the design that prompts best have been a good one to tune with?"""
    prompting = next(result for result in results if result.measure == PROMPTING)
    if prompting.pick is None:
        return (
            f"Nothing can be said: {prompting.designs} designs have both a prompting score and a tuned one, and a "
            f"correlation needs {MIN_DESIGNS}. Run the sweep first, or name a table of tuned scores."
        )
    value, low = prompting.spearman.value, prompting.spearman.low
    if value is None or low is None:
        return "Good prompting could not have picked a sample design here: all designs prompt alike, or tune alike."
    pick = prompting.pick
    above = 1 - (pick.rank - 1) / prompting.designs  # the share of designs that are not better than the pick
    comparison = (
        f"{_picked(pick)} number {pick.rank} of {prompting.designs} after tuning, {pick.best - pick.tuned:.3f} below "
        f"the best; prompting scores and tuned scores have a rank correlation of {value:+.2f} [{low:+.2f}, "
        f"{prompting.spearman.high:+.2f}]."
    )
    return f"{_headline(low, above)} {comparison} {_likelihoods(results)}"


def _picked(pick: Pick) -> str:
    if pick.tied == 1:
        return f"The design that prompts best ({pick.value:.3f}), {paper_label(pick.design)}, is"
    names = f"{paper_label(pick.design)} among them"
    return f"{pick.tied} designs prompt best alike ({pick.value:.3f}), {names}; they are on average"


def _headline(low: float, above: float) -> str:
    if above > GOOD_SHARE and low > 0:
        return "Good prompting would have picked a good sample design here."
    if above > GOOD_SHARE:
        return "Good prompting would have picked a good sample design here, but by luck as far as these designs show."
    if low > 0:
        return "Good prompting would not have picked a good sample design here, though it does better than chance."
    return "Good prompting would not have picked a good sample design here."


def _likelihoods(results: Sequence[Correlation]) -> str:
    """The likelihood measures whose correlation with tuned scores excludes zero, positive or negative."""
    names = ("prompt_perplexity", "output_perplexity", "output_log_likelihood")
    likelihoods = [result for result in results if result.measure in names]
    positive = [result for result in likelihoods if result.spearman.low is not None and result.spearman.low > 0]
    negative = [result for result in likelihoods if result.spearman.high is not None and result.spearman.high < 0]
    parts = [f"Above chance: {_named(positive)}."] if positive else []
    parts += [f"The wrong way round, so misleading: {_named(negative)}."] if negative else []
    return " ".join(parts) or "No likelihood measure foretells tuning here."


def _named(results: Sequence[Correlation]) -> str:
    return ", ".join(f"{result.measure.replace('_', ' ')} ({result.spearman.value:+.2f})" for result in results)
