"""Balanced draws: each label equally often in a draw of any size, with the rare ones repeated in turn."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers.plans import plan_of

from sde_ray.curation.balance import balanced_draw
from sde_ray.data import draw
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.tasks import get_task
from sde_ray.types import Example

PAIRS = [Example(f"e{n}", f"text {n}", {"match": ("no" if n % 7 else "yes",)}) for n in range(70)]
PLAIN = {"instruction": "last", "input_modeling": "off", "format": "natural", "labels": "text", "reasoning": "none"}


def labels(examples: list[Example]) -> Counter[str]:
    return Counter(value for one in examples for values in one.answer.values() for value in values)


@pytest.mark.parametrize("size", [1, 2, 21, 40, 140])
def test_labels_are_drawn_equally_often_and_examples_as_evenly_as_can_be(size: int) -> None:
    drawn = balanced_draw(PAIRS, size, seed=3)
    counts = labels(drawn)
    assert len({one.id for one in drawn}) == size and abs(counts["yes"] - counts["no"]) <= 1
    for label in counts:
        times = Counter(one.text for one in drawn if one.answer["match"] == (label,))
        available = labels(PAIRS)[label]
        assert len(times) == min(available, counts[label]) and max(times.values()) - min(times.values()) <= 1


def test_a_smaller_draw_is_the_beginning_of_a_larger_whatever_the_order_of_the_file() -> None:
    assert balanced_draw(PAIRS[::-1], 30, seed=1) == balanced_draw(PAIRS, 90, seed=1)[:30]
    assert balanced_draw(PAIRS, 30, seed=1) != balanced_draw(PAIRS, 30, seed=2)


def test_where_labels_are_equal_the_same_examples_are_drawn_as_without() -> None:
    """All of an even set: nothing is repeated, nothing is left out, only the order is another."""
    even = [one for one in PAIRS if one.answer["match"] == ("yes",)] + [
        one for one in PAIRS if one.answer["match"] == ("no",)
    ][:10]
    drawn = balanced_draw(even, 20, seed=0)
    assert sorted(one.id for one in drawn) == sorted(one.id for one in draw(even, 20, 0))


def test_only_tasks_with_one_label_an_example_can_be_balanced() -> None:
    for name in ("matching", "schema", "errors"):
        assert design_space(get_task(name), True, axes={"balance": ["drawn", "equal"]}).axes["balance"] == (
            "drawn", "equal",
        )  # fmt: skip
    for name in ("matching:batch=2", "imputation", "masa:d1", "qa"):
        space = design_space(get_task(name), True, axes={"balance": ["drawn", "equal"]})
        assert "only such can be balanced" in space.pinned["balance"]


def test_the_plan_says_how_often_the_rare_label_is_repeated() -> None:
    made = plan_of(task="matching", axes={**PLAIN, "balance": ["drawn", "equal"]}, train_sizes=[1900])
    (note,) = [line for line in made.curation if line.startswith("balance=equal: labels")]
    yes, no = labels(get_task("matching").load("train"))["yes"], labels(get_task("matching").load("train"))["no"]
    assert f'(no {no}, yes {yes}); of 1900 samples each "yes" stands {950 / yes:.1f} times' in note


def test_one_label_alone_is_refused_by_the_plan(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = "".join(f"COL a VAL {n}\tCOL a VAL {n + 1}\t0\n" for n in range(60))
    (tmp_path / "pairs.txt").write_text(rows, encoding="utf-8")
    with pytest.raises(UserError, match='has only the label "no". Leave balance out, or add data'):
        plan_of(task=f"matching@{tmp_path / 'pairs.txt'}", axes={**PLAIN, "balance": ["equal"]}, eval_size=5)
