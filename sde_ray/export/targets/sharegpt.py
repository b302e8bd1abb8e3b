"""ShareGPT's format: a conversation a line.

{"conversations": [{"from": "human", "value": PROMPT}, {"from": "gpt", "value": COMPLETION}]}
"""

from __future__ import annotations

from typing import Any

from sde_ray.export.files import Export
from sde_ray.export.source import ExportSource, prompt_text
from sde_ray.export.targets.neutral import export_form
from sde_ray.types import Sample


def row(sample: Sample) -> dict[str, Any]:
    """A sample as a conversation."""
    return {
        "conversations": [
            {"from": "human", "value": prompt_text(sample)},
            {"from": "gpt", "value": sample.completion.text},
        ]
    }


def export(source: ExportSource) -> Export:
    """Conversations, and the trial's settings beside them."""
    return export_form(source, row, "ShareGPT")
