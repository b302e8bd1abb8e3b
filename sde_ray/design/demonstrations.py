"""Demonstrations: examples with their answers before the query, in the sample itself and in few-shot prompts.

    Example 1:
    {prompt of the first demonstration}{its completion}

    Example 2:
    {prompt of the query}

The axis `demonstrations` trains on samples that begin so, and asks in the same way (InstructABSA, arXiv 2302.08624:
demonstrations in the sample help in sentiment analysis). All samples of a trial have the same ones, the first of the
examples that it trains on, so that it needs no labels more; an example is never its own demonstration, but has the next
one in its place. They are never cut. Expect a gain with few samples, at several times the tokens. An out-of-domain text
is asked after the demonstrations of the trained task, as nothing is known of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sde_ray.design.base import Axis, Numbers, PromptOption
from sde_ray.types import Design, Example, Sample, Segment

HEADING = {"en": "Example {n}:\n", "zh": "示例{n}：\n"}
BETWEEN = "\n\n"
Prompt = tuple[Segment, ...]

DEMONSTRATIONS = Axis(
    "demonstrations",
    default="0",
    options={"0": PromptOption("0-shot", lambda segments, render_instruction: segments)},
    numbers=Numbers(
        lambda count: f"{count:g}-shot",
        low=0,
        high=64,
        whole=True,
        option=lambda count: PromptOption(f"{count:g}-shot", lambda segments, render_instruction: segments),
    ),
    optional=True,
)


def num_demonstrations(design: Design) -> int:
    """How many demonstrations a design's samples have."""
    return int(dict(design.options).get(DEMONSTRATIONS.name, DEMONSTRATIONS.default))


def others(demonstrations: Sequence[Example], text: str, count: int) -> list[Example]:
    """The first demonstrations that are not of this text itself."""
    return [one for one in demonstrations if one.text != text][:count]


def in_context(query: Prompt, demonstrations: Sequence[Sample], language: str) -> Prompt:
    """The query after the demonstrations; without any, the query alone."""
    if not demonstrations:
        return query
    heading = HEADING[language]
    segments: list[Segment] = []
    for n, shown in enumerate(demonstrations, 1):
        segments.append(Segment(heading.replace("{n}", str(n)), loss=False))
        segments += [replace(segment, loss=False, role="glue") for segment in (*shown.prompt, shown.completion)]
        segments.append(Segment(BETWEEN, loss=False))
    return (*segments, Segment(heading.replace("{n}", str(len(demonstrations) + 1)), loss=False), *query)
