"""A strategy that the search itself recommends: which of its near-ties is taken, and the reasons in words.

A search that models all designs (`adaptive`) knows rungs and repeats that no surface of finished trials holds, so its
decision stands. Designs that it expects to be as good for every practical purpose are ranked by what else counts: more
options at their default, then fewer output tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sde_ray.analysis.effects import reference_of
from sde_ray.analysis.estimate import format_estimate
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.design.designs import design_of
from sde_ray.types import Design, TrialResult

Recommended = Sequence[tuple[Design, float]]


def simplest(near_ties: Recommended, results: Sequence[TrialResult], fitted: SurfaceFit) -> tuple[Design, float]:
    """The design to take of those that a search expects to be about equal.

    Args:
        near_ties: designs and their expected scores, best first.
        results: the trials, which say how many tokens a design's completions have.
        fitted: the response surface of the finished trials, which knows the options tried.

    Returns the one with the most options at their axis' default, then the fewest output tokens (a mean over its
    trials), then the highest expected score; and that score.
    """
    defaults = {axis: reference_of(axis, options) for axis, options in fitted.coding.axes}
    tokens: dict[Design, list[float]] = {}
    for result in results:
        if (count := result.tokens.get("output")) is not None and math.isfinite(count):
            tokens.setdefault(design_of(result), []).append(float(count))

    def rank(pair: tuple[Design, float]) -> tuple[int, float, float]:
        design, expected = pair
        departures = sum(option != defaults.get(axis, option) for axis, option in design.options)
        counts = tokens.get(design, [math.inf])
        return departures, sum(counts) / len(counts), -expected

    return min(near_ties, key=rank)


def reasons(design: Design, expected: float, near_ties: Recommended, fitted: SurfaceFit) -> Iterator[tuple[str, str]]:
    """Why each axis has its option: the search's own decision, with what the surface alone says of it.

    Args:
        design: the one that was taken of the near-ties.
        expected: the score that the search expects of it.
        near_ties: designs and their expected scores, best first.
        fitted: the response surface of the finished trials.
    """
    swept = dict(fitted.coding.axes)
    best, best_expected = near_ties[0]
    for axis, option in design.options:
        if axis not in swept:
            yield axis, f"{option}: the only option in these trials"
            continue
        reference = reference_of(axis, swept[axis])
        label = f"{option}, the default" if option == reference else option
        text = f"{label}: chosen by the search"
        if option != best[axis]:
            text += f", expected {expected:.3f}; {best[axis]} has {best_expected:.3f}, too little more to matter"
        other = reference if option != reference else _next_best(design, axis, swept[axis], fitted)
        gain = fitted.difference(design, design.replace(**{axis: other}))
        shown = format_estimate(gain.value, gain.low, gain.high, unknown=" (no interval)")
        yield axis, f"{text}; the finished trials alone say {shown} over {other}"


def _next_best(design: Design, axis: str, options: Sequence[str], fitted: SurfaceFit) -> str:
    """The other option that the surface predicts most of in this design."""
    others = [option for option in options if option != design[axis]]
    return max(others, key=lambda option: fitted.predict(design.replace(**{axis: option})))
