"""Axes and options as a user would add them, from outside the package."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape, unescape

from sde_ray.design import AnswerOption, Axis, FormatOption, PromptOption, collect
from sde_ray.design.base import Faults, Lines
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Example, Line, Segment, Task

_ENTRY = re.compile(r"<slot>([^<>]*)</slot>((?:<value>[^<>]*</value>)*)(?:<why>([^<>]*)</why>)?")


def _entry(line: Line, form: OutputForm) -> str:
    values = "".join(f"<value>{escape(value)}</value>" for value in line.values)
    why = f"<why>{escape(line.rationale or '')}</why>" if form.rationale_position else ""
    return f"<slot>{escape(line.slot)}</slot>{values}{why}"


def _read_entry(entry: str) -> Line:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError("no <slot>...</slot><value>...</value>")
    slot, values, why = found.groups()
    texts = [unescape(value) for value in re.findall(r"<value>([^<>]*)</value>", values)]
    return Line(unescape(slot), tuple(texts), None if why is None else unescape(why))


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text == "<none/>":
        return (), ()
    return collect(text.split("\n<next/>\n"), _read_entry)


XML = FormatOption(
    label="XML",
    entry=_entry,
    separator=lambda form: "\n<next/>\n",
    marker=lambda form: "<none/>",
    read=_read,
)


def _reverse(lines: Lines, task: Task, example: Example) -> Lines:
    return tuple(reversed(lines))


ORDER = Axis(
    "order",
    default="task",
    options={
        "task": AnswerOption("TaskOrder"),
        "reversed": AnswerOption(
            "Reversed", write=_reverse, sentence=lambda context: f"Begin with the last {context.task.nouns.slot}."
        ),
    },
)


def _politely(segments: tuple[Segment, ...], ask: object) -> tuple[Segment, ...]:
    *before, cue = segments
    return *before, replace(cue, text="\nThank you." + cue.text)


TONE = Axis(
    "tone",
    default="plain",
    options={
        "plain": PromptOption("Plain", lambda segments, ask: segments),
        "polite": PromptOption("Polite", _politely),
    },
)
NOT_AN_AXIS = 3
