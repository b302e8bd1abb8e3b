"""What recorded results rest on: the package's tasks, and every sample of their 288 recorded designs, to the letter.

A trial's key holds its task's fingerprint, and a recorded score belongs to the samples that it was trained on. Where a
change to a prompt is meant, the recorded tables of `sde_ray/bench` are made again, and these digests with them.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest

from sde_ray.design.axes import AXES
from sde_ray.design.record_schematic import made_up_record
from sde_ray.design.render import render_sample
from sde_ray.tasks import OPTIONAL, TASKS, fingerprint
from sde_ray.types import Design, Example, RecordField, Task

RECORDED = {
    "instruction": ("first", "last", "none"),
    "input_modeling": ("off",),  # which tokens have loss is no matter of the text
    "format": ("natural", "lines", "json", "pairs"),
    "unmentioned": ("placeholder", "omit"),
    "labels": ("text", "number"),
    "reasoning": ("none", "cot", "rcot"),
}
DIGESTS = {
    "masa:d1": ("bf88576ea09154ee", "d34fe837a18ba470"),
    "masa:d2": ("5974b3c34453b131", "eac73b38805fe9b1"),
    "masa_zh:d1": ("08f2ac0a5ad924d7", "0cda9e514711d830"),
    "masa_zh:d2": ("8a6415a0f48e133a", "439daa69c33b1ed6"),
    "masa_zh:all": ("1079beae1de51302", "f4070471156828df"),
    "mams": ("d652c34a196d5b0a", "68c0b08ef7f83af3"),
    "nested_ner": ("b1c7e663d8781151", "9f4f08e5c828d6b7"),
    "events": ("1480719d85d4bad2", "323e7373bbcd1a54"),
    "events:phee": ("f6d2e7ac9cb378c4", "00428a68edd25bb1"),
    "qa": ("3b6d5df017a608f0", "8fcd3d99a8a84e88"),
    "qa:location": ("18270b0a92a339c5", "8fcd3d99a8a84e88"),
    "qa:other": ("b7a6d1746abd6046", "8fcd3d99a8a84e88"),
    "matching": ("9efa8d721139ee7e", "93cd4431dabad686"),
    "imputation": ("b54e187866aa9d69", "bb802ebbae37122a"),
    "errors": ("a4216ffd4e9d7a98", "2da0e791f59fa999"),
    "schema": ("82cd4a2bc72e658f", "17a706fa03f7f9d1"),
    "events:phee_arguments": ("4f411f04d1b81297", "67e8f3051de07919"),
    "relations:d1": ("5c404a6fc19f64bf", "d13ffa33e81d2bd5"),
    "relations:d2": ("296029551376e160", "990bcb5cf6730e40"),
}
"""Fingerprint of the definition without data, and digest of the samples, by task."""


def without_data(task: Task) -> Task:
    return replace(task, load=lambda split: [])


def samples_digest(task: Task) -> str:
    """Digest of one example, in every recorded design and wording."""
    first = task.slots[0]
    value = made_up_record(task, first) if task.kind == "record" else task.labels[0] if task.labels else "a, b"
    example = Example("1", "The text.", {first: (value,)}, {first: "why, so"})
    digest = hashlib.sha256()
    for options in itertools.product(*(RECORDED[axis] for axis in AXES)):
        design = Design(tuple(zip(AXES, options, strict=True)))
        for variant in range(3):
            sample = render_sample(example, task, design, variant)
            texts = [*(segment.text for segment in sample.prompt), sample.completion.text]
            digest.update("|".join(texts).encode())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", TASKS)
def test_definitions_and_samples_are_those_of_the_recorded_results(name: str) -> None:
    task = TASKS[name]
    assert (fingerprint(without_data(task)), samples_digest(task)) == DIGESTS[name]


def test_what_few_tasks_have_is_in_the_fingerprint_where_it_is_used() -> None:
    task = without_data(TASKS["masa:d1"])
    assert all(not getattr(task, name) for name in OPTIONAL if name not in ("definitions", "label_words"))
    used = [
        replace(task, slot_labels={"food": ("positive", "negative")}),
        replace(task, slot_numbers={"food": {"positive": "7"}}),
        replace(task, multilabel=("food",)),
        replace(task, ranges={"food": (0.0, 1.0)}),
        replace(task, positive="positive"),
        replace(task, answered=True),
        replace(task, numbered=True),
        replace(task, definitions={"food": "what was eaten"}),
        replace(task, fields={"food": (RecordField("dish"),)}),
        replace(task, single=("food",)),
        replace(task, label_words={"": {"positive": "great"}}),
    ]
    assert len({fingerprint(one) for one in (task, *used)}) == 1 + len(OPTIONAL)
    # The package's own came after its recorded results.
    assert task.definitions and fingerprint(replace(task, definitions={}, label_words={})) == fingerprint(task)
