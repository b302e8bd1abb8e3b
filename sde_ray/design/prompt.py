"""The axes on the prompt: `instruction` (its position), `input_modeling` (whether the prompt's tokens have loss), and
those beyond the paper on what the instruction says.

    last     text, ---, instruction, "Output: "
    first    instruction, ---, text, "Output: "
    none     text, "Output: "

`input_modeling` is the loss on prompt and completion tokens alike (paper: MI); without it only the completion counts. A
number between is the weight of a prompt token in the loss, where one of the completion has 1 (prompt loss weight:
Huerta-Enochian and Ko 2024, arXiv 2401.13586; Shi et al. 2024, 2405.14394).

`form_in_prompt` says whether the instruction describes the answer's form, shows a made-up answer, or says nothing of it
(2604.03616: most of what a format costs comes from asking for it; a tuned model knows the form). `definitions` says
what slots and labels mean (GoLLIE, 2310.03668; SLIMER, 2407.01272). `wordings` trains on one wording or on all that the
task has (PAFT, 2502.12859); what is asked at inference is the configured one. `render.py` writes all three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from sde_ray.design.base import Axis, Numbers, PromptOption
from sde_ray.design.output_form import Where
from sde_ray.design.wording import is_function
from sde_ray.types import Segment, Task

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


def _weigh_input(segments: Segments, render_instruction: RenderInstruction, weight: float) -> Segments:
    return tuple(replace(segment, loss=weight) for segment in segments)


@cache  # one object a weight, as every other option is one: rendered instructions are remembered by it
def _weighed(weight: float) -> PromptOption:
    return PromptOption(_weight_label(weight), partial(_weigh_input, weight=weight))


def _weight_label(weight: float) -> str:
    return f"MI-{weight:g}"


def _form_in_wording(task: Task, rationales: bool) -> str:
    shown = any("{schematic}" in wording or is_function(wording) for wording in task.instructions)
    return f"the wordings of {task.name} show the form themselves" if shown else ""


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
    numbers=Numbers(
        _weight_label,
        low=0,
        high=1,
        named={0.0: "off", 1.0: "on"},
        option=_weighed,
    ),
)
FORM_IN_PROMPT = Axis(
    "form_in_prompt",
    default="described",
    options={
        "described": PromptOption("Form-described", _keep),
        "example": PromptOption("Form-example", _keep),
        "none": PromptOption("No-form", _keep),
    },
    pinned=_form_in_wording,
    optional=True,
    of_instruction=True,
)
DEFINITIONS = Axis(
    "definitions",
    default="none",
    options={
        "none": PromptOption("No-def", _keep),
        "short": PromptOption("Short-def", _keep),
        "guideline": PromptOption("Guideline", _keep),
    },
    pinned=lambda task, rationales: "" if task.definitions else f"{task.name} defines neither slots nor labels",
    optional=True,
    of_instruction=True,
)
WORDINGS_IN_TRAINING = Axis(
    "wordings",
    default="one",
    options={"one": PromptOption("One-wording", _keep), "many": PromptOption("Many-wordings", _keep)},
    pinned=lambda task, rationales: "" if len(task.instructions) > 1 else f"{task.name} has one wording",
    optional=True,
    of_instruction=True,
)
