"""The axes on the prompt: `instruction` (its position) and `input_modeling` (whether the prompt's tokens have loss).

    last     text, ---, instruction, "Output: "
    first    instruction, ---, text, "Output: "
    none     text, "Output: "

`input_modeling` is the loss on prompt and completion tokens alike (paper: MI); without it only the completion counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sde_ray.design.base import Axis, PromptOption, Where
from sde_ray.types import Segment

Segments = tuple[Segment, ...]
RenderInstruction = Callable[[Where], str]

RULE = Segment("\n---\n", loss=False)


def initial_segments(text: str, cue: str) -> Segments:
    """Prompt before any option: the text, and the cue that the completion follows."""
    return Segment(text, loss=False, role="text"), Segment("\n" + cue, loss=False)


def _instruct_first(segments: Segments, render_instruction: RenderInstruction) -> Segments:
    return Segment(render_instruction("below"), loss=False, role="instruction"), RULE, *segments


def _instruct_last(segments: Segments, render_instruction: RenderInstruction) -> Segments:
    *text, cue = segments
    return *text, RULE, Segment(render_instruction("above"), loss=False, role="instruction"), cue


def _keep(segments: Segments, render_instruction: RenderInstruction) -> Segments:
    return segments


def _model_input(segments: Segments, render_instruction: RenderInstruction) -> Segments:
    return tuple(replace(segment, loss=True) for segment in segments)


INSTRUCTION = Axis(
    "instruction",
    default="last",
    options={
        "first": PromptOption("Inst-first", _instruct_first),
        "last": PromptOption("Inst-last", _instruct_last),
        "none": PromptOption("No-inst", _keep),
    },
)
INPUT_MODELING = Axis(
    "input_modeling",
    default="off",
    options={"off": PromptOption("No-MI", _keep), "on": PromptOption("MI", _model_input)},
)
