"""The laws of grammars: gold is in the grammar of its design, and what is in it is read without a fault."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest

from sde_ray.design.answer_grammar import answer_grammar, why_no_grammar
from sde_ray.design.designs import make_design
from sde_ray.design.render import completion_of, parse_completion
from sde_ray.evaluation.batch_retries import parse_answers
from sde_ray.tasks import get_task
from sde_ray.testing.axis_option import is_possible
from sde_ray.testing.tasks import ALL, ENTITIES, REVIEWS, TOPICS
from sde_ray.types import Design, Example, Task

llguidance = pytest.importorskip("llguidance")

FORMATS = ("natural", "lines", "json", "pairs", "json_object")
REST = {"unmentioned": ("placeholder", "omit"), "labels": ("text", "number"), "reasoning": ("none", "cot", "rcot")}
EVERY = [
    make_design(format=name, **dict(zip(REST, options, strict=True)))
    for name in FORMATS
    for options in itertools.product(*REST.values())
]
LONGEST = 300  # tokens of a random completion


class Matchers:
    """Matchers of grammars, on a vocabulary of the 256 bytes."""

    def __init__(self) -> None:
        self.tokens = llguidance.LLTokenizer("byte", slices=[])
        self.end = self.tokens.eos_token

    def of(self, task: Task, design: Design, text: str) -> object:
        matcher = llguidance.LLMatcher(self.tokens, answer_grammar(task, design, text), log_level=0)
        assert not matcher.is_error(), (design.slug, matcher.get_error())
        return matcher

    def has(self, matcher: object, text: str) -> bool:
        """Whether a text is in the grammar."""
        matcher.reset()
        ids = list(text.encode())
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

    def draw(self, matcher: object, chance: random.Random) -> str | None:
        """A random text of the grammar; None where it has no end in time."""
        matcher.reset()
        ids: list[int] = []
        while len(ids) < LONGEST:
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            allowed = [token for token in np.flatnonzero(bits).tolist() if token != self.end]
            assert matcher.is_accepting() == bool(bits[self.end])
            if not allowed or (bits[self.end] and chance.random() < 0.5):
                return bytes(ids).decode()
            # What ends a word comes up often enough for words to be short.
            marks = [token for token in allowed if chr(token) in '",:;]}\n. ']
            ids.append(chance.choice(marks if marks and chance.random() < 0.4 else allowed))
            assert matcher.consume_token(ids[-1])
        return None


MATCHERS = Matchers()


def designs_of(task: Task, every: list[Design]) -> Iterator[Design]:
    return (design for design in every if is_possible(task, design) and not why_no_grammar(task, design))


def check(task: Task, examples: list[Example], designs: Iterator[Design], chance: random.Random) -> int:
    """Gold is in the grammar, and so many random texts of it are read without a fault."""
    drawn = 0
    for design in designs:
        grammars = {}
        for example in examples:
            grammar = answer_grammar(task, design, example.text)
            matcher = grammars.setdefault(grammar, None) or MATCHERS.of(task, design, example.text)
            grammars[grammar] = matcher
            text = completion_of(example, task, design)
            assert MATCHERS.has(matcher, text), (design.slug, text)
            assert MATCHERS.has(matcher, " " + text), design.slug  # as some tokenizers begin
        for _ in range(3):
            text = MATCHERS.draw(matcher, chance)
            if text is not None:
                drawn += 1
                parsed = parse_completion(text, task, design, example.text)
                if task.answered:
                    parsed = parse_answers({example.id: text}, example, task, design)
                assert parsed.faults == (), (design.slug, text)
    return drawn


@pytest.mark.parametrize(("task", "examples"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_gold_is_in_the_grammar_and_all_in_it_is_read_without_a_fault(task: Task, examples: list[Example]):
    chance = random.Random(task.name)
    some = [chance.choice([design for design in EVERY if design["format"] == name]) for name in FORMATS]
    drawn = check(task, examples, designs_of(task, some), chance)
    assert drawn > 0 or task.kind == "record"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "examples"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_so_it_is_in_every_design(task: Task, examples: list[Example]):
    drawn = check(task, examples, designs_of(task, EVERY), random.Random(task.name))
    assert drawn > 0 or task.kind == "record"


def test_a_batch_answers_the_numbers_that_it_has():
    task = get_task("imputation:batch=3")
    two = "1:\nx\n2:\ny"
    for design in (make_design(), make_design(unmentioned="omit"), make_design(format="json_object")):
        matcher = MATCHERS.of(task, design, two)
        gold = completion_of(Example("x", two, {"1": ("a",), "2": ("b",)}), task, design)
        assert MATCHERS.has(matcher, gold)
        for answer in ({"1": ("a",)}, {"1": ("a",), "2": ("b",), "3": ("c",)}):
            assert not MATCHERS.has(matcher, completion_of(Example("x", two, answer), task, design))


NOT_IN_IT: list[tuple[Task, dict[str, str], list[str]]] = [
    (REVIEWS, {}, ["food: positive, drinks: negative.", "food: good, drinks: negative, price: neutral.",
                   "food: positive, food: positive, drinks: negative, price: neutral.", "unmentioned."]),
    (REVIEWS, {"unmentioned": "omit"}, ["food: unmentioned.", "food: positive, food: negative.", "", " "]),
    (REVIEWS, {"reasoning": "cot"}, ["food: positive, drinks: positive, price: positive."]),
    (ENTITIES, {}, ["DNA: none, a; RNA: none; protein: none.", "DNA: b; RNA: none; protein: a, none.",
                    'DNA: "a; RNA: none; protein: none.', "DNA: ; RNA: none; protein: none."]),
    (ENTITIES, {"format": "json_object"}, ['{"DNA": "a", "RNA": [], "protein": []}', '{"DNA": ["\\ud800"]}', "{}"]),
    (TOPICS, {"unmentioned": "omit"}, ["话题：正，正。", "语气：正，负。", "话题：负。"]),
]  # fmt: skip


def test_what_has_a_fault_is_not_in_it():
    for task, options, texts in NOT_IN_IT:
        design = make_design(**options)
        matcher = MATCHERS.of(task, design, "x")
        for text in texts:
            assert parse_completion(text, task, design, "x").faults, text
            assert not MATCHERS.has(matcher, text), text


def test_slots_may_stand_in_any_order():
    design = make_design(format="lines")
    rows = ["food: positive", "drinks: unmentioned", "price: neutral"]
    matcher = MATCHERS.of(REVIEWS, design, "x")
    assert all(MATCHERS.has(matcher, "\n".join(order)) for order in itertools.permutations(rows))
    labels = MATCHERS.of(TOPICS, make_design(format="pairs", unmentioned="omit"), "x")
    assert MATCHERS.has(labels, '["话题", "正"]\n["话题", "体育"]\n["语气", "负"]')
    assert not MATCHERS.has(labels, '["话题", "正"]\n["话题", "正"]')
