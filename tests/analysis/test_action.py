"""What to do after a final comparison: use this, because; never a claim that the comparison does not make."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_ray.analysis.action import choose, with_actions
from sde_ray.analysis.comparison import (
    AHEAD,
    BEHIND,
    BETTER,
    NO_DIFFERENCE,
    NO_INTERVAL,
    NO_SCORE,
    SAME_DESIGN,
    WORSE,
    Comparison,
    Cost,
)
from sde_ray.analysis.paired import PairedDifference
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import load, make_verdict, save
from sde_ray.design.designs import NAMED, make_design

ASSEMBLED = Cost(49.0, 0.99)


def row(
    control: str, claim: str, difference: float = 0.0, tokens: float = 50.0, adherence: float = 0.99, seeds: int = 3
) -> Comparison:
    paired = None if claim in (NO_SCORE, SAME_DESIGN) else PairedDifference(difference, difference - 0.1, 0.2)
    score = None if claim == NO_SCORE else 0.7 - difference
    design = NAMED.get(control, make_design(format="json"))
    return Comparison(control, design, "test", None, 0.7, score, paired, seeds, 200, claim, Cost(tokens, adherence))


@pytest.mark.parametrize(
    ("rows", "use", "said"),
    [
        ([row("baseline", BETTER, 0.2)], "assembled", "Use the assembled design: it is better than every control."),
        (
            [row("baseline", BETTER, 0.2, tokens=25)],
            "assembled",
            "though it is dearer than the baseline (49 output tokens against 25).",
        ),
        (
            [row("baseline", NO_DIFFERENCE, 0.01, tokens=25), row("es-sde", BETTER, 0.2)],
            "baseline",
            "Use the baseline: no difference is shown, and it is cheaper (25 output tokens against 49).",
        ),
        ([row("baseline", NO_DIFFERENCE, -0.1, tokens=10, adherence=0.5)], "assembled", "Use either"),
        (
            [row("baseline", WORSE, -0.2), row("es-sde", WORSE, -0.3)],
            "es-sde",
            "the assembled design is worse by 0.300",
        ),
        ([row("baseline", NO_DIFFERENCE, 0.0)], "assembled", "none is known to be cheaper"),
        (
            [row("heuristic", NO_DIFFERENCE, 0.198, tokens=10)],
            "assembled",
            "Use the assembled design for now: it is ahead of the heuristic by 0.198, but not shown to be better.",
        ),
        ([row("baseline", AHEAD, 0.2, seeds=1)], "assembled", "Until then the assembled design is the best guess"),
        (
            [row("baseline", BEHIND, -0.2, seeds=1)],
            "assembled",
            "Until then nothing speaks against the default, the baseline",
        ),
        ([row("baseline", NO_INTERVAL, 0.2)], "assembled", "Add seeds before you choose"),
        (
            [row("baseline", BETTER, 0.2), row("heuristic", NO_DIFFERENCE, 0.198, tokens=10)],
            "assembled",
            "it is better than the baseline, and no control is shown to be better",
        ),
        ([row("baseline", NO_SCORE), row("es-sde", SAME_DESIGN)], "assembled", "compared with no other design"),
    ],
)
def test_the_sentence_names_a_design_and_why(rows: list[Comparison], use: str, said: str) -> None:
    action = choose(rows, ASSEMBLED)
    assert action.use == use and said in action.words, action


def test_a_design_far_behind_is_never_taken_for_its_price() -> None:
    """No difference is shown is not equal: what is behind by more than matters is not recommended, however cheap."""
    action = choose([row("heuristic", NO_DIFFERENCE, 0.021, tokens=1)], ASSEMBLED)
    assert action.use == "assembled" and not action.settled


def alike(score: float) -> list[Comparison]:
    paired = PairedDifference(0.0)
    names = ("baseline", "es-sde")
    return [Comparison(n, NAMED[n], "test", None, score, score, paired, 3, 9, NO_INTERVAL) for n in names]


def test_all_scores_alike_are_no_result() -> None:
    nothing, ceiling = choose(alike(0.0), ASSEMBLED), choose(alike(1.0), ASSEMBLED)
    assert "nothing was learned. Raise train.num_train_epochs, train.learning_rate or train_sizes" in nothing.words
    assert ceiling.use == "baseline" and "every design has the same score, 1.000" in ceiling.words
    assert not nothing.settled and not ceiling.settled


def test_where_the_assembled_design_is_its_own_control() -> None:
    same = [row("baseline", SAME_DESIGN), row("best seen", SAME_DESIGN)]
    assert choose(same, ASSEMBLED).words.startswith("Use the baseline, which is the assembled design")
    nothing = [Comparison("baseline", NAMED["baseline"], "test", None, 0.0, 0.0, None, 1, 9, SAME_DESIGN)]
    assert "nothing was learned" in choose(nothing, ASSEMBLED).words


def test_every_claim_has_an_action_beside_it() -> None:
    claims = [BETTER, WORSE, AHEAD, BEHIND, NO_INTERVAL, SAME_DESIGN, NO_SCORE]
    rows = [row("baseline", claim, 0.1) for claim in claims]
    rows += [row("baseline", NO_DIFFERENCE, 0.1), row("baseline", NO_DIFFERENCE, 0.0, tokens=10)]
    rows += [row("baseline", NO_DIFFERENCE, 0.0, tokens=99), row("baseline", NO_DIFFERENCE, 0.0)]
    assert [one.action for one in with_actions(rows, ASSEMBLED)] == [
        *("use the assembled", "use baseline", "add seeds", "add seeds", "add seeds", "nothing to choose"),
        *("see what failed", "add seeds or items", "use baseline: cheaper", "use the assembled: cheaper", "either"),
    ]


def test_the_verdict_and_its_file_carry_it(tmp_path: Path) -> None:
    strategy = Strategy("masa:d1", "tiny", make_design(format="json"), "x", "weighted_kappa", 0.7)
    verdict = make_verdict(strategy, [row("baseline", NO_DIFFERENCE, 0.0, tokens=25)], cost=ASSEMBLED)
    assert verdict.recommended == "baseline" and verdict.action.startswith("Use the baseline: no difference is shown")
    assert "not shown to be better than any control" in verdict.summary
    save(verdict, tmp_path / "validation.json")
    assert load(tmp_path / "validation.json") == verdict
    assert '"action": "Use the baseline' in (tmp_path / "validation.json").read_text()
