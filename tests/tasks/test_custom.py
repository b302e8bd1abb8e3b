"""A task from YAML alone: what it becomes, its defaults, and every fault told at once."""

from __future__ import annotations

import json
import pickle

import pytest
import yaml

from sde_ray import metrics
from sde_ray.errors import UserError
from sde_ray.tasks.custom import load_task, task_from_yaml
from sde_ray.types import Parsed

REVIEWS = """
name: reviews
kind: label
slots: [food, service]
labels: [positive, neutral, negative]
placeholder: unmentioned
instruction: "Read the {text} {where} and rate {slots}. Ratings: {labels}."
data: {format: jsonl, train: train.jsonl, dev: dev.jsonl, test: test.jsonl}
"""


@pytest.fixture
def folder(tmp_path):
    for number, split in enumerate(("train", "dev", "test")):
        rows = [
            {"id": f"{split}{i}", "text": f"{split} text {i}", "answer": {"food": label, "service": None}}
            for i, label in enumerate(["positive", "negative"] * (number + 1))
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def build(folder, text=REVIEWS, **changes):
    section = {**yaml.safe_load(text), **changes}
    return task_from_yaml({key: value for key, value in section.items() if value is not None}, folder)


def faults(folder, **changes):
    with pytest.raises(UserError) as error:
        build(folder, **changes)
    return str(error.value)


def test_the_task(folder):
    task = build(folder)
    assert (task.name, task.kind, task.language) == ("reviews", "label", "en")
    assert task.slots == ("food", "service")
    assert task.labels == ("positive", "neutral", "negative")
    assert task.numbers == {"positive": "1", "neutral": "0", "negative": "-1", "unmentioned": "-2"}
    assert task.objective == task.metrics[0] == "weighted_kappa"
    assert task.instructions == ("Read the {text} {where} and rate {slots}. Ratings: {labels}.",)
    assert [len(task.load(split)) for split in ("train", "dev", "test")] == [2, 4, 6]
    assert task.load("dev")[1].answer == {"food": ("negative",)}


def test_a_file_with_paths_from_its_own_folder(folder, monkeypatch):
    (folder / "tasks").mkdir()
    (folder / "tasks" / "reviews.yaml").write_text(REVIEWS.replace(": t", ": ../t").replace("dev.", "../dev."))
    monkeypatch.chdir("/")
    assert len(load_task(folder / "tasks" / "reviews.yaml").load("test")) == 6
    (folder / "bad.yaml").write_text(REVIEWS + "name: again")
    with pytest.raises(UserError, match='bad.yaml.* the key "name" stands twice'):
        load_task(folder / "bad.yaml")


def test_reasons_from_a_template(folder):
    """Every mentioned slot gets one, in every split, and at a worker; a reason in the data stays."""
    (folder / "train.jsonl").write_text(
        '{"id": "a", "text": "Good.", "answer": {"food": "positive"}, "rationale": {"food": "tasty"}}\n'
        '{"id": "b", "text": "Bad.", "answer": {"food": "negative", "service": "neutral"}}\n'
    )
    given = {"template": "the {slot} is called {value}"}
    task = pickle.loads(pickle.dumps(build(folder, rationale=given)))  # noqa: S301 - our own bytes
    assert [one.rationale for one in task.load("train")] == [
        {"food": "tasty"},
        {"food": "the food is called negative", "service": "the service is called neutral"},
    ]
    assert task.load("dev")[0].rationale == {"food": "the food is called positive"}
    assert build(folder).load("dev")[0].rationale == {}


@pytest.mark.parametrize(
    ("rationale", "message"),
    [
        ({"template": "{valeu}"}, 'rationale: Template: Unknown place "valeu". Did you mean "value"?'),
        ({"template": "so it is"}, "rationale: The template is the same for every slot"),
        ({"tmplate": "{value}"}, 'rationale names "tmplate". Did you mean "template"?'),
        ({}, "rationale is empty. Give it a template"),
        ("{value}", "expected a mapping"),
    ],
)
def test_a_template_that_cannot_work(folder, rationale, message):
    assert message in faults(folder, rationale=rationale)


def test_it_travels_to_workers(folder):
    task = pickle.loads(pickle.dumps(build(folder)))  # noqa: S301 - our own bytes, as Ray sends them
    assert len(task.load("dev")) == 4


def test_defaults_by_kind_and_language(folder):
    def default(**changes):
        return build(folder, instruction=None, data={"path": "train.jsonl"}, placeholder=None, **changes)

    plain = default(labels=["spam", "ham"])
    assert (plain.numbers, plain.objective, plain.placeholder) == ({}, "kappa", "unmentioned")
    assert len(plain.instructions) == 3
    span = default(kind="span", labels=None)
    assert (span.labels, span.objective, span.placeholder, span.nouns.value) == (None, "f1", "none", "span")
    free = default(kind="free", labels=None)
    assert (free.objective, free.metrics) == ("accuracy", ("accuracy", "exact_match"))
    chinese = default(language="zh", labels=["正面", "中性", "负面"])
    assert chinese.placeholder == "未提及"
    assert chinese.numbers["负面"] == "-1"
    assert metrics.is_sentiment(chinese)
    assert "{slots}" in chinese.instructions[0]


@pytest.mark.parametrize("kind", ["label", "span", "free"])
def test_gold_scores_the_maximum(folder, kind):
    labels = None if kind != "label" else ["positive", "neutral", "negative"]
    task = build(folder, kind=kind, labels=labels)
    examples = task.load("test")
    scores = metrics.score(task, examples, [Parsed(example.answer) for example in examples])
    assert set(scores.values()) == {1.0}
    assert task.objective in scores


def test_any_words_are_slots_and_labels(folder):
    row = {"text": "a", "answer": {"a: b, c": '"yes"', "价格。": "no\nway"}}
    (folder / "odd.jsonl").write_text("".join(json.dumps({**row, "text": text}) + "\n" for text in "abc"))
    labels = ['"yes"', "no\nway", "{x}"]
    task = build(folder, slots=["a: b, c", "价格。"], labels=labels, data={"path": "odd.jsonl"})
    assert task.load("train")[0].answer == {"a: b, c": ('"yes"',), "价格。": ("no\nway",)}


def test_native_formats_serve_a_custom_task(folder):
    text = "<sentences>" + "".join(
        f'<sentence><text>s{i}</text><aspectCategories><aspectCategory category="menu" polarity="positive"/>'
        "</aspectCategories></sentence>"
        for i in range(3)
    )
    (folder / "all.xml").write_text(text + "</sentences>")
    task = build(folder, slots=["food", "menu"], data={"format": "mams", "path": "all.xml"})
    assert task.load("dev")[0].answer == {"menu": ("positive",)}
    assert "MAMS has no slot" in faults_of_load(folder, slots=["menü"])


def faults_of_load(folder, **changes):
    task = build(folder, data={"format": "mams", "path": "all.xml"}, **changes)
    with pytest.raises(UserError) as error:
        task.load("train")
    return str(error.value)


def test_all_faults_are_told_at_once(folder):
    message = faults(
        folder,
        kind="lable",
        language="de",
        slots=["food", "food", True],
        lables=["x"],
        numbers={"positive": 1, "neutral": 1, "neagtive": -1},
        nouns={"slto": "aspect"},
        instruction=["{labelz}", "b", "c", "d"],
        metrics=["kapa"],
        data={"format": "jsonl", "train": "trian.jsonl"},
    )
    for part in [
        'unknown key "lables". Did you mean "labels"?',
        'kind is "lable". Did you mean "label"?',
        'language is "de". Expected one of en, zh.',
        'slots: "food" stands twice',
        "slots: True is no text. Put it in quotes",
        'numbers names "neagtive". Did you mean "negative"?',
        "numbers lacks negative",
        "numbers gives one number to several labels",
        'nouns names "slto". Did you mean "slot"?',
        'unknown place "{labelz}". Did you mean "labels"?',
        "instruction has 4 wordings",
        'Did you mean "kappa"?',
        'Did you mean "train.jsonl"?',
    ]:
        assert part in message, part


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, 'the kind "label" needs labels'),
        ({"kind": "span"}, 'the kind "span" takes no labels'),
        ({"labels": ["positive", "unmentioned"]}, '"unmentioned" is a label and the word for absent slots'),
        ({"slots": None}, 'the key "slots" is missing'),
        ({"name": None}, 'the key "name" is missing'),
        ({"data": None}, 'the key "data" is missing'),
        ({"data": "train.jsonl"}, "data is 'train.jsonl', expected a mapping"),
        ({"objective": "f1"}, 'Unknown metric of the task reviews "f1"'),
        ({"labels": yaml.safe_load("[yes, no]")}, "labels: True is no text"),
    ],
)
def test_one_fault(folder, changes, message):
    assert message in faults(folder, **changes)


def test_names_of_other_versions_are_answered_with_ours(folder):
    message = faults(
        folder,
        absent="unmentioned",
        soft="near",
        nouns={"why": "reason"},
        wordings={"why_first": "First the {rationale}."},
        instruction=["Give the {why}."],
    )
    for part in [
        'unknown key "absent". Use "placeholder" instead.',
        'unknown key "soft". Use "span_match" instead.',
        'nouns names "why". Use "rationale" instead.',
        'wordings names "why_first". Use "rationale_first" instead.',
        'unknown place "{why}". Use "rationale" instead.',
    ]:
        assert part in message, part


def test_a_wrong_label_in_the_data_shows_its_line(folder):
    (folder / "dev.jsonl").write_text(
        '{"text": "x", "answer": {"food": "positive"}}\n{"text": "y", "answer": {"food": "god"}}'
    )
    with pytest.raises(UserError, match='dev.jsonl: 1 fault\n  - line 2: "food" has the unknown label "god"'):
        build(folder).load("dev")


def test_not_a_mapping(folder):
    with pytest.raises(UserError, match="A task in YAML is a mapping"):
        task_from_yaml(["name"], folder)
