"""Legend of the paper's names: what the parts of a design's label say, for tables where they are met first.

legend([NAMED["baseline"], NAMED["ew-sde"]])
-> "Inst-last: instruction after the text · No-MI: no loss on the input · ... · PU: what is not mentioned has a
    placeholder, OU: what is not mentioned is left out · ..."
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sde_ray.design.axes import find_axis, find_option
from sde_ray.types import Design

MEANINGS: Mapping[str, Mapping[str, str]] = {
    "instruction": {
        "first": "instruction before the text",
        "last": "instruction after the text",
        "none": "no instruction",
    },
    "input_modeling": {"off": "no loss on the input", "on": "loss on the input as well"},
    "format": {
        "natural": "answer as one line of text",
        "lines": "a line for each slot",
        "json": "a JSON object for each slot",
        "pairs": "a JSON list for each slot",
        "json_object": "one JSON object",
        "inline": "the text with its spans in brackets",
        "inline_xml": "the text with its spans in tags",
    },
    "unmentioned": {
        "placeholder": "what is not mentioned has a placeholder",
        "omit": "what is not mentioned is left out",
    },
    "labels": {"text": "labels as words", "number": "labels as numbers"},
    "reasoning": {"none": "no reason written", "cot": "reason before the label", "rcot": "reason after the label"},
    "form_in_prompt": {
        "described": "the instruction describes the form",
        "example": "the instruction shows a made-up answer",
        "none": "the instruction says nothing of the form",
    },
    "definitions": {
        "none": "no definitions",
        "short": "a sentence on each slot and label",
        "guideline": "all that is written on each slot and label",
    },
    "wordings": {"one": "one wording of the instruction", "many": "all wordings of the instruction in training"},
    "order": {
        "fixed": "lines in the order of the slots",
        "shuffled": "lines in any order",
        "text": "lines in the order of the text",
    },
}
WEIGHT = "loss on the input with this weight"
"""What a number of `input_modeling` says."""


def legend_entries(designs: Iterable[Design]) -> list[list[tuple[str, str]]]:
    """(paper's name, what it says) of the options that occur in these designs, a list for each axis of the package."""
    met: dict[str, dict[str, None]] = {}
    for design in designs:
        for axis, option in design.options:
            met.setdefault(axis, {})[option] = None
    entries = []
    for axis, meanings in MEANINGS.items():
        options = find_axis(axis).ordered(met.get(axis, ()))
        said = {option: meanings.get(option, WEIGHT if axis == "input_modeling" else "") for option in options}
        named: dict[str, list[str]] = {}
        for option, meaning in said.items():
            named.setdefault(meaning, []).append(find_option(axis, option).label)
        named.pop("", None)
        if named:
            entries.append([("/".join(labels), meaning) for meaning, labels in named.items()])
    return entries


def legend(designs: Iterable[Design]) -> str:
    """The entries in one line."""
    return " · ".join(", ".join(f"{name}: {meaning}" for name, meaning in axis) for axis in legend_entries(designs))
