"""One comparison of the final comparison: the assembled design against a control, its claim in words, its cost.

    comparison_claim(paired)     "better" · "worse" · "no difference shown" · ...

What follows from all of them together is said by `verdict.py`, what to do by `action.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sde_ray.analysis.looks import ALPHA
from sde_ray.analysis.paired import ITEMS, PairedDifference
from sde_ray.types import Design

ASSEMBLED, BEST_SEEN = "assembled", "best seen"
BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference shown"
AHEAD, BEHIND = "ahead on these items, one seed", "behind on these items, one seed"
NO_INTERVAL, SAME_DESIGN, NO_SCORE = "no interval", "same design", "no score"


@dataclass(frozen=True)
class Cost:
    """What a contender's answers cost: output tokens and format adherence, means over its finished trials."""

    tokens: float | None = None
    adherence: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The assembled design against a control, on one split; `train_size` None: the mean over all sizes.

    `seeds`: number of training seeds that the two share; both scores are means over these. `cost` is the control's,
    `action` what follows for the choice between the two. `at`: the value of a nuisance axis at which both were trained,
    such as "learning_rate=0.002"; empty: as it is configured.
    """

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
    cost: Cost = field(default_factory=Cost)
    action: str = ""
    at: str = ""


def comparison_claim(paired: PairedDifference | None, level: float = ALPHA) -> str:
    """Significance of a paired comparison in words: what may be said of the assembled design against a control.

    "better" and "worse" need two seeds, the noise of training, an interval on one side of 0 and an adjusted p-value
    below the level. The vocabulary is not that of effects (`claims.effect_claim`): nothing here is ever called
    equivalent, or better "perhaps".

    Args:
        paired: the comparison; None without a score.
        level: two-sided, of the whole family.
    """
    if paired is None:
        return NO_SCORE
    if paired.low is None or paired.high is None:
        return NO_INTERVAL
    if (paired.adjusted_p_value or 0.0) >= level or paired.low <= 0 <= paired.high:
        return NO_DIFFERENCE
    if paired.seeds < 2:
        return AHEAD if paired.low > 0 else BEHIND
    if paired.noise == ITEMS:  # equal scores of several seeds tell nothing of the noise of training
        return NO_DIFFERENCE
    return BETTER if paired.low > 0 else WORSE
