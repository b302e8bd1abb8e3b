"""Metrics of tasks whose slots have labels of their own, several labels, or numbers: against scikit-learn, and laws."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.preprocessing import MultiLabelBinarizer

from sde_ray import metrics
from sde_ray.errors import UserError
from sde_ray.metrics import confusion, metric_bounds, metric_names, score
from sde_ray.testing.tasks import ALL, PRICES, REVIEWS, STARS, TAGS, TICKETS, TOPICS
from sde_ray.types import Answer, Example, Fault, Parsed, Task

OWN = [task for task, _ in ALL if task in (TICKETS, TOPICS, TAGS, STARS, PRICES)]
NUMBERS = replace(STARS, slots=("stars",), slot_labels={}, labels=("1", "2", "4"))  # one list of numbers for all slots
WIDE = replace(NUMBERS, slots=("stars", "mark"))
RATED = replace(PRICES, ranges=dict.fromkeys(PRICES.slots, (0.0, 1000.0)))
EVERY = [*OWN, NUMBERS, WIDE, RATED]


def random_answer(task: Task, chance: random.Random) -> Answer:
    answer = {}
    for slot in task.slots:
        labels = task.labels_of(slot) or ("1", "2.5", "12 km", "900", "1e9", "-1")
        count = chance.randint(0, len(labels)) if slot in task.multilabel else chance.randint(0, 1)
        if count:
            answer[slot] = tuple(chance.sample(labels, count))
    return answer


def random_case(task: Task, seed: int, size: int = 60) -> tuple[list[Example], list[Parsed]]:
    chance = random.Random(seed)
    examples = [Example(str(n), "", random_answer(task, chance)) for n in range(size)]
    faults = [(), (), (Fault("syntax"),)]
    return examples, [Parsed(random_answer(task, chance), chance.choice(faults)) for _ in range(size)]


def column(task: Task, answers: list[Answer], slot: str) -> list[str]:
    return [next(iter(answer.get(slot, ())), task.placeholder) for answer in answers]


@pytest.mark.parametrize("seed", range(4))
def test_labels_by_slot_as_scikit_learn_has_them(seed):
    examples, parsed = random_case(TICKETS, seed)
    scores = score(TICKETS, examples, parsed)
    kappas, f1s = [], []
    for slot in TICKETS.slots:
        gold = column(TICKETS, [e.answer for e in examples], slot)
        predicted = column(TICKETS, [p.answer for p in parsed], slot)
        kappas.append(reference.cohen_kappa_score(gold, predicted))
        f1s.append(reference.f1_score(gold, predicted, average="macro", zero_division=0))
        assert scores[f"kappa/{slot}"] == pytest.approx(kappas[-1])
        assert scores[f"macro_f1/{slot}"] == pytest.approx(f1s[-1])
        assert scores[f"accuracy/{slot}"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert scores["macro_kappa"] == pytest.approx(np.mean(kappas))
    assert scores["macro_f1"] == pytest.approx(np.mean(f1s))
    assert scores["accuracy"] == pytest.approx(np.mean([scores[f"accuracy/{slot}"] for slot in TICKETS.slots]))


def test_a_word_that_two_slots_share_is_not_mixed():
    """All slots say "low"; gold of one never counts for another, and a slot's own prior earns no kappa."""
    always = [Example(str(n), "", {"urgency": ("low",), "product": ("low",), "mood: now": ("low",)}) for n in range(8)]
    crossed = [Parsed({"urgency": ("high",), "product": ("low",), "mood: now": ("low",)}) for _ in range(8)]
    scores = score(TICKETS, always, crossed)
    assert scores["accuracy/urgency"] == 0 and scores["accuracy"] == pytest.approx(2 / 3)
    # Pooled over one list, three always-same slots would have chance agreement far below 1.
    mixed = [Example(str(n), "", {"urgency": ("low",), "product": ("app",)}) for n in range(8)]
    assert score(TICKETS, mixed, [Parsed({"urgency": ("low",), "product": ("high",)})] * 8)["kappa"] == 0.0
    assert "weighted_kappa" not in metric_names(TICKETS)


def test_one_shared_list_by_slot_has_the_accuracy_of_that_list():
    by_slot = replace(REVIEWS, slot_labels=dict.fromkeys(REVIEWS.slots, REVIEWS.labels))
    examples, parsed = random_case(REVIEWS, 5)
    one, other = score(REVIEWS, examples, parsed), score(by_slot, examples, parsed)
    for name in set(one) & set(other) - {"kappa", "kappa_strict", "macro_f1", "macro_f1_strict"}:
        assert one[name] == pytest.approx(other[name]), name
    assert {name for name in one if "/" in name and "weighted" not in name} <= set(other)


@pytest.mark.parametrize("seed", range(4))
def test_quadratic_weighted_kappa_as_scikit_learn_has_it(seed):
    chance = random.Random(seed)
    values = [("1", "2", "4")[chance.randrange(3)] for _ in range(80)]
    others = [chance.choice([value, chance.choice(("1", "2", "4"))]) for value in values]
    examples = [Example(str(n), "", {"stars": (value,)}) for n, value in enumerate(values)]
    parsed = [Parsed({"stars": (value,)}) for value in others]
    # scikit-learn weighs by the place in the list: 1, 2, 4 with 3 in the list, which nobody uses.
    expected = reference.cohen_kappa_score(
        [int(v) for v in values], [int(v) for v in others], weights="quadratic", labels=[1, 2, 3, 4]
    )
    assert score(NUMBERS, examples, parsed)["quadratic_weighted_kappa"] == pytest.approx(expected)
    by_slot = replace(STARS, slot_labels={"stars": ("1", "2", "4"), "mark": ("0.5",)})
    assert score(by_slot, examples, parsed)["quadratic_weighted_kappa/stars"] == pytest.approx(expected)


def test_where_quadratic_weights_apply():
    half = replace(TICKETS, slot_labels={**TICKETS.slot_labels, "urgency": ("1", "2", "3")})
    assert "quadratic_weighted_kappa" not in metric_names(half)
    assert [name for name in metric_names(half) if name.startswith("quadratic")] == ["quadratic_weighted_kappa/urgency"]
    examples = [Example("1", "", {"urgency": ("1",)}), Example("2", "", {"urgency": ("3",)})]
    near, far = ([Parsed({"urgency": (one,)}), Parsed({"urgency": ("3",)})] for one in ("2", "3"))
    name = "quadratic_weighted_kappa/urgency"
    assert score(half, examples, near)[name] > score(half, examples, far)[name]
    assert not any("quadratic" in name for name in metric_names(REVIEWS))


@pytest.mark.parametrize("seed", range(4))
def test_several_labels_as_scikit_learn_has_them(seed):
    examples, parsed = random_case(TAGS, seed)
    binarizer = MultiLabelBinarizer(classes=TAGS.labels)
    gold = binarizer.fit_transform([e.answer.get("tag", ()) for e in examples])
    predicted = binarizer.transform([p.answer.get("tag", ()) for p in parsed])
    scores = score(TAGS, examples, parsed)
    assert scores["micro_f1"] == pytest.approx(reference.f1_score(gold, predicted, average="micro"))
    assert scores["macro_f1"] == pytest.approx(reference.f1_score(gold, predicted, average="macro"))
    assert scores["exact_match"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert metric_names(TAGS)[:4] == ("micro_f1", "macro_f1", "exact_match", "sentence_accuracy")


def test_the_order_of_several_labels_is_nothing():
    example, parsed = Example("1", "", {"tag": ("0", "none")}), Parsed({"tag": ("none", "0")})
    assert set(score(TAGS, [example], [parsed]).values()) == {1.0}


def test_a_faulty_answer_to_nothing_costs():
    scores = score(TAGS, [Example("1", "", {})], [Parsed({}, (Fault("syntax"),))])
    assert (scores["micro_f1"], scores["micro_f1_strict"], scores["exact_match_strict"]) == (1.0, 0.0, 0.0)


class TestNumbers:
    @pytest.mark.parametrize(
        ("gold", "said", "error"),
        [
            ("10", "10.0", 0.0),
            ("10", "12", 2.0),
            ("10", "1e9", 990.0),  # no error is larger than the range allows
            ("10", "12 km", 990.0),  # no number: the same
            ("10", None, 990.0),
            ("900", None, 900.0),
            (None, "5", 1000.0),
            (None, None, 0.0),
        ],
    )
    def test_errors(self, gold, said, error):
        answers = [{"price": (value,)} if value else {} for value in (gold, said)]
        scores = score(PRICES, [Example("1", "", answers[0])], [Parsed(answers[1])])
        assert scores["neg_mae/price"] == pytest.approx(-error)
        assert scores["neg_nmae"] == pytest.approx(-error / 1000)
        assert scores["exact_match/price"] == float(error == 0)
        assert scores["parsable"] == float(said not in ("12 km",) and (said is not None or gold is None))

    def test_leaving_out_what_is_hard_does_not_pay(self):
        examples = [Example(str(n), "", {"price": (str(n * 100),)}) for n in range(10)]
        guesses = [Parsed({"price": ("450",)}) for _ in range(10)]
        only_sure = [Parsed({"price": ("0",)}) if n == 0 else Parsed({}) for n in range(10)]
        for name in ("neg_mae/price", "neg_nmae"):
            assert score(PRICES, examples, only_sure)[name] < score(PRICES, examples, guesses)[name]

    def test_slots_of_other_ranges_weigh_the_same_by_range(self):
        examples = [Example("1", "", {"price": ("0",), "share": ("-1",)})]
        scores = score(PRICES, examples, [Parsed({"price": ("500",), "share": ("0",)})])
        assert scores["neg_nmae"] == pytest.approx(-0.5)
        assert "neg_mae" not in scores  # an average of euros and shares is in no unit
        assert "neg_mae" in metric_names(replace(PRICES, ranges={"price": (0.0, 9.0), "share": (0.0, 9.0)}))

    def test_only_where_a_range_is_declared(self):
        plain = replace(PRICES, ranges={}, metrics=("accuracy",))
        assert not any("mae" in name for name in metric_names(plain))
        assert metric_bounds("neg_mae") is None and metric_bounds("neg_nmae") == (-1.0, 0.0)
        with pytest.raises(UserError, match="use neg_mae or neg_nmae, which need the range"):
            metrics.check_metric(plain, "mae")


@pytest.mark.parametrize("task", EVERY, ids=lambda task: f"{task.name}{len(task.slots)}")
@pytest.mark.parametrize("seed", range(4))
class TestLaws:
    def test_gold_scores_the_maximum_and_nothing_scores_more(self, task, seed):
        examples, parsed = random_case(task, seed)
        if task.ranges:
            examples = [replace(e, answer={"price": (f"{n}",)} if n % 3 else {}) for n, e in enumerate(examples)]
        gold = score(task, examples, [Parsed(example.answer) for example in examples])
        highest = {name: 0.0 if name.startswith("neg_") else 1.0 for name in gold}
        assert gold == highest
        for name, value in score(task, examples, parsed).items():
            assert math.isfinite(value) and value <= highest[name] + 1e-12, name

    def test_order_of_items_is_nothing(self, task, seed):
        examples, parsed = random_case(task, seed)
        order = random.Random(seed).sample(range(len(examples)), len(examples))
        turned = score(task, [examples[i] for i in order], [parsed[i] for i in order])
        assert turned == pytest.approx(score(task, examples, parsed))

    def test_strict_is_never_above_plain(self, task, seed):
        scores = score(task, *random_case(task, seed))
        for name in ("accuracy", "exact_match", "micro_f1", "sentence_accuracy", "neg_mae", "neg_nmae"):
            if f"{name}_strict" in scores:
                assert scores[f"{name}_strict"] <= scores[name] + 1e-12, name

    def test_a_resample_is_a_product_with_the_rows(self, task, seed):
        examples, parsed = random_case(task, seed)
        rows = metrics.item_statistics(task, examples, parsed)
        draws = np.random.default_rng(seed).integers(0, len(examples), size=(3, len(examples)))
        weights = np.stack([np.bincount(draw, minlength=len(examples)) for draw in draws])
        again = [score(task, [examples[i] for i in draw], [parsed[i] for i in draw]) for draw in draws]
        for name in metric_names(task):
            values = metrics.objective_from_items(task, name, weights @ rows)
            assert values == pytest.approx([scores[name] for scores in again]), name


@pytest.mark.parametrize("task", EVERY, ids=lambda task: f"{task.name}{len(task.slots)}")
def test_no_examples_and_one_empty_answer(task):
    assert set(score(task, [], []).values()) == {0.0}
    scores = score(task, [Example("1", "", random_answer(task, random.Random(1)))], [Parsed({}, (Fault("empty"),))])
    assert all(math.isfinite(value) for value in scores.values())
    assert set(metric_names(task)) == set(scores)


def test_confusion_of_slots_with_labels_of_their_own():
    examples = [Example("1", "", {"urgency": ("high",), "product": ("low",)}), Example("2", "", {})]
    parsed = [Parsed({"urgency": ("low",), "product": ("low",)}), Parsed({"mood: now": ("[]",)})]
    cells = confusion(TICKETS, examples, parsed)
    assert cells.shape == (3, 4, 4) and cells.sum() == 6
    assert cells[0, 1, 0] == 1 and cells[0, 3, 3] == 1  # urgency: high called low; not mentioned, rightly
    assert cells[1, 2, 2] == 1 and cells[2, 3, 2] == 1
