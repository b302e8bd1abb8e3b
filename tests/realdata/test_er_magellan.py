"""Magellan's sets for entity matching, read where they lie (`realdata`): counts, imbalance, pairs in either order."""

from __future__ import annotations

from collections import Counter

import pytest

from sde_ray import metrics
from sde_ray.data.batches import split_texts
from sde_ray.data.magellan import MAGELLAN
from sde_ray.design import designs
from sde_ray.design.render import parse_completion, render_sample
from sde_ray.tasks import get_task
from sde_ray.types import Parsed

pytestmark = pytest.mark.realdata
SETS = {  # pairs and matches, of train and dev
    "Beer": ((268, 40), (91, 14)),
    "iTunes-Amazon": ((321, 78), (109, 27)),
    "Fodors-Zagats": ((567, 66), (190, 22)),
}


@pytest.fixture(params=SETS)
def name(request):
    return request.param


@pytest.fixture
def folder(realdata, name):
    found = realdata / "data/er_magellan" / name
    if not found.is_dir():
        pytest.skip(f"no real data at {found}")
    return found


def test_pairs_and_matches(folder, name):
    for file, counts in zip(("train.txt", "valid.txt"), SETS[name], strict=True):
        examples = MAGELLAN(folder / file)
        matches = sum(example.answer["match"] == ("yes",) for example in examples)
        assert (len(examples), matches) == counts
        assert all(example.text.startswith("A: [") and "\nB: [" in example.text for example in examples)


def test_both_records_have_the_same_attributes(folder):
    for example in MAGELLAN(folder / "train.txt"):
        a, b = example.text.split("\n")
        names = [[part.partition(":")[0] for part in side[4:-1].split('", ')] for side in (a, b)]
        assert len(names[0]) > 1 and names[0][0] == names[1][0]


def test_no_throughout_has_a_high_accuracy_and_no_f1(folder):
    task = get_task(f"matching@{folder}")
    dev = task.load("dev")
    scores = metrics.score(task, dev, [Parsed({"match": ("no",)}) for _ in dev])
    assert scores["accuracy"] > 0.74 and scores["f1"] == scores["recall"] == 0.0
    assert set(metrics.score(task, dev, [Parsed(example.answer) for example in dev]).values()) == {1.0}


def test_batches_hold_the_pairs_of_the_split(folder):
    single, batch = get_task(f"matching@{folder}"), get_task(f"matching:batch=4@{folder}")
    answers = Counter((example.text, *example.answer["match"]) for example in single.load("dev"))
    asked = [
        (text, *example.answer[number])
        for example in batch.load("dev")
        for number, text in split_texts(example.text).items()
    ]
    assert Counter(asked) == answers
    design = designs.make_design(format="lines", labels="number")
    for example in batch.load("dev"):
        written = render_sample(example, batch, design).completion.text
        assert parse_completion(written, batch, design) == Parsed(example.answer)


def test_attributes_and_sentences(folder):
    first = MAGELLAN(folder / "train.txt")[0].text
    attribute = first[len("A: [") :].partition(":")[0]
    task = get_task(f"matching:serialization=sentences,attributes={attribute}@{folder}")
    assert all(example.text.startswith(f"A: {attribute}: ") for example in task.load("dev"))
