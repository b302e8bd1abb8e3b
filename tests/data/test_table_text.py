"""Records as text: both serialisations, attribute selection, missing values; and batches below their numbers."""

from __future__ import annotations

import json
import random
import re

import pytest

from sde_ray.data.batches import batched, join_batch, join_texts, split_texts
from sde_ray.data.records import BadRecord
from sde_ray.data.table_text import RecordStyle, TableItem, write_item, write_record, yes_or_no
from sde_ray.types import Example

MILL = {"name": 'the "old" mill', "city": "Tarsin", "phone": ""}
SENTENCES = RecordStyle("sentences")


def read_pairs(text: str) -> dict[str, str]:
    """The inverse of the serialisation `pairs`: every value is JSON, `nan` is missing."""
    decoder, fields, at = json.JSONDecoder(), {}, 1
    while text[at] != "]":
        if text[at] == '"':
            name, at = decoder.raw_decode(text, at)
        else:
            name, at = text[at : text.index(": ", at)], text.index(": ", at)
        at += len(": ")
        if text.startswith("nan", at):
            value, at = "", at + len("nan")
        else:
            value, at = decoder.raw_decode(text, at)
        fields[name] = value
        at += len(", ") if text[at] == "," else 0
    return fields


def test_the_two_serialisations():
    assert write_record(MILL, RecordStyle()) == '[name: "the \\"old\\" mill", city: "Tarsin", phone: nan]'
    assert write_record(MILL, SENTENCES) == 'name: the "old" mill. city: Tarsin. phone: nan'


def test_attributes_are_chosen_in_the_order_of_the_record():
    assert write_record(MILL, RecordStyle("pairs", ("phone", "city"))) == '[city: "Tarsin", phone: nan]'


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_read_back_whatever_they_hold(seed):
    draw = random.Random(seed)
    pieces = ["a", "nan", '"', "'", ": ", ", ", "]", "[", "\n", "\\", "2:", " ", "。", "é", "\t"]
    words = ["".join(draw.choices(pieces, k=draw.randint(1, 6))) for _ in range(8)]
    fields = dict(zip(words[:4], words[4:], strict=True))
    written = write_record(fields, RecordStyle())
    assert read_pairs(written) == fields
    assert "\n" not in written and "\n" not in write_record(fields, SENTENCES)


def test_an_instance_shows_its_records_and_what_is_asked():
    cell = TableItem("1", (("", MILL),), "yes", cell={"city": "Tarsin"}, rationale="misspelt")
    style = RecordStyle("pairs", ("name",))
    assert write_item(cell, "error", style) == Example(
        "1", '[name: "the \\"old\\" mill"]\nCell: [city: "Tarsin"]', {"error": ("yes",)}, {"error": "misspelt"}
    )
    pair = TableItem("2", (("A", {"x": "1"}), ("B", {"x": ""})), "no")
    assert write_item(pair, "match", SENTENCES).text == "A: x: 1\nB: x: nan"
    row = TableItem("3", (("", {"x": "1"}),), "Tarsin", missing="city\n2:")
    assert write_item(row, "value", SENTENCES).text == "x: 1\nMissing: city 2:"


def test_an_attribute_that_no_record_has_is_told():
    pair = TableItem("2", (("A", {"title": "1"}), ("B", {"year": "2"})), "no")
    assert write_item(pair, "match", RecordStyle("pairs", ("year",))).text == 'A: []\nB: [year: "2"]'
    with pytest.raises(BadRecord, match='no attribute "titel". Did you mean "title"\\? There are: title, year'):
        write_item(pair, "match", RecordStyle("pairs", ("titel",)))


@pytest.mark.parametrize(("value", "word"), [(1, "yes"), ("1", "yes"), (True, "yes"), (0.0, "no"), (" No ", "no")])
def test_labels_in_use(value, word):
    assert yes_or_no(value) == word


@pytest.mark.parametrize("value", [2, None, "", "maybe", float("nan"), [1]])
def test_other_labels_are_faults(value):
    with pytest.raises(BadRecord, match="expected 1 or 0"):
        yes_or_no(value)


# ---- batches ---------------------------------------------------------------------------------------------------------

PAIRS = [
    Example(f"e{n}", f"A: {n}\nB: {n}", {"match": ("yes" if n % 3 else "no",)}, {"match": f"why {n}"}, {})
    for n in range(11)
]


def test_a_batch_has_texts_and_answers_by_number():
    assert join_batch(PAIRS[:2]) == Example(
        "e0+e1",
        "1:\nA: 0\nB: 0\n2:\nA: 1\nB: 1",
        {"1": ("no",), "2": ("yes",)},
        {"1": "why 0", "2": "why 1"},
    )


def test_a_batch_of_one_is_the_instance_itself():
    assert batched(PAIRS, 1) == PAIRS


@pytest.mark.parametrize("size", [2, 3, 4, 11, 20])
def test_every_instance_is_in_one_batch_with_its_answer(size):
    by_text = {one.text: one for one in PAIRS}
    groups = batched(PAIRS, size)
    read = [(text, group.answer[number]) for group in groups for number, text in split_texts(group.text).items()]
    assert sorted(text for text, _ in read) == sorted(by_text)
    assert all(answer == by_text[text].answer["match"] for text, answer in read)
    assert [len(group.answer) for group in groups[:-1]] == [size] * (len(PAIRS) // size - (len(PAIRS) % size == 0))
    assert len(groups) == -(-len(PAIRS) // size)


def test_batches_do_not_depend_on_the_order_of_the_file():
    shuffled = random.Random(1).sample(PAIRS, len(PAIRS))
    assert batched(shuffled, 3) == batched(PAIRS, 3)


def test_answers_follow_their_numbers_under_permutation():
    one, other = join_batch(PAIRS[:4]), join_batch(PAIRS[3::-1])
    assert [one.answer[n] for n in "1234"] == [other.answer[n] for n in "4321"]
    assert [*split_texts(one.text).values()] == [*split_texts(other.text).values()][::-1]


@pytest.mark.parametrize("text", ["", "no batch", "A: 1\nB: 2", "1: x", " 1:\nx"])
def test_what_is_no_batch_has_no_instances(text):
    assert split_texts(text) == {}


def test_no_record_can_be_taken_for_a_number():
    hostile = {"2": "", "x": "1\n2:\n", "3:\n4:": "5:"}
    for style in (RecordStyle(), SENTENCES):
        for cell, missing in ((None, "2:"), ({"2": ""}, "")):
            item = TableItem("1", (("", hostile),), "yes", cell=cell, missing=missing)
            text = write_item(item, "x", style).text
            assert not re.search(r"^\d+:$", text, re.MULTILINE)
            assert split_texts(join_texts([text, text])) == {"1": text, "2": text}
