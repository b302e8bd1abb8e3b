"""Metrics of records: exact ones as multisets, fields by the best assignment (against brute force), strict scores."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from sde_ray.metrics import item_statistics, metric_names, objective_from_items, score
from sde_ray.metrics.record import field_counts, matched_leaves
from sde_ray.testing.tasks import EVENT_ZH_EXAMPLES, EVENTS_ZH, PERSON, PERSON_EXAMPLES, RELATIONS, records
from sde_ray.types import Example, Fault, Parsed


def relation(head: str, tail: str, label: str = "born in", **year: int) -> dict[str, object]:
    return {"head": head, "relation": label, "tail": tail, **year}


def of(*relations: dict[str, object]) -> dict[str, tuple[str, ...]]:
    return records(RELATIONS, "relation", *relations) if relations else {}


def brute_force(gold: list[Counter], predicted: list[Counter]) -> int:
    """The most leaves that agree, over all ways to assign predictions to gold records."""
    if len(gold) > len(predicted):
        gold, predicted = predicted, gold
    orders = itertools.permutations(predicted, len(gold))
    return max(sum((a & b).total() for a, b in zip(gold, order, strict=True)) for order in orders)


def test_leaves_are_assigned_as_by_brute_force() -> None:
    draw = random.Random(0)
    for _ in range(200):
        gold, predicted = (
            [Counter(draw.choices([(p, v) for p in "ab" for v in "xyz"], k=draw.randrange(5))) for _ in range(n)]
            for n in (draw.randrange(1, 5), draw.randrange(1, 5))
        )
        assert matched_leaves(gold, predicted).total() == brute_force(gold, predicted), (gold, predicted)


@pytest.mark.parametrize(
    ("gold", "predicted", "record_f1", "field_f1", "exact"),
    [
        (of(relation("A", "B")), of(relation(" a", "B ")), 1, 1, 1),  # case and white space
        (of(relation("A", "B")), of(relation("A", "C")), 0, 4 / 6, 0),
        (of(relation("A", "B")), of(relation("A", "B", "none")), 0, 4 / 6, 0),
        (of(relation("A", "B", year=1)), of(relation("A", "B")), 0, 6 / 7, 0),
        (of(relation("A", "B"), relation("C", "D")), of(relation("C", "D"), relation("A", "B")), 1, 1, 1),
        (of(relation("A", "B")), of(*[relation("A", "B")] * 2), 2 / 3, 6 / 9, 0),  # a copy is wrong
        (of(), of(), 1, 1, 1),
        (of(), of(relation("A", "B")), 0, 0, 0),
        (of(relation("A", "B")), of(), 0, 0, 0),
    ],
)
def test_scores(gold: dict, predicted: dict, record_f1: float, field_f1: float, exact: float) -> None:
    scores = score(RELATIONS, [Example("1", "x", gold)], [Parsed(predicted)])
    assert [scores[name] for name in ("record_f1", "field_f1", "exact_match")] == pytest.approx(
        [record_f1, field_f1, exact]
    )
    assert scores["record_f1_strict"] == scores["record_f1"]
    strict = score(RELATIONS, [Example("1", "x", gold)], [Parsed(predicted, (Fault("bad_value"),))])
    assert [strict[f"{name}_strict"] for name in ("record_f1", "field_f1", "exact_match")] == [0, 0, 0]


def test_lists_have_no_order_and_a_nested_record_is_right_as_a_whole() -> None:
    def person(*works: tuple[str, int], tags: list[str]) -> dict[str, tuple[str, ...]]:
        titled = [{"title": title, "of": {"year": year}} for title, year in works]
        return records(PERSON, "person", {"tags": tags, "works": titled})

    gold = Example("1", "x", person(("A", 1), ("B", 2), tags=["a", "b"]))
    reordered = score(PERSON, [gold], [Parsed(person(("B", 2), ("A", 1), tags=["b", "a"]))])
    crossed = score(PERSON, [gold], [Parsed(person(("B", 1), ("A", 2), tags=["a", "b"]))])
    assert reordered["record_f1"] == 1 and crossed["record_f1"] == 0 and crossed["field_f1"] == 1


def test_gold_has_the_most_and_rows_add_up() -> None:
    for task, examples in ((PERSON, PERSON_EXAMPLES), (EVENTS_ZH, EVENT_ZH_EXAMPLES)):
        gold = score(task, examples, [Parsed(example.answer) for example in examples])
        assert {gold[name] for name in metric_names(task) if not name.startswith("format")} == {1.0}
        shifted = [Parsed(example.answer) for example in (*examples[1:], examples[0])]
        rows = item_statistics(task, examples, shifted)
        twice = objective_from_items(task, "field_f1", np.stack([rows.sum(0), rows[0]]))
        assert twice[0] == score(task, examples, shifted)["field_f1"] and twice.shape == (2,)


def test_counts_by_field() -> None:
    gold, predicted = of(relation("A", "B", year=1), relation("C", "D")), of(relation("C", "E"))
    assert field_counts(RELATIONS, Example("1", "x", gold), Parsed(predicted))["relation"] == {
        "head": (2, 1, 1),
        "relation": (2, 1, 1),
        "tail": (2, 1, 0),
        "year": (1, 0, 0),
    }
