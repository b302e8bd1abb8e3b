"""Metrics of the user's own: the contract, declared bounds, and one message for each thing that can be wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sde_ray.errors import UserError
from sde_ray.metrics import bounded, check_metric, metric_bounds, score
from sde_ray.plugins import trust_code
from sde_ray.testing import MetricContract
from sde_ray.testing.tasks import PRICES, QUESTIONS, REVIEWS, TAGS, TICKETS
from sde_ray.types import Example, Parsed


class TestSameSlots(MetricContract):
    metric = "helpers.extra_metrics:same_slots"


class TestBrevity(MetricContract):
    metric = "helpers.extra_metrics:brevity"
    kinds = ("label", "span")


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("worst_for_gold", "test_the_gold_answer_has_the_highest_value"),
        ("beyond", "test_every_answer_has_a_finite_value_within_the_bounds"),
        ("failing", "test_every_answer_has_a_finite_value_within_the_bounds"),
        ("two_arguments", "test_it_is_found_and_takes_three_arguments"),
    ],
)
def test_a_metric_that_breaks_the_contract_is_seen(name: str, law: str) -> None:
    class Broken(MetricContract):
        metric = f"helpers.extra_metrics:{name}"

    with pytest.raises((AssertionError, UserError)):
        getattr(Broken(), law)()


def score_with(name: str) -> float:
    trust_code("helpers")
    task = replace(REVIEWS, metrics=("accuracy", f"helpers.extra_metrics:{name}"))
    return score(task, [Example("item 7", "", {"food": ("positive",)})], [Parsed({})])[task.metrics[1]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "failing",
            '"helpers.extra_metrics:failing" fails on the item "item 7" with KeyError: \'food\'. It has to take',
        ),
        ("beyond", 'returned 1.5 for the item "item 7", but is declared as @bounded(0.0, 1.0). Correct one'),
        ("text", "returned 'good'. Expected a finite number for every item."),
        ("two_arguments", "takes (example: 'Example', parsed: 'Parsed') -> 'float'. Expected a function of three"),
        ("NOT_A_METRIC", "is of type int, and a metric must be of type function"),
        ("bravity", 'has no "bravity". Did you mean "brevity"?'),
    ],
)
def test_what_is_wrong_is_one_message(name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        score_with(name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bounds_are_those_that_are_declared() -> None:
    trust_code("helpers")
    assert metric_bounds("helpers.extra_metrics:same_slots") == (0.0, 1.0)
    assert metric_bounds("helpers.extra_metrics:brevity") is None
    assert metric_bounds("nowhere:at_all") is None
    with pytest.raises(UserError, match="cannot be bounded by 1.0 and 0.0"):
        bounded(1.0, 0.0)


def test_a_metric_of_other_answers_says_whose_it_is() -> None:
    for task, name, message in (
        (TICKETS, "weighted_kappa", "It is for tasks with labels of one list."),
        (TICKETS, "quadratic_weighted_kappa", "It needs labels that are numbers."),
        (TAGS, "macro_kappa_strict", "It is for tasks with labels by slot."),
        (PRICES, "neg_mae", "It needs slots of one range; neg_nmae takes any."),
        (QUESTIONS, "neg_nmae", "It is for tasks with free values that are numbers (range)."),
    ):
        with pytest.raises(UserError) as error:
            check_metric(task, name)
        assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "rougeL",
            "Write it as a function of your own, with a library of your choice, and name it in the task: metrics",
        ),
        ("BLEU", "with a library of your choice"),
        ("my_pkg.my_metrics:score", 'is named in the task: metrics: [accuracy, "my_pkg.my_metrics:score"]'),
        ("accurcy", 'Did you mean "accuracy"?'),
    ],
)
def test_a_metric_from_elsewhere_has_its_remedy(name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        check_metric(QUESTIONS, name)
    assert message in str(error.value)
