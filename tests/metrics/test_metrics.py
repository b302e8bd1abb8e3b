"""Metrics: published values, the laws (gold scores the maximum, soft >= plain, order is nothing), and the bootstrap."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sklearn import metrics as reference

from sde_ray import metrics
from sde_ray.errors import UserError
from sde_ray.metrics.span_matching import contains, count_matches, is_near, is_near_and_within, words
from sde_ray.plugins import trust_code
from sde_ray.types import Example, Fault, Parsed, PromptNouns, Task

PAPER = [[92, 1, 2, 5], [12, 3, 4, 3], [5, 0, 7, 3], [4, 0, 1, 158]]
LABELS = ("positive", "neutral", "negative")
FAULT = (Fault("syntax"),)


def task(kind="label", slots=("food", "staff"), labels=LABELS, numbers=None, **changes):
    sentiment = {"positive": "1", "neutral": "0", "negative": "-1", "unmentioned": "-2"}
    fields = {
        "name": "t",
        "kind": kind,
        "language": "en",
        "slots": slots,
        "nouns": PromptNouns(),
        "instructions": ("{slots}",),
        "metrics": (),
        "objective": "accuracy",
        "load": lambda split: [],
        "labels": labels if kind == "label" else None,
        "numbers": sentiment if numbers is None else numbers,
        "placeholder": "unmentioned",
    }
    return Task(**{**fields, **changes})


def one(answer, **fields):
    return Example(id="1", text="", answer=answer, **fields)


def from_matrix(matrix, labels=LABELS):
    """Examples and parsed completions of one slot whose confusion matrix is `matrix`."""
    answers = [{"food": (label,)} for label in labels] + [{}]
    cells = [(i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) for _ in range(n)]
    return [one(answers[i]) for i, _ in cells], [Parsed(answers[j]) for _, j in cells]


class TestLabel:
    def test_paper_matrix(self):
        scores = metrics.score(task(slots=("food",)), *from_matrix(PAPER))
        assert scores["weighted_kappa"] == pytest.approx(0.76391, abs=5e-6)
        assert scores["kappa"] == pytest.approx(0.76404, abs=5e-6)
        assert scores["accuracy"] == pytest.approx(260 / 300)

    def test_matrix_is_matched_to_labels_by_number_not_by_place(self):
        order = [2, 0, 1, 3]  # negative, positive, neutral, unmentioned
        turned = [[PAPER[i][j] for j in order] for i in order]
        labels = ("negative", "positive", "neutral")
        scores = metrics.score(task(slots=("food",), labels=labels), *from_matrix(turned, labels))
        assert scores["weighted_kappa"] == pytest.approx(0.76391, abs=5e-6)

    def test_weights_are_asymmetric(self):
        """One positive called neutral agrees by 0.5, one neutral called positive by 0.67; by hand, margins (3, 1)."""
        said_neutral = metrics.score(task(slots=("food",)), *from_matrix([[2, 1, 0, 0], [0, 1, 0, 0], *[[0] * 4] * 2]))
        gold_neutral = metrics.score(task(slots=("food",)), *from_matrix([[2, 0, 0, 0], [1, 1, 0, 0], *[[0] * 4] * 2]))
        chance = (6 + 0.5 * 6 + 0.67 * 2 + 2) / 16
        assert said_neutral["weighted_kappa"] == pytest.approx((3.5 / 4 - chance) / (1 - chance))
        chance = (6 + 0.5 * 2 + 0.67 * 6 + 2) / 16
        assert gold_neutral["weighted_kappa"] == pytest.approx((3.67 / 4 - chance) / (1 - chance))
        assert said_neutral["kappa"] == gold_neutral["kappa"] == 0.5

    def test_pooled_over_slots_and_by_slot(self):
        examples = [one({"food": ("positive",)}), one({"staff": ("negative",)})]
        parsed = [Parsed({"food": ("positive",), "staff": ("positive",)}), Parsed({"staff": ("negative",)})]
        scores = metrics.score(task(), examples, parsed)
        assert scores["accuracy"] == 0.75
        assert scores["accuracy/food"] == 1.0
        assert scores["accuracy/staff"] == 0.5
        assert scores["sentence_accuracy"] == 0.5
        assert scores["weighted_kappa/food"] == 1.0
        assert "sentence_accuracy/food" not in scores

    def test_against_scikit_learn(self):
        rng = random.Random(3)
        classes = [*LABELS, "unmentioned"]
        gold = [rng.choice(classes) for _ in range(200)]
        said = [g if rng.random() < 0.6 else rng.choice(classes[:3]) for g in gold]
        answer = {c: {"food": (c,)} for c in LABELS} | {"unmentioned": {}}
        scores = metrics.score(task(slots=("food",)), [one(answer[g]) for g in gold], [Parsed(answer[s]) for s in said])
        assert scores["kappa"] == pytest.approx(reference.cohen_kappa_score(gold, said))
        assert scores["macro_f1"] == pytest.approx(reference.f1_score(gold, said, average="macro"))

    def test_one_class_only(self):
        same = metrics.score(task(), [one({})] * 3, [Parsed({})] * 3)
        assert same["kappa"] == same["weighted_kappa"] == same["macro_f1"] == 1.0
        other = metrics.score(task(), [one({})] * 3, [Parsed({"food": ("positive",), "staff": ("positive",)})] * 3)
        assert other["kappa"] == other["macro_f1"] == 0.0

    def test_empty_faulty_output_earns_nothing_in_the_strict_twin(self):
        examples = [one({})] * 9 + [one({"food": ("positive",)})]
        scores = metrics.score(task(), examples, [Parsed({}, FAULT)] * 10)
        assert scores["accuracy"] == 19 / 20
        for name in ("weighted_kappa", "kappa", "accuracy", "sentence_accuracy", "macro_f1"):
            assert scores[f"{name}_strict"] == 0.0
        assert scores["format_adherence"] == 0.0

    def test_strict_twin_lies_between(self):
        examples, parsed = from_matrix(PAPER)
        faulty = [Parsed(p.answer, FAULT) if i % 10 == 0 else p for i, p in enumerate(parsed)]
        scores = metrics.score(task(slots=("food",)), examples, faulty)
        assert 0 < scores["weighted_kappa_strict"] < scores["weighted_kappa"]
        assert scores["format_adherence"] == 0.9

    def test_other_labels_have_identity_weights(self):
        yes_no = task(slots=("spam",), labels=("yes", "no"), numbers={"yes": "1", "no": "0"})
        parsed = [Parsed({"spam": (v,)}) for v in ("yes", "no", "no", "yes")]
        examples = [one({"spam": (v,)}) for v in ("yes", "no", "yes", "yes")]
        scores = metrics.score(yes_no, examples, parsed)
        assert scores["weighted_kappa"] == scores["kappa"] == pytest.approx(0.5)

    def test_confusion(self):
        cells = metrics.confusion(task(slots=("food",)), *from_matrix(PAPER))
        assert cells[0].tolist() == PAPER


class TestSpan:
    ner = task("span", slots=("DNA", "protein"))

    def test_micro_counts(self):
        examples = [one({"DNA": ("IL-2 gene", "kappa B site"), "protein": ("IL-2",)})]
        parsed = [Parsed({"DNA": ("il-2  GENE",), "protein": ("NF-kB", "kappa B site")})]
        scores = metrics.score(self.ner, examples, parsed)
        assert scores["precision"] == pytest.approx(1 / 3)
        assert scores["recall"] == pytest.approx(1 / 3)
        assert scores["f1/DNA"] == pytest.approx(2 / 3)
        assert scores["f1/protein"] == 0.0

    def test_published_counts(self):
        """TP 67, FP 35, FN 80 give the published P .6569, R .4558, F1 .5382 (PAPER.md 1.11)."""
        events = task("span", slots=("Attack", "Motion"), span_match="near")
        examples = [one({"Attack": ("raid",) * 67, "Motion": ("flew",) * 80})]
        scores = metrics.score(events, examples, [Parsed({"Attack": ("raid",) * 67 + ("xyz",) * 35})])
        assert scores["precision"] == pytest.approx(0.6569, abs=5e-5)
        assert scores["recall"] == pytest.approx(0.4558, abs=5e-5)
        assert scores["f1"] == pytest.approx(0.5382, abs=5e-5)
        assert scores["f1_soft"] == scores["f1"]

    def test_one_prediction_matches_one_gold_only(self):
        events = task("span", slots=("Attack",), span_match="near")
        scores = metrics.score(
            events, [one({"Attack": ("attacked",)})], [Parsed({"Attack": ("attack", "attacks", "attacking")})]
        )
        assert scores["recall_soft"] == 1.0
        assert scores["precision_soft"] == pytest.approx(1 / 3)
        scores = metrics.score(events, [one({"Attack": ("attack", "attacks")})], [Parsed({"Attack": ("attack",)})])
        assert scores["recall_soft"] == scores["recall"] == 0.5

    def test_duplicates_by_counts(self):
        examples = [one({"DNA": ("IL-2", "IL-2")})]
        assert metrics.score(self.ner, examples, [Parsed({"DNA": ("IL-2",)})])["recall"] == 0.5
        assert metrics.score(self.ner, examples, [Parsed({"DNA": ("IL-2",) * 4})])["precision"] == 0.5

    def test_soft_rules_differ(self):
        gold = one({"DNA": ("promoter",), "protein": ("NF-kappa B",)})
        said = Parsed({"DNA": ("promotion",), "protein": ("kappa B",)})
        entities = metrics.score(self.ner, [gold], [said])
        events = metrics.score(task("span", slots=("DNA", "protein"), span_match="near"), [gold], [said])
        assert (entities["f1"], entities["f1_soft"], events["f1_soft"]) == (0.0, 0.5, 1.0)

    def test_the_matching_is_the_largest(self):
        """A greedy matching would give "abc" to "abcd" and leave "abcdx" alone."""
        assert count_matches(["abcd", "abc"], ["abc", "abcdx"], is_near_and_within) == 2
        assert count_matches(["abc"], [], is_near) == count_matches([], ["abc"], is_near) == 0

    def test_no_gold_event_does_not_crash(self):
        scores = metrics.score(self.ner, [one({})], [Parsed({"DNA": ("x",)})])
        assert scores["precision_soft"] == scores["recall_soft"] == scores["f1_soft"] == 0.0

    def test_faulty_and_empty_is_wrong_in_the_strict_twin(self):
        examples, parsed = [one({}), one({"DNA": ("x",)})], [Parsed({}, FAULT), Parsed({"DNA": ("x",)})]
        scores = metrics.score(self.ner, examples, parsed)
        assert scores["f1"] == 1.0
        assert scores["f1_strict"] == pytest.approx(2 / 3)
        assert scores["precision_strict"] == 0.5


class TestFree:
    qa = task("free", slots=("answer",))

    @pytest.mark.parametrize(
        ("said", "exact", "accuracy", "substring"),
        [
            ("Iran", 1, 1, 1),
            ("the  IRAN.", 1, 1, 1),
            ("Persia", 1, 1, 1),
            ("It is in Iran, Asia", 0, 1, 1),
            ("Iranian", 0, 0, 1),
            ("Iraq", 0, 0, 0),
            (None, 0, 0, 0),
        ],
    )
    def test_answers(self, said, exact, accuracy, substring):
        example = one({"answer": ("Iran",)}, aliases={"answer": ("Persia",)})
        scores = metrics.score(self.qa, [example], [Parsed({"answer": (said,)} if said else {})])
        assert (scores["exact_match"], scores["accuracy"], scores["substring"]) == (exact, accuracy, substring)

    def test_words(self):
        assert words("The New-York, Times") == ("new", "york", "times")
        assert words("the") == ("the",)
        assert words("!!!") == ("!!!",)
        assert contains(words("他住在北京市"), words("北京"))
        assert not contains(words("Romania"), words("Oman"))

    def test_an_absent_answer(self):
        assert metrics.score(self.qa, [one({})], [Parsed({})])["accuracy"] == 1.0
        assert metrics.score(self.qa, [one({})], [Parsed({"answer": ("x",)})])["accuracy"] == 0.0

    def test_strict(self):
        scores = metrics.score(self.qa, [one({"answer": ("x",)})], [Parsed({"answer": ("x",)}, FAULT)])
        assert (scores["exact_match"], scores["exact_match_strict"], scores["accuracy_strict"]) == (1.0, 0.0, 0.0)


WORDS = ["IL-2", "il-2", "IL-2 gene", "gene", "raid", "raids", "", " ", "北京", "!", "none"]
KINDS = [
    task(),
    task(labels=("yes", "no"), numbers={}),
    task("span", slots=("DNA", "RNA")),
    task("span", slots=("DNA",), span_match="near"),
    task("free", slots=("answer",)),
    task("free", slots=("who", "when")),
    task("free", slots=("1", "2"), answered=True),
    task(slots=("1", "2"), labels=("yes", "no"), numbers={}, positive="yes", answered=True),
    task(slots=("match",), labels=("yes", "no"), numbers={}, positive="yes", answered=True),
]


def random_answer(of, rng):
    if of.kind == "label":
        return {slot: (rng.choice(of.labels),) for slot in of.slots if rng.random() < 0.6}
    size = {"span": 4, "free": 1}[of.kind]
    answer = {slot: tuple(rng.choices(WORDS, k=rng.randint(0, size))) for slot in of.slots}
    return {slot: values for slot, values in answer.items() if values}


def random_case(of, seed, size=30):
    rng = random.Random(seed)
    examples = [one(random_answer(of, rng)) for _ in range(size)]
    parsed = [Parsed(random_answer(of, rng), FAULT if rng.random() < 0.2 else ()) for _ in range(size)]
    return examples, parsed


def kind_id(of):
    return f"{of.kind}{len(of.slots)}{of.span_match}{of.positive}{'answered' * of.answered}"


@pytest.mark.parametrize("of", KINDS, ids=kind_id)
@pytest.mark.parametrize("seed", range(8))
class TestLaws:
    def test_gold_scores_the_maximum(self, of, seed):
        examples, _ = random_case(of, seed)
        scores = metrics.score(of, examples, [Parsed(example.answer) for example in examples])
        assert set(scores.values()) == {1.0}, {k: v for k, v in scores.items() if v != 1.0}

    def test_no_completion_scores_more_and_all_is_finite(self, of, seed):
        scores = metrics.score(of, *random_case(of, seed))
        assert all(math.isfinite(value) and value <= 1.0 for value in scores.values())

    def test_soft_is_never_below_plain_nor_strict_above_it(self, of, seed):
        scores = metrics.score(of, *random_case(of, seed))
        for name in ("precision", "recall", "f1"):
            assert scores.get(f"{name}_soft", 1.0) >= scores.get(name, 0.0)
        for name in ("accuracy", "exact_match", "f1", "precision", "recall", "sentence_accuracy"):
            assert scores.get(f"{name}_strict", 0.0) <= scores.get(name, 1.0)

    def test_order_of_items_is_nothing(self, of, seed):
        examples, parsed = random_case(of, seed)
        order = random.Random(seed + 100).sample(range(len(examples)), len(examples))
        turned = metrics.score(of, [examples[i] for i in order], [parsed[i] for i in order])
        assert turned == pytest.approx(metrics.score(of, examples, parsed))

    def test_a_resample_is_a_product_with_the_rows(self, of, seed):
        examples, parsed = random_case(of, seed)
        rows = metrics.item_statistics(of, examples, parsed)
        rng = np.random.default_rng(seed)
        draws = rng.integers(0, len(examples), size=(3, len(examples)))
        weights = np.stack([np.bincount(draw, minlength=len(examples)) for draw in draws])
        again = [metrics.score(of, [examples[i] for i in draw], [parsed[i] for i in draw]) for draw in draws]
        for name in metrics.metric_names(of):
            values = metrics.objective_from_items(of, name, weights @ rows)
            assert values == pytest.approx([scores[name] for scores in again]), name


@pytest.mark.parametrize("of", KINDS, ids=kind_id)
def test_no_examples_and_no_answers(of):
    assert set(metrics.score(of, [], []).values()) == {0.0}
    assert metrics.item_statistics(of, [], []).shape[0] == 0
    value = of.labels[0] if of.labels else "IL-2"
    scores = metrics.score(of, [one({of.slots[0]: (value,)})], [Parsed({}, FAULT)])
    assert all(math.isfinite(value) for value in scores.values())


def test_fault_counts():
    parsed = [Parsed({}, (Fault("syntax"), Fault("empty"))), Parsed({}), Parsed({}, (Fault("syntax"),))]
    assert metrics.fault_counts(parsed) == {"syntax": 2, "empty": 1}


def test_unknown_metric_is_told_the_near_one():
    with pytest.raises(UserError, match='Unknown metric of the task t "recal".*Did you mean "recall"'):
        metrics.check_metric(TestSpan.ner, "recal")
    with pytest.raises(UserError, match='Did you mean "weighted_kappa/food"'):
        metrics.objective_from_items(task(), "weighted_kappa/fod", np.zeros(3))


def shouting(task, example, parsed):
    """A metric from outside: the share of items answered in capitals."""
    return float(any(value.isupper() for values in parsed.answer.values() for value in values))


def test_metric_from_outside(monkeypatch):
    trust_code(__name__)
    name = f"{__name__}:shouting"
    of = task("free", slots=("answer",), metrics=("accuracy", name))
    parsed = [Parsed({"answer": ("YES",)}), Parsed({"answer": ("no",)})]
    examples = [one({"answer": ("yes",)})] * 2
    assert metrics.score(of, examples, parsed)[name] == 0.5
    with pytest.raises(UserError, match='Cannot import "nowhere.at"'):
        metrics.score(task(metrics=("nowhere.at:ALL",)), [], [])


def test_the_packages_events_are_matched_by_the_events_rule():
    from sde_ray.tasks import TASKS

    assert {task.name for task in TASKS.values() if task.span_match == "near"} == {"events", "events:phee"}
