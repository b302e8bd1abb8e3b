"""The contract of an option of an axis: reading undoes writing, any text is read, the prompt is one and the same.

class TestRows(AxisOptionContract):
    axis = "format"
    option = "my_pkg.my_axes:ROWS"

class TestPolite(AxisOptionContract):
    axis = "my_pkg.my_axes:TONE"
    option = "polite"
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from sde_ray.data.record_values import canonical_text
from sde_ray.design.axes import AXES, find_option
from sde_ray.design.base import Axis
from sde_ray.design.designs import make_design
from sde_ray.design.render import completion_of, parse_completion, prompt_of, render_sample
from sde_ray.design.space import why_not
from sde_ray.plugins import code_of, trust
from sde_ray.testing.tasks import ALL
from sde_ray.types import Design, Example, Fault, Parsed, Task

PIECES = [
    *"ab :,;.\"'\\=><[]{}\n\r\t：，；。、\x85\u2028\u3000\xa0",
    " => ",
    " <= ",
    "none",
    "food",
    "DNA",
    '"x"',
    ": ",
]
"""Bits of text that a careless format would garble."""

HOSTILE = [
    "[" * 100_000, '{"a":' * 50_000, "9" * 10_000, "\x00" * 99, "DNA: " * 5_000, '"' * 2_000,
    # Half a character, legal in JSON: it could not be stored.
    'DNA: "\\ud800"', '{"type": "DNA", "entity": ["\\ud800"]}', '["DNA", "\\ud800"]',
]  # fmt: skip
"""Completions that try to break a reader: deep, long, or not storable."""


def assert_is_an_answer(parsed: Parsed, task: Task, design: Design) -> None:
    """What was read is an answer of the task, can be stored, and is read again as it is."""
    for slot, values in parsed.answer.items():
        assert slot in task.slots and values
        assert all(isinstance(value, str) for value in values)
        several = task.kind == "span" or slot in task.multilabel or (task.kind == "record" and slot not in task.single)
        assert several or len(values) == 1
        assert task.kind != "record" or all(canonical_text(v, task.fields[slot]) == (v, ()) for v in values)
        assert task.labels is None or (set(values) <= set(task.labels_of(slot)) and len(set(values)) == len(values))
    str(parsed).encode()
    written = completion_of(Example("again", "", parsed.answer), task, design)
    assert parse_completion(written, task, design).answer == parsed.answer


WELL_KNOWN = ("pairs", "json_object", "inline")


def _crossed(axis: Axis) -> list[str]:
    """The options of an axis that every other option is tried with."""
    return [name for name, option in axis.options.items() if option.swept or name in WELL_KNOWN]


def read_back(example: Example, task: Task, design: Design) -> Parsed:
    """What is read of an example's own completion, in the gold answer's order where the design has one of its own."""
    parsed = parse_completion(completion_of(example, task, design), task, design, example.text)
    if not rearranges(design):
        return parsed
    gold = example.answer
    same = {slot: sorted(gold.get(slot, ())) == sorted(values) for slot, values in parsed.answer.items()}
    return Parsed({slot: gold[slot] if same[slot] else parsed.answer[slot] for slot in parsed.answer}, parsed.faults)


def rearranges(design: Design) -> bool:
    """Whether the values of a slot are read in the order of the text."""
    options = [find_option(axis, option) for axis, option in design.options]
    return any(getattr(option, "in_text", False) for option in options) or ("order", "text") in design.options


def is_possible(task: Task, design: Design) -> bool:
    """Whether the task can have every option of the design."""
    return not any(why_not(axis, option, task) for axis, option in design.options)


class AxisOptionContract:
    """What holds for every option, in every design that it can be part of; `axis` and `option` name it."""

    axis = ""
    option = ""
    tasks: Sequence[tuple[Task, list[Example]]] = ALL
    """Tasks with examples of awkward values; add your own."""

    def designs(self, every_prompt: bool = False) -> list[Design]:
        """The designs with this option: all that write answers differently, or all there are."""
        trust(*code_of(f"{self.axis} {self.option}"))
        free = [axis for axis in AXES.values() if axis.name != self.axis and (every_prompt or axis.stage != "prompt")]
        choices = itertools.product(*(_crossed(axis) for axis in free))
        names = [axis.name for axis in free]
        return [make_design(**{**dict(zip(names, c, strict=True)), self.axis: self.option}) for c in choices]

    def cases(self) -> list[tuple[Task, list[Example], Design]]:
        """Each task with its examples, in each design that it can have."""
        pairs = itertools.product(self.tasks, self.designs())
        return [(task, examples, design) for (task, examples), design in pairs if is_possible(task, design)]

    def test_the_option_is_found_and_has_a_label(self) -> None:
        trust(*code_of(f"{self.axis} {self.option}"))
        assert find_option(self.axis, self.option).label

    def test_reading_undoes_writing(self) -> None:
        for task, examples, design in self.cases():
            for example in examples:
                completion = completion_of(example, task, design)
                assert completion.strip() == completion != "", (design.slug, completion)
                assert read_back(example, task, design) == Parsed(example.answer), (design.slug, completion)

    def test_the_prompt_is_the_same_in_training_and_at_inference(self) -> None:
        designs = random.Random(2).sample(all_designs := self.designs(every_prompt=True), min(60, len(all_designs)))
        for (task, examples), design in itertools.product(self.tasks, designs):
            sample = render_sample(examples[0], task, design)
            assert sample.prompt == prompt_of(examples[0].text, task, design)
            assert [segment.text for segment in sample.prompt if segment.role == "text"] == [examples[0].text]
            assert sample.completion.loss and sample.completion.role == "completion"
            if self.axis != "input_modeling":
                assert {segment.loss for segment in sample.prompt} == {design["input_modeling"] == "on"}, design.slug

    def test_any_text_is_read(self) -> None:
        chance = random.Random(0)
        for task, _, design in self.cases():
            text = "".join(chance.choices(PIECES, k=chance.randrange(1, 30)))
            assert_is_an_answer(parse_completion(text, task, design), task, design)

    def test_nothing_is_an_empty_answer_with_a_fault(self) -> None:
        for task, _, design in self.cases():
            assert parse_completion(" \n", task, design) == Parsed({}, (Fault("empty"),))

    def test_a_spoiled_completion_is_read(self) -> None:
        chance = random.Random(1)
        for task, examples, design in self.cases():
            text = completion_of(chance.choice(examples), task, design)
            start, end = sorted(chance.choices(range(len(text) + 1), k=2))
            spoiled = text[:start] + "".join(chance.choices(PIECES, k=3)) + text[end:]
            assert_is_an_answer(parse_completion(spoiled, task, design), task, design)

    def test_hostile_text_is_read(self) -> None:
        (task,) = (task for task, _ in ALL if task.name == "entities")
        for design, text in itertools.product(self.designs()[:6], HOSTILE):
            parsed = parse_completion(text, task, design, source="x")
            assert parsed.answer == {} and parsed.faults, (design.slug, text[:20])
