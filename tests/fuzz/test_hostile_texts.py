"""Texts that models write: completions in every design, the paper's forms, rationales, what an endpoint answers."""

from __future__ import annotations

import itertools
import json
import math
from email.message import Message
from typing import Any, get_args

from fuzz.hostile import PIECES, Outcomes, hostile, mutated, odd_texts, odd_values, one_in, twisted
from helpers.any_records import record_values
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sde_ray import metrics
from sde_ray.design import render
from sde_ray.design.axes import AXES
from sde_ray.evaluation import reference_scorers
from sde_ray.tasks import TASKS, get_task
from sde_ray.tasks.rationales import generate
from sde_ray.tasks.rationales.chat_client import Reply, _reply, _retry_after
from sde_ray.testing.axis_option import is_possible, read_back
from sde_ray.testing.tasks import ALL
from sde_ray.types import Design, Example, FaultKind, Parsed, Task

KINDS = set(get_args(FaultKind))
DESIGNS = [
    Design(tuple(zip(AXES, options, strict=True)))
    for options in itertools.product(*(axis.options for axis in AXES.values()))
]
TASK_LIST: list[Task] = [*(task for task, _ in ALL), *TASKS.values()]
WORDS = [
    "none", "a, b", "a: b", "a; b", '"', "x\ny", "甲，乙", "IL-2 gene", "e.g.", "=> x", "", " ", "[]", "null", "正面",
]  # fmt: skip
UNITS = [*PIECES[:60], "food: ", "a, ", '"a, ', '{"type": "DNA"}\n', '["DNA", "a"]\n', "'DNA': 'a", '"\\"']


@st.composite
def examples(draw: DrawFn, task: Task) -> Example:
    """An example with any answer that the task allows, and reasons for some slots."""
    words = st.sampled_from(WORDS)
    answer = {slot: values for slot in task.slots if draw(st.booleans()) and (values := draw(_values(task, slot)))}
    reasons = {slot: draw(words) for slot in task.slots if one_in(draw, 3)}
    return Example("x", "a text", answer, reasons)


def _values(task: Task, slot: str) -> st.SearchStrategy[tuple[str, ...]]:
    """The values that a slot may have: labels of its own, each once, records, or words."""
    if task.kind == "record":
        return record_values(task, slot, st.sampled_from(WORDS))
    if not task.labels:
        several = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3 if task.kind == "span" else 1)
        return several.map(tuple)
    labels = task.labels_of(slot)
    count = len(labels) if slot in task.multilabel else 1
    return st.lists(st.sampled_from(labels), min_size=1, max_size=count, unique=True).map(tuple)


def repeated() -> st.SearchStrategy[str]:
    """What a model writes that does not stop, and what makes a careless pattern slow."""
    ends = st.sampled_from(("", "x", "\n", '"', "]", " !"))
    return st.builds(
        lambda unit, count, end: (unit * count)[:12_000] + end, st.sampled_from(UNITS), st.integers(1, 4000), ends
    )


@st.composite
def completions(draw: DrawFn, gold: str) -> str:
    """The gold completion spoiled, another text, or one that repeats itself."""
    kind = draw(st.integers(1, 20))
    return draw(mutated(gold) if kind <= 15 else odd_texts(20) if kind <= 19 else repeated())


def assert_total(parsed: Parsed, task: Task) -> None:
    """An answer of the task with known faults, that can be stored."""
    for slot, values in parsed.answer.items():
        assert slot in task.slots and values and all(isinstance(value, str) for value in values), (slot, values)
        assert task.labels is None or set(values) <= set(task.labels_of(slot)), values
    assert all(fault.kind in KINDS and isinstance(fault.detail, str) for fault in parsed.faults)
    json.dumps({slot: list(values) for slot, values in parsed.answer.items()}, ensure_ascii=False).encode()


@st.composite
def completion_cases(draw: DrawFn) -> tuple[Task, Design, Example, str, str, bool]:
    """A task, a design, an example, its completion, what the model wrote instead, and whether to score it, too."""
    task = draw(st.sampled_from(TASK_LIST))
    design = draw(st.sampled_from(DESIGNS).filter(lambda one: is_possible(task, one)))
    example = draw(examples(task))
    gold = render.completion_of(example, task, design)
    return task, design, example, gold, draw(completions(gold)), one_in(draw, 16)


@hostile(46_000, case=completion_cases())
def test_completions(outcomes: Outcomes, case: tuple[Task, Design, Example, str, str, bool]) -> None:
    """The round trip holds for every task times every design, and any text is read and scored."""
    task, design, example, gold, text, scored = case
    parsed = render.parse_completion(text, task, design)
    assert_total(parsed, task)
    # Nothing of the case before stays.
    assert read_back(example, task, design) == Parsed(example.answer), gold
    if scored:
        for name, value in metrics.score(task, [example], [parsed]).items():
            assert math.isfinite(value) and value <= 1 + 1e-9, (name, value)
        assert metrics.score(task, [example], [Parsed(example.answer)])[task.objective] <= 1 + 1e-9


FORMS = [(name, form) for name, row in reference_scorers.PUBLISHED_FORMS.items() for form in row.forms]
GOLD = {
    "masa_zh": ["食品评价：正面，饮品评价：未提及。", "食品评价：1，价格水平：-1。", "食品评价：正面\n价格水平：负面",
                '{"方面": "食品评价", "情感": "正面"}\n{"方面": "价格水平", "情感": "负面"}',
                "食品评价: positive, 价格水平：negative"],
    "nested_ner": ["'DNA': 'IL-2 gene', 'a'; 'RNA': 'b'", "'DNA': 'a'\n'RNA': ''\n'protein': 'c'",
                   '["DNA", "IL-2"]\n["RNA", "say "x""]'],
    "events": ["Motion: flew, came; Attack: raided", "Motion: flew\nAttack: NONE", "6: flew, came; 1: NONE",
               '{"event_type": "Motion", "trigger word": ["flew"]}', '["Motion", "flew"]\n["Attack", "raid"]'],
}  # fmt: skip
PAPER_TASKS = {name: get_task(full) for name, full in
               {"masa_zh": "masa_zh:d1", "nested_ner": "nested_ner", "events": "events"}.items()}  # fmt: skip


@st.composite
def published_cases(draw: DrawFn) -> tuple[str, str, list[str]]:
    """A task of the paper, one of its forms, and two completions: of that task mostly, else of another one."""
    name, form = draw(st.sampled_from(FORMS))
    golds = st.sampled_from((name, name, name, *GOLD)).flatmap(lambda one: st.sampled_from(GOLD[one]))
    return name, form, [draw(golds.flatmap(completions)) for _ in range(2)]


@hostile(12_000, case=published_cases())
def test_published_forms(outcomes: Outcomes, case: tuple[str, str, list[str]]) -> None:
    """The paper's forms, read by our rules and counted as its scorers do; Chinese and English mixed."""
    name, form, texts = case
    task = PAPER_TASKS[name]
    for text in texts:
        assert_total(reference_scorers.read_published_form(text, task, form), task)
    scored = reference_scorers.PUBLISHED_FORMS[name].scorer(form, task, [(texts[0], texts[1])])
    assert scored.items == 1 and all(score is None or math.isfinite(score) for score in scored.scores.values())


SLOTS = ("food", "service: fast", '"price"')
REASONS = 'Sure: {"food": "tasty", "service: fast": "quick", "\\"price\\"": "dear"}'
ANSWER: Any = {"choices": [{"message": {"role": "assistant", "content": '{"food": "tasty"}'}}], "usage": {"n": 1}}
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def bodies() -> st.SearchStrategy[str]:
    """What a server sends: its usual answer twisted, or any JSON, spoiled as text now and then."""
    plain = st.one_of(twisted(ANSWER), twisted(ANSWER), odd_values()).map(lambda value: json.dumps(value, default=str))
    return plain.flatmap(lambda text: st.one_of(st.just(text), mutated(text)))


@hostile(5_000, body=bodies(), content=completions(REASONS), date=mutated(DATE), wait=odd_texts(4))
def test_answers_of_an_endpoint(outcomes: Outcomes, body: str, content: str, date: str, wait: str) -> None:
    """Bodies and headers of a server, and the reasons in what it says."""
    for reply in (_reply(body.encode("utf-8", "replace")), Reply(content)):
        reasons, fault = generate.read_reply(reply, SLOTS)
        assert set(reasons) <= set(SLOTS) and all(why and len(why) <= generate.MAX_CHARS for why in reasons.values())
        assert (set(reasons) == set(SLOTS)) == (not fault)
        json.dumps(reasons, ensure_ascii=False).encode()
    headers = Message()
    headers["Retry-After"] = date.replace("\n", "").replace("\r", "")
    for value in (headers["Retry-After"], wait, "1", "1e9", "-1", "nan", "²", "9" * 400):
        seconds = _retry_after(value)
        assert seconds is None or seconds >= 0
