"""Public data sets, read where they lie (`realdata`): counts, answers within the slots, spans within the text."""

from __future__ import annotations

from collections import Counter

import pytest

from sde_ray import data, metrics
from sde_ray.data.entityquestions import LOCATION, read_templates, subject
from sde_ray.data.record_values import plain_record
from sde_ray.errors import UserError
from sde_ray.tasks import get_task
from sde_ray.types import Parsed

pytestmark = pytest.mark.realdata


@pytest.fixture
def folder(realdata):
    found = realdata / "data"
    if not found.is_dir():
        pytest.skip(f"no real data at {found}")
    return found


def mentions(examples):
    return Counter(slot for example in examples for values in [example.answer] for slot in values for _ in values[slot])


def test_mams(folder):
    train = data.load_mams(folder / "mams/MAMS-ACSA/train.xml")
    dev = data.load_mams(folder / "mams/MAMS-ACSA/val.xml")
    assert (len(train), len(dev)) == (3149, 400)
    assert mentions(train) == {
        "food": 2307,
        "staff": 1383,
        "miscellaneous": 954,
        "place": 694,
        "service": 631,
        "menu": 475,
        "ambience": 324,
        "price": 322,
    }
    labels = Counter(value for example in train for (value,) in example.answer.values())
    assert labels == {"neutral": 3077, "negative": 2084, "positive": 1929}
    with pytest.raises(UserError, match="MAMS-ATSA"):
        data.load_mams(folder / "mams/MAMS-ATSA/val.xml")


def test_asap(folder):
    train = data.load_asap(folder / "asap/train_sample.csv")
    assert (len(train), len(data.load_asap(folder / "asap/dev_sample.csv"))) == (100, 100)
    labels = Counter(value for example in train for (value,) in example.answer.values())
    assert labels == {"正面": 345, "中性": 163, "负面": 89}
    assert max(len(example.text) for example in train) == 1568


def test_genia(folder):
    train, dev = data.load_genia(folder / "genia/train.jsonl"), data.load_genia(folder / "genia/dev.jsonl")
    assert (len(train), len(dev)) == (7697, 1765)
    assert mentions(train) == {"protein": 15850, "DNA": 4590, "cell_type": 2965, "cell_line": 1664, "RNA": 398}
    assert mentions(dev) == {"protein": 2466, "DNA": 1161, "cell_type": 576, "cell_line": 372, "RNA": 139}
    assert sum(not example.answer for example in train) == 526
    for example in (*train, *dev):
        assert all(span in example.text for spans in example.answer.values() for span in spans)


def test_phee(folder):
    train, dev = data.load_phee(folder / "phee/train.json"), data.load_phee(folder / "phee/dev.json")
    assert (len(train), len(dev)) == (2898, 961)
    assert mentions(train) == {
        "Adverse_event": 2697,
        "Potential_therapeutic_event": 292,
    }  # 3004 events, some share a trigger
    for example in (*train, *dev):
        assert example.answer
        assert all(span in example.text for spans in example.answer.values() for span in spans)


def test_phee_arguments(folder):
    task = get_task(f"events:phee_arguments@{folder / 'phee'}")
    dev = task.load("dev")
    records = [plain_record(text) for example in dev for texts in example.answer.values() for text in texts]
    assert (len(dev), len(records)) == (961, 1003)  # every event, also those that share a trigger
    assert Counter(role for record in records for role in record) == {
        "trigger": 1003,
        "treatment": 1003,
        "effect": 909,
        "subject": 516,
    }
    assert metrics.score(task, dev, [Parsed(example.answer) for example in dev])["record_f1"] == 1


def test_entityquestions(folder):
    root = folder / "entityquestions"
    dev = data.load_entityquestions(root / "dev")
    assert len(dev) == 13694
    location = data.load_entityquestions(root / "dev", relations=LOCATION)
    assert {example.id.split(".")[0] for example in location} == set(LOCATION)
    templates = read_templates(root / "relation_query_templates.json")
    assert all(subject(example.text, templates[example.id.split(".")[0]]) for example in dev)


@pytest.mark.parametrize(
    ("section", "sizes"),
    [
        ({"format": "mams", "path": "mams/MAMS-ACSA"}, (2835, 400, 314)),
        ({"format": "asap", "path": "asap"}, (90, 100, 10)),
        ({"format": "genia", "path": "genia"}, (6928, 1765, 769)),
        ({"format": "phee", "path": "phee"}, (2609, 961, 289)),
        ({"format": "entityquestions", "path": "entityquestions", "relations": ["P36"]}, None),
    ],
    ids=lambda value: value.get("format") if isinstance(value, dict) else "",
)
def test_splits_share_no_text_and_gold_scores_the_maximum(folder, section, sizes):
    source = data.open_dataset(section, folder)
    splits = {split: source(split) for split in ("train", "dev", "test")}
    texts = {split: {" ".join(e.text.casefold().split()) for e in found} for split, found in splits.items()}
    assert not texts["train"] & texts["dev"]
    assert not (texts["train"] | texts["dev"]) & texts["test"]
    assert sizes is None or tuple(map(len, splits.values())) == sizes
    for example in splits["dev"]:
        assert set(example.answer) <= set(source.schema.slots)
        assert all(e in source.schema.labels for v in example.answer.values() for e in v) or not source.schema.labels
    scores = metrics.score(_task(source), splits["dev"], [Parsed(example.answer) for example in splits["dev"]])
    assert set(scores.values()) == {1.0}


def _task(source):
    from sde_ray.types import PromptNouns, Task

    schema = source.schema
    return Task(
        name="real",
        kind=schema.kind,
        language="en",
        slots=schema.slots,
        nouns=PromptNouns(),
        instructions=("",),
        metrics=(),
        objective="",
        load=source,
        labels=schema.labels or None,
        placeholder=schema.placeholder,
    )


def test_overlapping_questions_stay_in_dev(folder):
    """58 questions on capitals stand in train and dev (two places of one name)."""
    source = data.open_dataset({"format": "entityquestions", "path": "entityquestions", "relations": ["P36"]}, folder)
    assert len(source("dev")) == 885
    assert source.splits().dropped[0].startswith("train: ")
