"""Families of texts that models write: completions in every design, the paper's forms, rationales, endpoint answers."""

from __future__ import annotations

import itertools
import json
import math
from email.message import Message
from typing import Any

from fuzz.engine import PIECES, Random, Room, Try, family, mutated, odd, some, twisted

from sde_ray import metrics
from sde_ray.design import render
from sde_ray.design.axes import AXES
from sde_ray.evaluation import reference_scorers
from sde_ray.tasks import TASKS, get_task
from sde_ray.tasks.rationales import generate
from sde_ray.tasks.rationales.chat_client import Reply, _reply, _retry_after
from sde_ray.testing.tasks import ALL
from sde_ray.types import Design, Example, Parsed, Task

KINDS = {
    "empty", "syntax", "repeated_slot", "unknown_slot", "unknown_label", "missing_slot", "unexpected_placeholder",
    "missing_rationale", "repeated_label",
}  # fmt: skip
DESIGNS = [
    Design(tuple(zip(AXES, options, strict=True)))
    for options in itertools.product(*(axis.options for axis in AXES.values()))
]
TASK_LIST: list[Task] = [*(task for task, _ in ALL), *TASKS.values()]
WORDS = [
    "none",
    "a, b",
    "a: b",
    "a; b",
    '"',
    "x\ny",
    "甲，乙",
    "IL-2 gene",
    "e.g.",
    "=> x",
    "",
    " ",
    "[]",
    "null",
    "正面",
]


def an_answer(task: Task, rng: Random) -> Example:
    """An example with any answer that the task allows, and reasons for some slots."""
    answer: dict[str, tuple[str, ...]] = {}
    for slot in task.slots:
        if rng.random() < 0.6:
            if task.labels:
                labels = task.labels_of(slot)
                several = rng.randint(1, len(labels)) if slot in task.multilabel else 1
                answer[slot] = tuple(rng.sample(labels, several))
            else:
                several = rng.randint(1, 3) if task.kind == "span" else 1
                answer[slot] = tuple(rng.choice(WORDS) for _ in range(several))
    why = {slot: rng.choice(WORDS) for slot in task.slots if rng.random() < 0.3}
    return Example("x", "a text", answer, why)


def repeated(rng: Random) -> str:
    """What a model writes that does not stop, and what makes a careless pattern slow."""
    unit = rng.choice(
        (*PIECES[:60], "food: ", "a, ", '"a, ', '{"type": "DNA"}\n', '["DNA", "a"]\n', "'DNA': 'a", '"\\"')
    )
    return (unit * rng.randint(1, 4000))[:12_000] + rng.choice(("", "x", "\n", '"', "]", " !"))


def a_completion(gold: str, rng: Random) -> str:
    """The gold completion spoiled, another text, or one that repeats itself."""
    chance = rng.random()
    if chance < 0.75:
        return mutated(gold, rng)
    if chance < 0.95:
        return some(rng, 20)
    return repeated(rng)


def assert_total(parsed: Parsed, task: Task) -> None:
    """An answer of the task with known faults, that can be stored."""
    for slot, values in parsed.answer.items():
        assert slot in task.slots and values and all(isinstance(value, str) for value in values), (slot, values)
        assert task.labels is None or set(values) <= set(task.labels_of(slot)), values
    assert all(fault.kind in KINDS and isinstance(fault.detail, str) for fault in parsed.faults)
    json.dumps({slot: list(values) for slot, values in parsed.answer.items()}, ensure_ascii=False).encode()


@family("completions", 46_000)
def completions(room: Room) -> Try:
    """Every task times every design in turn: the round trip holds, and any text is read and scored."""

    def attempt(rng: Random) -> None:
        number = room.number
        task, design = TASK_LIST[number % len(TASK_LIST)], DESIGNS[(number // len(TASK_LIST)) % len(DESIGNS)]
        example = an_answer(task, rng)
        gold = render.completion_of(example, task, design)
        text = a_completion(gold, rng)
        room.given = (text, task.name, design.slug)
        parsed = render.parse_completion(text, task, design)
        assert_total(parsed, task)
        # Nothing of the case before stays.
        assert render.parse_completion(gold, task, design) == Parsed(example.answer), gold
        if number % 16 == 0:
            _assert_scored(task, example, parsed)

    return attempt


def _assert_scored(task: Task, example: Example, parsed: Parsed) -> None:
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
PAPER_TASKS = {"masa_zh": "masa_zh:d1", "nested_ner": "nested_ner", "events": "events"}


@family("published", 12_000)
def paper_forms(room: Room) -> Try:
    """The paper's forms, read by our rules and counted as its scorers do; Chinese and English mixed."""
    tasks = {name: get_task(full) for name, full in PAPER_TASKS.items()}

    def attempt(rng: Random) -> None:
        name, form = rng.choice(FORMS)
        texts = [a_completion(rng.choice(GOLD[rng.choice((name, name, name, *GOLD))]), rng) for _ in range(2)]
        room.given = (name, form, texts)
        for text in texts:
            assert_total(reference_scorers.read_published_form(text, tasks[name], form), tasks[name])
        found = reference_scorers.PUBLISHED_FORMS[name].scorer(form, tasks[name], [(texts[0], texts[1])])
        assert found.items == 1 and all(score is None or math.isfinite(score) for score in found.scores.values())

    return attempt


SLOTS = ("food", "service: fast", '"price"')
ANSWER: Any = {"choices": [{"message": {"role": "assistant", "content": '{"food": "tasty"}'}}], "usage": {"n": 1}}


@family("endpoint", 5_000)
def endpoint(room: Room) -> Try:
    """Bodies and headers of a server, and the reasons in what it says."""

    def attempt(rng: Random) -> None:
        content = a_completion('Sure: {"food": "tasty", "service: fast": "quick", "\\"price\\"": "dear"}', rng)
        body = json.dumps(twisted(ANSWER, rng, 0.1) if rng.random() < 0.7 else odd(rng), default=str)
        if rng.random() < 0.4:
            body = mutated(body, rng)
        room.given = (body, content)
        for reply in (_reply(body.encode("utf-8", "replace")), Reply(content)):
            reasons, fault = generate.read_reply(reply, SLOTS)
            assert set(reasons) <= set(SLOTS) and all(
                why and len(why) <= generate.MAX_CHARS for why in reasons.values()
            )
            assert (set(reasons) == set(SLOTS)) == (not fault)
            json.dumps(reasons, ensure_ascii=False).encode()
        headers = Message()
        headers["Retry-After"] = mutated("Wed, 21 Oct 2015 07:28:00 GMT", rng).replace("\n", "").replace("\r", "")
        for value in (headers["Retry-After"], some(rng, 4), rng.choice(("1", "1e9", "-1", "nan", "²", "9" * 400))):
            wait = _retry_after(value)
            assert wait is None or wait >= 0

    return attempt
