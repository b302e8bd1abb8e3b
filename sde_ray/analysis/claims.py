"""What may be said of a difference, in few words: does an option matter, does it not, or is it not known?

    claim_of(estimate, sure)      "better" · "worse" · "perhaps better" · "perhaps worse" · "the same" · "not shown"

An estimate's own interval is right 95 times in 100, so among ten options that do nothing one is often clear of 0 by
luck. `sure` is the interval that holds for all options of the table at once (`SurfaceFit.family`): only
what is clear in it is
"better" or "worse", what is clear in its own interval alone is "perhaps". "The same" is a finding, too: the interval
lies within the margin on both sides of 0. "Not shown" is neither: the trials are too few to tell.
"""

from __future__ import annotations

from sde_ray.analysis.response_surface import Estimate

MARGIN = 0.02  # in units of the score; a difference this small changes no decision

BETTER, WORSE, PERHAPS_BETTER, PERHAPS_WORSE = "better", "worse", "perhaps better", "perhaps worse"
SAME, NOT_SHOWN, UNKNOWN = "the same", "not shown", "no interval"


def claim_of(own: Estimate, sure: Estimate, margin: float = MARGIN) -> str:
    """The words for a difference with its own interval, and with the one that holds for its whole family."""
    if own.low is None or own.high is None:
        return UNKNOWN
    if -margin < own.low and own.high < margin:
        return SAME  # there may be a difference, but not one that matters
    if not own.clear:
        return NOT_SHOWN
    certain, likely = (BETTER, PERHAPS_BETTER) if own.low > 0 else (WORSE, PERHAPS_WORSE)
    return certain if sure.clear else likely
