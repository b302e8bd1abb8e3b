"""Samples to look at before anything runs: an example, its design, what the model sees and what is read back.

preview("sweeps/quickstart.yaml", n=3)                    the first three designs that the sweep tries
preview_task("masa:d1", ["baseline", "es-sde"])           the first training example of a task, in two designs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from sde_ray.config.load import load_config, open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.design import render
from sde_ray.design.asking import first_group, first_sample
from sde_ray.design.designs import paper_label, parse_design
from sde_ray.plugins import code_of, trust
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
    instruction_variant: int = 0

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


def preview(
    sweep: SweepConfig | str | Path, designs: Sequence[str] = (), n: int = 1, sets: Sequence[str] = ()
) -> list[SamplePreview]:
    """A training example of a sweep as its designs write it, before anything runs: what `sde-ray show` shows.

    Args:
        sweep: the YAML file of a sweep, or a configuration.
        designs: names or slugs of designs ("es-sde", "format=lines"); by default the first `n` that the sweep tries.
        n: how many designs.
        sets: overrides of the YAML file, as `--set` takes them.

    Returns:
        One preview a design, all of the first training example of the first task. A notebook shows it with the tokens
        that count for the loss marked.

    Raises:
        UserError: where the configuration has faults, or a design does not exist.
    """
    config = sweep if isinstance(sweep, SweepConfig) else load_config(sweep, list(sets))
    trials = plan(config).trials
    tried = dict.fromkeys(trial.design for trial in trials if trial.task == trials[0].task)
    task = open_tasks(config)[trials[0].task]
    example = task.load("train")[0]
    trust(*code_of(" ".join(designs)))
    chosen = [parse_design(design) for design in designs] or list(tried)[:n]
    return [preview_example(example, task, design, config.instruction_variant) for design in chosen]


def preview_task(name: str, designs: Sequence[str], n: int = 1, instruction_variant: int = 0) -> list[SamplePreview]:
    """The first `n` training examples of a task, each in every design. Raises UserError for an unknown name."""
    trust(*code_of(" ".join(designs)))
    task = get_task(name)
    parsed = [parse_design(design) for design in designs]
    return [
        preview_example(example, task, design, instruction_variant)
        for example in task.load("train")[:n]
        for design in parsed
    ]


def preview_example(example: Example, task: Task, design: Design, instruction_variant: int = 0) -> SamplePreview:
    """An example in a design, and what comes back when its completion is read."""
    sample = first_sample(example, task, design, task.load("train"), instruction_variant)
    parsed = render.parse_completion(sample.completion.text, *first_group(task, design), example.text)
    return SamplePreview(task, design, example, sample, parsed, instruction_variant)
