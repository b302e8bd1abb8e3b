"""Findings of the memory study on planted effects: they are found where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sde_ray.curation.memory.levels import FactMemory
from sde_ray.pipeline.memory_study.cells import Cells
from sde_ray.pipeline.memory_study.findings import ALL, WITHIN, Finding, StudyTrial, findings

Chance = Callable[[int, int, int, str], float]  # level trained on, training size, level asked, relation -> accuracy
RELATIONS = ("P17", "P19", "P36")


def memories(share_of: Callable[[str, int], float] = lambda relation, level: 0.2, count: int = 200) -> list[FactMemory]:
    """Facts of each relation, by the share of each level in it."""
    rows = []
    for relation in RELATIONS:
        for level in range(5):
            rows += [(relation, level)] * round(count * share_of(relation, level))
    return [
        FactMemory(f"{relation}.dev:{n}", relation, 1, (*[1] * level, *[0] * (4 - level)), (0,) * 4)
        for n, (relation, level) in enumerate(rows)
    ]


def trials(
    facts: list[FactMemory], chance: Chance, sizes: tuple[int, ...] = (60, 240), seeds: int = 4, model: str = "m"
) -> list[StudyTrial]:
    """Trained trials whose items are right with these chances; a seed moves all items of a trial a little."""
    made = []
    for trained in range(5):
        for size in sizes:
            for seed in range(seeds):
                random = np.random.default_rng([trained, size, seed, len(model)])
                luck = random.normal(0, 0.01)
                right = {
                    f.id: float(random.random() < chance(trained, size, f.level("words"), f.relation) + luck)
                    for f in facts
                }
                made.append(StudyTrial(model, str(trained), size, seed, right))
    return made


def answers(facts: list[FactMemory], made: list[StudyTrial]) -> dict[str, Finding]:
    found = findings(made, {"m": Cells.of(facts, "words")})
    return {finding.question.split()[0] + finding.question.split()[1]: finding for finding in found}


def claims(finding: Finding, stratum: str) -> dict[tuple[str, str], str]:
    return {(row.first, row.second): row.claim for row in finding.rows if row.stratum == stratum}


def test_nothing_is_found_where_nothing_is() -> None:
    facts = memories()
    found = answers(facts, trials(facts, lambda trained, size, asked, relation: 0.1 + 0.2 * asked))
    for finding in found.values():
        assert {row.claim for row in finding.rows} <= {"no difference shown"}, finding.verdict
    assert found["Is60"].verdict.startswith(("Yes: more samples do not gain 0.02", "Not shown either way"))
    assert "no level is shown to be best" in found["Whichlevel"].verdict
    assert found["Isit"].verdict == "Not known: one model was tried."


def test_a_level_that_teaches_best_more_samples_that_help_and_a_diagonal_are_found() -> None:
    facts = memories()

    def chance(trained: int, size: int, asked: int, relation: str) -> float:
        return 0.1 + 0.15 * asked + 0.08 * (trained == 2) + 0.08 * (size == 240) + 0.1 * (trained == asked)

    found = answers(facts, trials(facts, chance))
    for stratum in (ALL, WITHIN):
        assert claims(found["Is60"], stratum) == {("240", "60"): "better"}
        best = claims(found["Whichlevel"], stratum)
        assert [best["2", other] for other in "34"] == ["better"] * 2
        assert [best[other, "2"] for other in "01"] == ["worse"] * 2
        assert claims(found["Doestraining"], stratum) == {("its own level", "other levels"): "better"}
    assert found["Is60"].verdict.startswith("No: 240 samples are better, +0.0")
    assert found["Whichlevel"].verdict == "all items: D2, above every other; within relations: D2, above every other."
    row = next(row for row in found["Doestraining"].rows if row.stratum == ALL)
    assert row.low is not None and row.high is not None and row.low < 0.1 < row.high and row.high - row.low < 0.1


def test_an_effect_of_relations_is_no_effect_of_levels_within_them() -> None:
    """P17 is known better as a whole, and training on well-known facts helps P17, whatever an item's level."""
    facts = memories(lambda relation, level: [0.02, 0.03, 0.1, 0.25, 0.6][level if relation == "P17" else 4 - level])

    def chance(trained: int, size: int, asked: int, relation: str) -> float:
        well_known = trained >= 3
        return 0.4 + (0.25 if (relation == "P17") == well_known else 0.0)

    found = answers(facts, trials(facts, chance))
    assert claims(found["Doestraining"], ALL) == {("its own level", "other levels"): "better"}
    assert claims(found["Doestraining"], WITHIN) == {("its own level", "other levels"): "no difference shown"}


def test_one_seed_is_never_called_better() -> None:
    facts = memories()
    made = trials(facts, lambda trained, size, asked, relation: 0.2 + 0.4 * (size == 240), seeds=1)
    found = answers(facts, made)
    assert claims(found["Is60"], ALL)["240", "60"] in ("ahead on these items, one seed", "no interval")
    assert not found["Is60"].verdict.startswith(("No:", "Yes:"))


def test_models_that_differ_are_told_apart_and_others_are_not() -> None:
    facts = memories()
    one = trials(facts, lambda trained, size, asked, relation: 0.3 + 0.2 * (trained == 0))
    other = trials(facts, lambda trained, size, asked, relation: 0.3 + 0.2 * (trained == 4), model="other")
    cells = {"m": Cells.of(facts, "words"), "other": Cells.of(facts, "words", seed=1)}
    found = findings([*one, *other], cells)[-1]
    assert found.verdict.startswith("No: how much a level helps depends on the model: D0: m against other +0.")
    assert {row.first for row in found.rows if row.claim != "no difference shown"} == {"D0: m", "D4: m"}
    alike = trials(facts, lambda trained, size, asked, relation: 0.3 + 0.2 * (trained == 0), model="other")
    assert findings([*one, *alike], cells)[-1].verdict == "No difference between the models is shown."


def test_the_macro_mean_is_the_mean_of_levels_whatever_their_sizes() -> None:
    facts = [FactMemory(f"P17.dev:{n}", "P17", 1, (1, 1, 1, int(n == 0)), (0,) * 4) for n in range(10)]
    cells = Cells.of(facts, "words")
    accuracy = cells.accuracy({fact.id: float(n == 0) for n, fact in enumerate(facts)})
    assert cells.cells == ((3, "P17"), (4, "P17")) and accuracy.shape == (1001, 2)
    assert (accuracy @ cells.over_levels())[0] == pytest.approx(0.5)
    assert (accuracy @ cells.of_level(3))[0] == 0.0
