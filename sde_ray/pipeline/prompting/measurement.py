"""Measurements of designs on an untuned model: what is measured, its cache key, and the row that it gives.

    wanted = measurements(config, task, "tiny", designs, items=..., demonstrations=..., shots=(0, 2, 4))
    wanted[0].key("perplexity"), wanted[0].key(2)       keys of the cache

A key is a hash of what the model reads, word for word, so equal prompts are measured once: `input_modeling` changes the
loss only, and designs that differ in nothing else share their keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sde_ray.config.schema import SweepConfig
from sde_ray.design import render
from sde_ray.design.decoding import CONSTRAINED, DECODING
from sde_ray.safe_json import content_hash
from sde_ray.types import Design, Example, Sample, Task

PERPLEXITY = "perplexity"
SCHEMA = 2  # of what is measured; a change of a definition must not meet old values
Part = str | int  # PERPLEXITY, or a number of demonstrations
Stored = Mapping[str, Mapping[str, Any]]  # the cache's values by key


@dataclass(frozen=True)
class Measurement:
    """A design, with the items and demonstrations written in it, to be measured. `settings`: what else matters."""

    task: Task
    design: Design
    examples: tuple[Example, ...]
    samples: tuple[Sample, ...]
    demonstrations: tuple[Sample, ...]
    shots: tuple[int, ...]
    metric: str
    settings: Mapping[str, Any]
    instruction_variant: int = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        return (PERPLEXITY, *self.shots)

    @cached_property
    def _input_hash(self) -> str:
        """A hash of everything that the model reads."""
        digest = hashlib.sha256()
        for sample in (*self.samples, *self.demonstrations):
            for segment in (*sample.prompt, sample.completion):
                digest.update(f"{segment.role}\x00{segment.text}\x00".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def key(self, part: Part) -> str:
        """The cache key of a part."""
        shown = [sample.id for sample in self.demonstrations[: int(part)]] if part != PERPLEXITY else []
        names = [self.task.name, self.metric, *(example.id for example in self.examples)]
        names += [CONSTRAINED] if render.option_of(self.design, DECODING) == CONSTRAINED else []
        return content_hash([SCHEMA, part, self._input_hash, shown, names, dict(self.settings)])

    @property
    def characters(self) -> int:
        """Characters to read for all parts."""
        prompts = sum(len(s.text) for sample in self.samples for s in sample.prompt)
        gold = sum(len(sample.completion.text) for sample in self.samples)
        shown = [sum(len(s.text) for s in (*sample.prompt, sample.completion)) for sample in self.demonstrations]
        return gold + prompts * (1 + len(self.shots)) + sum(sum(shown[:k]) * len(self.samples) for k in self.shots)


def measurements(
    config: SweepConfig,
    task: Task,
    model: str,
    designs: Sequence[Design],
    items: Sequence[Example],
    demonstrations: Sequence[Example],
    shots: Sequence[int],
) -> list[Measurement]:
    """One measurement a design, all with the same items and demonstrations. `model`: what identifies its weights."""
    variant = config.instruction_variant
    settings: dict[str, Any] = {
        "model": model,
        "chat_template": config.chat_template,
        "max_length": config.train.max_length,
        "max_new_tokens": config.generation.max_new_tokens,
        **({"retries": True} if task.numbered else {}),
    }
    return [
        Measurement(
            task=task,
            design=design,
            examples=tuple(items),
            samples=tuple(render.render_sample(item, task, design, variant) for item in items),
            demonstrations=tuple(render.render_sample(example, task, design, variant) for example in demonstrations),
            shots=tuple(shots),
            metric=config.metric_for(task),
            settings=settings,
            instruction_variant=variant,
        )
        for design in designs
    ]


def result_row(measurement: Measurement, stored: Stored) -> dict[str, Any]:
    """The results of a design as one flat row, for tables and MLflow; None for a missing value."""
    values = {part: stored.get(measurement.key(part), {}) for part in measurement.parts}
    likelihood = values[PERPLEXITY]
    row: dict[str, Any] = {name: likelihood.get(name) for name in ("prompt_perplexity", "output_perplexity")}
    row |= {name: likelihood.get(name) for name in ("output_log_likelihood", "prompt_tokens", "output_tokens")}
    for k in measurement.shots:
        row[f"{k}_shot"] = values[k].get("score")
        row[f"{k}_shot_adherence"] = values[k].get("adherence")
        row[f"{k}_shot_fewer"] = values[k].get("fewer")
        if measurement.task.numbered:
            row[f"{k}_shot_retries"] = values[k].get("retries")
    cut = [float(value["cut"]) for value in values.values() if value.get("cut") is not None]
    errors = list(dict.fromkeys(value["error"] for value in values.values() if "error" in value))
    return {"design": measurement.design.slug, **row, "cut": max(cut, default=None), "error": "; ".join(errors)}
