"""Asking: one prompt a text, or one a group of slots, after demonstrations; the same in training and at inference."""

from __future__ import annotations

import pytest

from sde_ray.data import draw
from sde_ray.design.asking import ask_in, check_plain, samples_of
from sde_ray.design.demonstrations import in_context
from sde_ray.design.designs import make_design
from sde_ray.design.groups import SEPARATOR, groups_of, join_completions
from sde_ray.design.render import completion_of, parse_completion, prompt_of, render_sample
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.tasks import get_task
from sde_ray.testing.axis_option import is_possible
from sde_ray.testing.tasks import ALL, REVIEW_EXAMPLES, REVIEWS, TICKETS
from sde_ray.types import Example, Fault, Parsed, Task

FORMATS = ("natural", "lines", "json", "pairs", "json_object", "inline")
ONE_EACH = {"slots_per_sample": 1}


@pytest.mark.parametrize(("task", "examples"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_all_slots_a_sample_are_the_plain_samples(task: Task, examples: list[Example]) -> None:
    plain = make_design()
    for count in ("all", len(task.slots), len(task.slots) + 3):
        asking = ask_in(task, make_design(slots_per_sample=count, negatives=0, demonstrations=0), examples)
        for example in examples:
            assert asking.samples(example) == [render_sample(example, task, plain)]
            assert asking.prompts("x", example.text) == [("x", prompt_of(example.text, task, plain))]
            assert completion_of(example, task, asking.design) == completion_of(example, task, plain)


@pytest.mark.parametrize(("task", "examples"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_the_answers_of_the_groups_are_the_answer(task: Task, examples: list[Example]) -> None:
    for count in (1, 2):
        for form in FORMATS:
            design = make_design(format=form, slots_per_sample=count)
            if len(task.slots) <= count or not is_possible(task, design):
                continue
            asking, groups = ask_in(task, design, examples), groups_of(task, design)
            assert tuple(slot for group in groups for slot in group.slots) == task.slots
            assert {len(group.slots) for group in groups[:-1]} <= {count}
            for example in examples:
                samples = asking.samples(example)
                assert [(example.id, one.prompt) for one in samples] == asking.prompts(example.id, example.text)
                joined = join_completions([one.completion.text for one in samples])
                assert joined == completion_of(example, task, design)
                assert parse_completion(joined, task, design, example.text) == Parsed(example.answer)


def test_a_prompt_asks_about_its_own_slots_and_labels() -> None:
    design = make_design(slots_per_sample=1, instruction="first", format="lines")
    prompts = ["".join(s.text for s in prompt) for _, prompt in ask_in(TICKETS, design, ()).prompts("x", "A ticket.")]
    assert [[slot for slot in TICKETS.slots if slot in prompt] for prompt in prompts] == [
        ["urgency"], ["product"], ["mood: now"],
    ]  # fmt: skip
    assert ["app" in prompt for prompt in prompts] == [False, True, False]


def test_faults_of_the_groups_are_united() -> None:
    design = make_design(**ONE_EACH)
    parts = ["food: positive.", "drinks: good.", ""]
    parsed = parse_completion(SEPARATOR.join(parts), REVIEWS, design)
    assert parsed.answer == {"food": ("positive",)}
    assert [fault.kind for fault in parsed.faults] == ["unknown_label", "empty"]
    missing = parse_completion("food: positive.", REVIEWS, design)
    assert missing == Parsed({"food": ("positive",)}, (Fault("empty"), Fault("empty")))
    more = parse_completion(SEPARATOR.join([*parts[:1], "drinks: negative.", "price: neutral.", "x"]), REVIEWS, design)
    assert [fault.kind for fault in more.faults] == ["syntax"] and len(more.answer) == 3
    held = join_completions(["food: positive.\x1a", "drinks: negative.", "price: neutral."])
    assert len(held.split(SEPARATOR)) == 3, "a completion cannot hold the separator"


def test_negatives_are_a_share_of_the_groups_without_an_answer() -> None:
    task = get_task("masa:d1")
    examples = task.load("train")[:80]

    def samples(share: float) -> set[tuple[str, str]]:
        design = make_design(slots_per_sample=1, negatives=share)
        return {(one.id, one.completion.text) for one in samples_of(examples, task, design)}

    every, half, none = samples(1), samples(0.5), samples(0)
    answered = sum(len(one.answer) for one in examples)
    assert len(none) == answered and len(every) == len(examples) * len(task.slots)
    assert none < half < every
    assert 0.35 < (len(half) - answered) / (len(every) - answered) < 0.65
    space = design_space(task, False, {"slots_per_sample": ["all", 1], "negatives": [0.5, 1], "format": ["lines"]})
    assert {(d["slots_per_sample"], d["negatives"]) for d in space.designs} == {("all", "1"), ("1", "0.5"), ("1", "1")}


def test_demonstrations_are_others_of_the_trial_in_its_design() -> None:
    task, design = get_task("masa:d1"), make_design(demonstrations=2, format="lines", input_modeling="on")
    plain = make_design(format="lines", input_modeling="on")
    drawn = draw(task.load("train"), 8, seed=3)
    asking = ask_in(task, design, drawn)
    shown = {0: [1, 2], 1: [0, 2], 2: [0, 1], 3: [0, 1], 7: [0, 1]}
    for place, own in shown.items():
        (sample,) = asking.samples(drawn[place])
        demonstrations = [render_sample(drawn[one], task, plain) for one in own]
        query = render_sample(drawn[place], task, plain)
        assert sample.prompt == in_context(query.prompt, demonstrations, "zh" if task.language == "zh" else "en")
        assert sample.completion == query.completion
        assert asking.prompts(drawn[place].id, drawn[place].text) == [(drawn[place].id, sample.prompt)]
        assert {part.loss for part in sample.prompt} == {True, False}, "the loss on the input is of the query"
    held_out = {one.text for split in ("dev", "test") for one in task.load(split)}
    assert not {one.text for one in asking.demonstrations} & held_out
    other = get_task("masa:d2")
    (_, prompt), *_ = asking.of(other).prompts("x", "A text.")
    text = "".join(part.text for part in prompt)
    assert drawn[0].text in text and text.index(drawn[0].text) < text.index("A text."), "those of the trained task"


def test_groups_and_demonstrations_go_together() -> None:
    design = make_design(slots_per_sample=1, demonstrations=1)
    asking = ask_in(REVIEWS, design, REVIEW_EXAMPLES)
    for slot, sample in zip(REVIEWS.slots, asking.samples(REVIEW_EXAMPLES[1]), strict=True):
        text = "".join(part.text for part in sample.prompt)
        assert REVIEW_EXAMPLES[0].text in text and text.count(f"{slot}: ") >= 1
        assert not any(f"{other}: " in text for other in REVIEWS.slots if other != slot)


def test_what_asks_once_refuses_them() -> None:
    check_plain([make_design(slots_per_sample="all", demonstrations=0)], "An export")
    with pytest.raises(UserError, match="An export takes .* one plain prompt a text: leave out demonstrations"):
        check_plain([make_design(demonstrations=2)], "An export")
