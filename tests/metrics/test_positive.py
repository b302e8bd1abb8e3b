"""F1 of the positive class: against scikit-learn, "no" throughout, what was not asked, and what was not answered."""

from __future__ import annotations

import random

import pytest
from sklearn import metrics as reference

from sde_ray import metrics
from sde_ray.tasks import get_task
from sde_ray.types import Example, Fault, Parsed

MATCHING = get_task("matching")
BATCH = get_task("matching:batch=2")
FAULT = (Fault("missing_slot", "2"),)


def pairs(*answers: str) -> list[Example]:
    return [Example(str(n), "", {"match": (answer,)}) for n, answer in enumerate(answers)]


def said(*answers: str) -> list[Parsed]:
    return [Parsed({"match": (answer,)} if answer else {}) for answer in answers]


def test_against_scikit_learn():
    draw = random.Random(3)
    gold, predicted = ([draw.choice(["yes", "no", "no", "no"]) for _ in range(200)] for _ in range(2))
    scores = metrics.score(MATCHING, pairs(*gold), said(*predicted))
    expected = reference.precision_recall_fscore_support(gold, predicted, pos_label="yes", average="binary")
    assert [scores[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(expected[:3]))
    assert scores["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))


def test_no_throughout_has_accuracy_and_no_f1():
    gold = ["yes"] + ["no"] * 9
    scores = metrics.score(MATCHING, pairs(*gold), said(*["no"] * 10))
    assert (scores["f1"], scores["precision"], scores["recall"], scores["accuracy"]) == (0.0, 0.0, 0.0, 0.9)


def test_no_answer_is_no_no():
    scores = metrics.score(MATCHING, pairs("no", "no", "yes", "yes"), said("no", "", "", "yes"))
    assert (scores["accuracy"], scores["recall"], scores["precision"]) == (0.5, 0.5, 1.0)


def test_without_positives_a_no_to_all_is_the_maximum():
    assert metrics.score(MATCHING, pairs("no", "no"), said("no", "no"))["f1"] == 1.0
    assert metrics.score(MATCHING, pairs("no", "no"), said("yes", "no"))["f1"] == 0.0


def test_what_was_not_asked_counts_for_nothing():
    full, partial = Example("1", "", {"1": ("yes",), "2": ("no",)}), Example("2", "", {"1": ("yes",)})
    right = [Parsed(full.answer), Parsed({"1": ("yes",), "2": ("yes",)})]  # a yes to a number that was not there
    assert metrics.score(BATCH, [full, partial], right)["f1"] == 1.0
    assert metrics.score(BATCH, [full, partial], right)["accuracy"] == 1.0
    scores = metrics.score(BATCH, [full, partial], [Parsed({"1": ("yes",)}), Parsed({})])
    assert (scores["accuracy"], scores["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert scores["recall/1"] == 0.5


def test_of_free_values_too():
    task = get_task("imputation:batch=2")
    partial = Example("1", "", {"1": ("Tarsin",)})
    assert metrics.score(task, [partial], [Parsed({})])["accuracy"] == 0.0
    assert metrics.score(task, [partial], [Parsed({"1": ("tarsin",), "2": ("x",)})])["accuracy"] == 1.0


def test_a_faulty_completion_is_all_wrong_in_the_strict_twin():
    example = Example("1", "", {"1": ("yes",), "2": ("no",)})
    scores = metrics.score(BATCH, [example, example], [Parsed(example.answer, FAULT), Parsed(example.answer)])
    assert (scores["f1"], scores["accuracy"]) == (1.0, 1.0)
    assert (scores["precision_strict"], scores["recall_strict"], scores["accuracy_strict"]) == (0.5, 0.5, 0.5)


def test_metrics_of_the_tasks():
    assert {name: get_task(name).objective for name in ("matching", "errors", "schema", "imputation")} == {
        "matching": "f1", "errors": "f1", "schema": "f1", "imputation": "accuracy",
    }  # fmt: skip
    assert {"f1/1", "f1/2", "f1_strict", "precision_strict"} <= {*metrics.metric_names(BATCH)}
