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
        "terse": "the values alone, or each slot before its values",
        "tool_call": "a call of a tool with the slots as arguments",
        "xml": "an XML element for each value",
        "yaml": "a YAML mapping",
        "code": "a Python list of objects",
    },
    "unmentioned": {
        "placeholder": "what is not mentioned has a placeholder",
        "omit": "what is not mentioned is left out",
    },
    "labels": {
        "text": "labels as words",
        "number": "labels as numbers",
        "letter": "labels as letters",
        "words": "labels as other words, named by the task",
    },
    "reasoning": {
        "none": "no reason written",
        "cot": "reason before the label",
        "rcot": "reason after the label",
        "rcot_cut": "reasons behind the whole answer, where decoding ends",
        "think": "reasons before the whole answer",
        "keywords": "words of the text that show it before the label",
    },
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
    "decoding": {"greedy": "decoding is free", "constrained": "decoding follows a grammar of the answer"},
    "demonstrations": {"0": "no demonstrations"},
    "slots_per_sample": {"all": "a sample asks about all slots", "1": "a sample asks about one slot"},
    "negatives": {"1": "with all groups that have no answer"},
}
NUMBERS = {
    "input_modeling": "loss on the input with this weight",
    "demonstrations": "so many examples with their answers before the text",
    "slots_per_sample": "a sample asks about so many slots",
    "negatives": "so many of the samples without an answer are learned from",
}
"""What a number says, by the axis that it is an option of."""


def legend_entries(designs: Iterable[Design]) -> list[list[tuple[str, str]]]:
    """(paper's name, what it says) of the options that occur in these designs, a list for each axis of the package."""
    met: dict[str, dict[str, None]] = {}
    for design in designs:
        for axis, option in design.options:
            met.setdefault(axis, {})[option] = None
    entries = []
    for axis, meanings in MEANINGS.items():
        options = find_axis(axis).ordered(met.get(axis, ()))
        said = {option: meanings.get(option, NUMBERS.get(axis, "")) for option in options}
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
