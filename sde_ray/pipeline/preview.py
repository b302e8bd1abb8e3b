"""Samples to look at before anything runs: an example, its design, what the model sees and what is read back.

from_task("masa:d1", ["baseline", "es-sde"], n=1)      -> [Shown(...), Shown(...)]
of_sweep("sweeps/quickstart.yaml", n=3)              the first three designs that the sweep tries
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from sde_ray.config.load import load_config, open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.design import designs, render
from sde_ray.design.designs import paper_label
from sde_ray.sweep.plan import plan
from sde_ray.tasks import get_task
from sde_ray.types import Design, Example, Parsed, Sample, Task


@dataclass(frozen=True)
class SamplePreview:
    """One example in one design. `parsed` is what reading the gold completion gives back."""

    task: Task
    design: Design
    example: Example
    sample: Sample
    parsed: Parsed

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the texts, not the task's machinery."""
        return {
            "task": self.task.name,
            "design": self.design.slug,
            "id": self.sample.id,
            "prompt": "".join(segment.text for segment in self.sample.prompt),
            "completion": self.sample.completion.text,
            "segments": [
                {"text": segment.text, "loss": segment.loss, "role": segment.role}
                for segment in (*self.sample.prompt, self.sample.completion)
            ],
            "answer": {slot: list(values) for slot, values in self.parsed.answer.items()},
            "faults": [fault.kind for fault in self.parsed.faults],
        }

    def _repr_html_(self) -> str:
        """For a notebook: the sample, with what counts for the loss marked."""
        parts = [
            f"<mark>{escape(segment.text)}</mark>" if segment.loss else escape(segment.text)
            for segment in (*self.sample.prompt, self.sample.completion)
        ]
        return f'<b>{escape(paper_label(self.design))}</b><pre style="white-space: pre-wrap">{"".join(parts)}</pre>'


def from_task(name: str, wanted: Sequence[str], n: int = 1, wording: int = 0) -> list[SamplePreview]:
    """The first `n` training examples of a task, each in every design."""
    task = get_task(name)
    parsed = [designs.parse_design(one) for one in wanted]
    return [write(example, task, design, wording) for example in task.load("train")[:n] for design in parsed]


def of_sweep(path: Path, sets: Sequence[str] = (), wanted: Sequence[str] = (), n: int = 1) -> list[SamplePreview]:
    """The first training example of a sweep's first task, in its first `n` designs or those named."""
    return of_config(load_config(path, list(sets)), wanted, n)


def of_config(config: SweepConfig, wanted: Sequence[str] = (), n: int = 1) -> list[SamplePreview]:
    """The same for a sweep that is loaded."""
    planned = plan(config)
    first = planned.trials[0]
    own = list(dict.fromkeys(trial.design for trial in planned.trials if trial.task == first.task))
    task = open_tasks(config)[first.task]
    example = task.load("train")[0]
    chosen = [designs.parse_design(one) for one in wanted] or own[:n]
    return [write(example, task, design, first.instruction_variant) for design in chosen]


def write(example: Example, task: Task, design: Design, wording: int = 0) -> SamplePreview:
    """An example in a design, and what comes back when its completion is read."""
    sample = render.render_sample(example, task, design, wording)
    return SamplePreview(task, design, example, sample, render.parse_completion(sample.completion.text, task, design))
