"""Alpaca's format: the whole prompt as the instruction, nothing as the input.

{"instruction": PROMPT, "input": "", "output": COMPLETION}

Alpaca's own prompt ("Below is an instruction that describes a task ...") would be another design: tools that add it by
default (axolotl's type `alpaca`) must be told not to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sde_ray.export.files import Export
from sde_ray.export.source import ExportSource, prompt_text
from sde_ray.export.targets.neutral import export_form
from sde_ray.types import Sample


def row(sample: Sample) -> dict[str, Any]:
    """A sample as an instruction and its output."""
    return {"instruction": prompt_text(sample), "input": "", "output": sample.completion.text}


def export(source: ExportSource) -> Export:
    """Instructions, and the trial's settings beside them."""
    export = export_form(source, row, "Alpaca")
    own = "Alpaca's own words around an instruction are no part of the design: switch them off where a tool adds them."
    return replace(export, notes=(own, *export.notes))
