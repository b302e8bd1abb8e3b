"""The bundled data: the same everywhere, splits apart, skewed, answerable from the text."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import pytest

from sde_ray.data import synthetic
from sde_ray.data.record_values import canonical_text, plain_record
from sde_ray.data.synthetic import entities, events, questions, reviews
from sde_ray.data.synthetic.lexicon import ASPECTS, FURTHER
from sde_ray.tasks import get_task

SETS = [
    ("masa", "d1"),
    ("masa", "d2"),
    ("nested_ner", "all"),
    ("events", "all"),
    ("qa", "all"),
    ("relations", "d1"),
    ("relations", "d2"),
]


@pytest.mark.parametrize(("task", "domain"), SETS)
def test_splits_have_their_sizes_and_share_no_text(task: str, domain: str) -> None:
    texts = {split: [example.text for example in synthetic.load(task, domain, split)] for split in synthetic.SIZES}  # type: ignore[arg-type]
    assert {split: len(own) for split, own in texts.items()} == synthetic.SIZES
    assert len(set().union(*map(set, texts.values()))) == sum(synthetic.SIZES.values())


@pytest.mark.parametrize(("task", "domain"), SETS)
def test_a_split_is_the_same_in_every_process(task: str, domain: str) -> None:
    synthetic._splits.cache_clear()
    first = repr(synthetic.load(task, domain, "dev"))
    synthetic._splits.cache_clear()
    assert (
        hashlib.sha256(repr(synthetic.load(task, domain, "dev")).encode()).digest()
        == hashlib.sha256(first.encode()).digest()
    )


@pytest.mark.parametrize("domain", ["d1", "d2"])
def test_labels_are_skewed_and_most_aspects_are_not_mentioned(domain: str) -> None:
    examples = synthetic.load("masa", domain, "train")
    labels = Counter(values[0] for example in examples for values in example.answer.values())
    judged = sum(labels.values()) / (len(examples) * len(synthetic.DOMAINS[domain]))
    assert labels["positive"] > labels["negative"] > 2 * labels["neutral"] > 0
    assert 0.3 < judged < 0.6


@pytest.mark.parametrize("domain", ["d1", "d2"])
def test_evidence_of_a_review_stands_in_its_text(domain: str) -> None:
    for example in synthetic.load("masa", domain, "dev"):
        assert set(example.rationale) == set(example.answer)
        for why in example.rationale.values():
            assert (
                all(part in example.text for part in why.split(" and ") if len(why.split(" and ")) > 1)
                or why in example.text
            )


@pytest.mark.parametrize("task", ["nested_ner", "events"])
def test_mentions_stand_in_the_text(task: str) -> None:
    examples = synthetic.load(task, "all", "train")
    assert all(span in example.text for example in examples for spans in example.answer.values() for span in spans)
    empty = sum(not example.answer for example in examples) / len(examples)
    assert 0.01 < empty < 0.25


@pytest.mark.parametrize("name", ["relations:d1", "relations:d2"])
def test_relations_stand_in_the_text(name: str) -> None:
    task = get_task(name)
    examples = task.load("train")
    found = Counter()
    for example in examples:
        for text in example.answer.get("relation", ()):
            assert canonical_text(text, task.fields["relation"]) == (text, ())
            record = plain_record(text)
            assert all(str(value) in example.text for key, value in record.items() if key != "relation")
            found[record["relation"], "year" in record] += 1
    assert {label for label, _ in found} == set(task.fields["relation"][1].labels) and min(found.values()) > 100
    assert 0.05 < sum(not example.answer for example in examples) / len(examples) < 0.25


def test_some_entities_are_nested() -> None:
    found = synthetic.load("nested_ner", "all", "train")
    nested = sum(any(p in d for d in e.answer.get("DNA", ()) for p in e.answer.get("protein", ())) for e in found)
    assert nested > len(found) / 10


def test_a_question_is_answered_by_its_passage_or_not_at_all() -> None:
    examples = synthetic.load("qa", "all", "train")
    for example in examples:
        passage = example.text.split(" Question:")[0]
        assert all(value in passage for values in example.answer.values() for value in values)
    assert 0.1 < sum(not e.answer for e in examples) / len(examples) < 0.2


def test_a_word_can_be_good_of_one_aspect_and_bad_of_another() -> None:
    aspects = list(ASPECTS.values())
    both = {word for a in aspects for word in a.good} & {word for a in aspects for word in a.bad}
    assert {"cold", "warm"} <= both


def test_no_subject_belongs_to_two_aspects() -> None:
    subjects = Counter(subject for aspect in {**ASPECTS, **FURTHER}.values() for subject in aspect.subjects)
    assert [subject for subject, count in subjects.items() if count > 1] == []


def test_generators_follow_their_seed() -> None:
    known = list(ASPECTS.values())
    for make in (lambda r: reviews.review(r, known), entities.sentence, events.sentence, questions.question):
        assert make(Random(5)) == make(Random(5))
        assert len({repr(make(Random(seed))) for seed in range(20)}) > 15
