"""A completion that ends early has the answer, the adherence and the score of the whole one; a clean one is whole."""

from __future__ import annotations

import itertools
import random

import pytest
from laws.test_round_trip import CASES, CORE_FORMS, NAMES, forms

from sde_ray.design.answer_end import AnswerEnd, answer_end
from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.design.rationale_block import STOP
from sde_ray.design.render import completion_of, parse_completion
from sde_ray.testing.axis_option import HOSTILE, PIECES, is_possible
from sde_ray.types import Design, Example, Parsed, Task

SETTLED = ("terse", "tool_call", "xml", "yaml", "code")  # further formats that know when an answer is settled
FURTHER = {"unmentioned": ["placeholder", "omit"], "reasoning": ["none", "cot"], "format": list(SETTLED)}
FORMS = [*(form for form in CORE_FORMS if form["labels"] == "text"), *forms(FURTHER)]


def end_of(task: Task, design: Design) -> AnswerEnd:
    end = answer_end(task, design)
    assert end is not None
    return end


def outcome(parsed: Parsed) -> tuple[object, bool]:
    """What scores are made of: the answer, and whether there is a fault."""
    return parsed.answer, bool(parsed.faults)


def first_settled(end: AnswerEnd, text: str, step: int) -> int | None:
    return next((n for n in range(step, len(text), step) if end.is_settled(text[:n])), None)


@pytest.mark.parametrize(("task", "examples"), CASES, ids=NAMES)
def test_no_continuation_of_a_settled_completion_changes_its_outcome(task: Task, examples: list[Example]) -> None:
    draw, settled = random.Random(task.name), 0
    for design in (form for form in FORMS if is_possible(task, form)):
        end = end_of(task, design)
        gold = [completion_of(example, task, design) for example in draw.sample(examples, min(2, len(examples)))]
        for text in gold:
            assert first_settled(end, text, 2) is None, "an answer without a fault is written to its end"
        for text, junk in itertools.product(gold, ("\n", " ", "")):
            whole = text + junk + "".join(draw.choices([*gold, *PIECES, ", ", "\n"], k=8))
            place = first_settled(end, whole, draw.randrange(1, 9))
            if place is None:
                continue
            settled += 1
            expected = outcome(parse_completion(whole[:place], task, design))
            assert expected[1]
            for more in (whole[place:], *("".join(draw.choices([*gold, *PIECES], k=5)) for _ in range(3))):
                assert outcome(parse_completion(whole[:place] + more, task, design)) == expected, (
                    design.slug,
                    whole[:place],
                    more,
                )
    assert settled > 0


@pytest.mark.parametrize(("task", "examples"), CASES, ids=NAMES)
def test_rationales_behind_the_answer_are_neither_decoded_nor_read(task: Task, examples: list[Example]) -> None:
    """A completion that is cut at the mark is read as the whole one, and costs what one without rationales does."""
    for name in AXES["format"].options:
        design, plain_design = make_design(format=name, reasoning="rcot_cut"), make_design(format=name)
        if not is_possible(task, design):
            continue
        for example in examples[:3]:
            whole, plain = (completion_of(example, task, one) for one in (design, plain_design))
            assert whole.startswith(plain + STOP) and STOP not in plain
            assert first_settled(end_of(task, design), whole, 1) == len(plain + STOP), design.slug
            read = parse_completion(plain, task, plain_design)
            for text in (plain, plain + STOP, whole, plain + STOP + "\n".join(PIECES)):
                assert parse_completion(text, task, design) == read


def test_thoughts_are_no_answer_yet() -> None:
    design = make_design(reasoning="think", format="lines")
    task, examples = next(case for case in CASES if case[0].name == "reviews")
    thoughts, _, answer = completion_of(examples[0], task, design).partition("</think>\n")
    end = end_of(task, design)
    assert first_settled(end, thoughts, 1) is None
    assert first_settled(end, thoughts + "</think>\n" + (answer + "\n") * 2, 1) is not None


@pytest.mark.parametrize("junk", ["\nfood: positive", ", food: positive", " I hope that this helps"])
def test_a_model_that_never_ends_its_answers_is_stopped(junk: str) -> None:
    """All slots answered, then the same for ever: of every format whose answers can be settled."""
    task, examples = next(case for case in CASES if case[0].name == "reviews")
    answer = next(example for example in examples if example.answer)
    for name in ("natural", "lines", "json", "pairs", "json_object", *SETTLED):
        design = next(form for form in FORMS if form["format"] == name and form["unmentioned"] == "placeholder")
        text = completion_of(answer, task, design)
        again = {"natural": ", " + text, "json_object": " " + text, "terse": " " + text}.get(name, "\n" + text)
        place = first_settled(end_of(task, design), text + again * 9, 1)
        assert place is not None and place < 2 * len(text) + 2, (name, place)
        if name in ("lines", "json", "pairs"):
            assert first_settled(end_of(task, design), text + "\n" + junk.strip() + "\n\n" + junk, 1) is not None


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_hostile_text_never_fails(text: str) -> None:
    for (task, _), design in itertools.product(CASES[:3], FORMS):
        if end_of(task, design).is_settled(text):
            assert parse_completion(text, task, design).faults
