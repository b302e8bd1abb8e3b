"""Significance of an effect in words: does an option matter, does it not, or is it not known?

    effect_claim(pointwise, simultaneous)
    -> "better" · "worse" · "perhaps better" · "perhaps worse" · "the same" · "not shown" · "no interval"

A pointwise 95% interval is right 95 times in 100, so among ten options that do nothing one often excludes 0 by luck.
The simultaneous interval holds for all options of the table at once (`simultaneous_intervals`). The words:

    better, worse                   the simultaneous interval excludes 0
    perhaps better, perhaps worse   only the pointwise interval excludes 0
    the same                        equivalence: the pointwise interval lies within ± `MARGIN`; a finding, too
    not shown                       neither: the trials are too few to tell
    no interval                     the trials cannot estimate their noise

The final comparison has another vocabulary (`verdict.comparison_claim`): there every control is a test of its own with
a p-value, corrected by Holm, and "no difference shown" never means that two designs are equivalent.
"""

from __future__ import annotations

from sde_ray.analysis.estimate import Estimate

MARGIN = 0.02  # in units of the score; a difference this small changes no decision

BETTER, WORSE, PERHAPS_BETTER, PERHAPS_WORSE = "better", "worse", "perhaps better", "perhaps worse"
SAME, NOT_SHOWN, UNKNOWN = "the same", "not shown", "no interval"


def effect_claim(pointwise: Estimate, simultaneous: Estimate, margin: float = MARGIN) -> str:
    """The claim that an effect's pointwise and simultaneous 95% intervals allow.

    Args:
        pointwise: the difference with its own interval.
        simultaneous: the same difference with the interval that holds for its whole family.
        margin: half the width of the region of practical equivalence, in units of the score.

    Returns:
        One of the seven claims above.
    """
    if pointwise.low is None or pointwise.high is None:
        return UNKNOWN
    if -margin < pointwise.low and pointwise.high < margin:
        return SAME  # there may be a difference, but not one that matters
    if not pointwise.excludes_zero:
        return NOT_SHOWN
    certain, likely = (BETTER, PERHAPS_BETTER) if pointwise.low > 0 else (WORSE, PERHAPS_WORSE)
    return certain if simultaneous.excludes_zero else likely
