"""What to do after a final comparison: which design to use, and why, or what would decide it.

    action = choose(rows, Cost(tokens=49))
    action.use        "baseline"
    action.words      "Use the baseline: no difference is shown, and it is cheaper (25 output tokens against 49)."

"No difference shown" is not "equal". So a cheaper control is taken only where it is also not behind by more than a
difference that matters (`MARGIN`); where it is, the words say what would decide. Law: nothing is ever called better
here that the comparison does not call so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sde_ray.analysis.claims import MARGIN
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
)
from sde_ray.analysis.degenerate import REMEDY, TOO_EASY

CHEAPER = 0.9  # of the output tokens: less of a saving decides nothing
LOST_ADHERENCE = 0.02  # format adherence that a cheaper design may lack
MORE_SEEDS = "--set validation.seeds=[101,102,103,104,105]"


@dataclass(frozen=True)
class Action:
    """The contender to use, and the sentence that says so; `settled`: the comparison has decided it."""

    use: str
    words: str
    settled: bool = True


def choose(rows: Sequence[Comparison], assembled: Cost) -> Action:
    """What follows from the comparisons on one split, all sizes together.

    Args:
        rows: one comparison a control.
        assembled: the cost of the assembled design.
    """
    compared = [row for row in rows if row.claim not in (SAME_DESIGN, NO_SCORE)]
    lost = [row for row in compared if row.claim == WORSE]
    if lost:
        best = max(lost, key=lambda row: row.score or 0.0)
        return Action(best.control, f"Use {_name(best)}: the assembled design is worse by {_size(best)}.")
    if not compared:
        return _nothing_to_compare(rows)
    scores = {score for row in compared for score in (row.assembled, row.score) if score is not None}
    if len(scores) == 1 and all(row.claim == NO_INTERVAL for row in compared):
        return _all_alike(compared, scores.pop())
    cheap = [row for row in compared if _as_good(row) and _is_cheaper(row.cost, assembled)]
    if cheap:
        best = min(cheap, key=lambda row: (row.cost.tokens or 0.0, row.control != "baseline"))
        return Action(
            best.control,
            f"Use {_name(best)}: no difference is shown, and it is cheaper ({_tokens(best.cost, assembled)}).",
        )
    if all(row.claim == BETTER for row in compared):
        price = max(compared, key=lambda row: -(row.cost.tokens or 0.0))
        words = "Use the assembled design: it is better than every control"
        if _is_cheaper(price.cost, assembled):
            words += f", though it is dearer than {_name(price)} ({_tokens(assembled, price.cost)})"
        return Action(ASSEMBLED, f"{words}.")
    return _unsettled(compared)


def _nothing_to_compare(rows: Sequence[Comparison]) -> Action:
    """What to do where every control that has a score is the assembled design itself."""
    if any(row.assembled == 0 for row in rows):
        return Action(ASSEMBLED, NOTHING_LEARNED, settled=False)
    if any(row.claim == SAME_DESIGN and row.control == "baseline" for row in rows):
        return Action(ASSEMBLED, "Use the baseline, which is the assembled design: no option is worth leaving it for.")
    return Action(ASSEMBLED, "Use the assembled design: it was compared with no other design that has a score.")


def _all_alike(compared: Sequence[Comparison], score: float) -> Action:
    """What to do where every design has the same score."""
    if score == 0:
        return Action(ASSEMBLED, NOTHING_LEARNED, settled=False)
    default = next((row.control for row in compared if row.control == "baseline"), ASSEMBLED)
    name = "the baseline" if default == "baseline" else "the assembled design"
    return Action(default, f"Use {name}: every design has the same score, {score:.3f}. {TOO_EASY}", settled=False)


NOTHING_LEARNED = f"Use none of them yet: every score is 0, so nothing was learned. {REMEDY}"


def _unsettled(compared: Sequence[Comparison]) -> Action:
    """What to do where some comparison is open."""
    better = [row for row in compared if row.claim == BETTER]
    if better:
        names = " and ".join(_name(row) for row in better)
        return Action(
            ASSEMBLED, f"Use the assembled design: it is better than {names}, and no control is shown to be better."
        )
    if all(row.claim == NO_INTERVAL or row.seeds < 2 for row in compared):
        return Action(
            ASSEMBLED,
            f"Add seeds before you choose (sde-ray validate ... {MORE_SEEDS}): one seed does not tell a design from "
            f"luck. Until then {_favourite(compared)}.",
            settled=False,
        )
    behind = [row for row in compared if not _as_good(row)]
    if not behind:
        return Action(
            ASSEMBLED,
            "Use either the assembled design or a control: no difference is shown, and none is known to be cheaper.",
        )
    return Action(
        ASSEMBLED,
        f"Use the assembled design for now: it is ahead of {_listed(behind)}, but not shown to be better. More seeds "
        f"(sde-ray validate ... {MORE_SEEDS}) or test items would decide it.",
        settled=False,
    )


def _favourite(compared: Sequence[Comparison]) -> str:
    ahead = all(row.claim == AHEAD for row in compared)
    return "the assembled design is the best guess" if ahead else "nothing speaks against the default, the baseline"


def with_actions(rows: Sequence[Comparison], assembled: Cost) -> list[Comparison]:
    """The rows, each with what follows for the choice between the assembled design and that control."""
    return [replace(row, action=_between(row, assembled)) for row in rows]


def _between(row: Comparison, assembled: Cost) -> str:
    if row.claim == BETTER:
        return "use the assembled"
    if row.claim == WORSE:
        return f"use {row.control}"
    if row.claim in (AHEAD, BEHIND, NO_INTERVAL):
        return "add seeds"
    if row.claim == SAME_DESIGN:
        return "nothing to choose"
    if row.claim == NO_SCORE:
        return "see what failed"
    assert row.claim == NO_DIFFERENCE, row.claim
    if not _as_good(row):
        return "add seeds or items"
    if _is_cheaper(row.cost, assembled):
        return f"use {row.control}: cheaper"
    return "use the assembled: cheaper" if _is_cheaper(assembled, row.cost) else "either"


def _as_good(row: Comparison) -> bool:
    """Whether a control is not behind by more than a difference that matters, as far as the comparison tells."""
    return row.claim == NO_DIFFERENCE and row.paired is not None and row.paired.difference <= MARGIN


def _is_cheaper(one: Cost, other: Cost) -> bool:
    if one.tokens is None or other.tokens is None or one.tokens > CHEAPER * other.tokens:
        return False
    return one.adherence is None or other.adherence is None or one.adherence >= other.adherence - LOST_ADHERENCE


def _tokens(one: Cost, other: Cost) -> str:
    return f"{one.tokens:.0f} output tokens against {other.tokens:.0f}"


def _size(row: Comparison) -> str:
    return f"{abs(row.paired.difference):.3f}" if row.paired else "an unknown amount"


def _name(row: Comparison) -> str:
    return f"the {row.control}" if row.control in ("baseline", "heuristic", BEST_SEEN) else row.control


def _listed(rows: Sequence[Comparison]) -> str:
    *rest, last = [f"{_name(row)} by {_size(row)}" for row in rows]
    return f"{', '.join(rest)} and {last}" if rest else last
