"""One design, looked at before any tuning: what is measured, under which key it is kept, and what it says.

    wanted = looks(config, task, "tiny", designs, items=..., demonstrations=..., shots=(0, 2, 4))
    wanted[0].key("perplexity"), wanted[0].key(2)       keys of the file of results

A key is a hash of what the model reads, word for word, so equal prompts are measured once: `input_modeling` changes the
loss only, and designs that differ in nothing else share their keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sde_ray.config.load import SweepConfig
from sde_ray.design import render
from sde_ray.safe_json import content_hash
from sde_ray.types import Design, Example, Sample, Task

PERPLEXITY = "perplexity"
SCHEMA = 2  # of what is measured; a change of a definition must not meet old values
Part = str | int  # PERPLEXITY, or a number of demonstrations
Kept = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Look:
    """A design with its items and demonstrations written in it. `settings`: what else decides a value."""

    task: Task
    design: Design
    examples: tuple[Example, ...]
    samples: tuple[Sample, ...]
    demonstrations: tuple[Sample, ...]
    shots: tuple[int, ...]
    metric: str
    settings: Mapping[str, Any]

    @property
    def parts(self) -> tuple[Part, ...]:
        return (PERPLEXITY, *self.shots)

    @cached_property
    def _read(self) -> str:
        """A hash of everything that the model reads."""
        digest = hashlib.sha256()
        for sample in (*self.samples, *self.demonstrations):
            for segment in (*sample.prompt, sample.completion):
                digest.update(f"{segment.role}\x00{segment.text}\x00".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def key(self, part: Part) -> str:
        """Under which a part is kept."""
        shown = [sample.id for sample in self.demonstrations[: int(part)]] if part != PERPLEXITY else []
        names = [self.task.name, self.metric, *(one.id for one in self.examples)]
        return content_hash([SCHEMA, part, self._read, shown, names, dict(self.settings)])

    @property
    def characters(self) -> int:
        """Characters to read for all parts."""
        own = sum(len(s.text) for sample in self.samples for s in sample.prompt)
        gold = sum(len(sample.completion.text) for sample in self.samples)
        shown = [sum(len(s.text) for s in (*one.prompt, one.completion)) for one in self.demonstrations]
        return gold + own * (1 + len(self.shots)) + sum(sum(shown[:k]) * len(self.samples) for k in self.shots)


def looks(
    config: SweepConfig,
    task: Task,
    model: str,
    designs: Sequence[Design],
    items: Sequence[Example],
    demonstrations: Sequence[Example],
    shots: Sequence[int],
) -> list[Look]:
    """Every design with the same items and the same demonstrations. `model`: what identifies its weights."""
    variant = config.instruction_variant
    settings = {
        "model": model,
        "chat_template": config.chat_template,
        "max_length": config.train.max_length,
        "max_new_tokens": config.generation.max_new_tokens,
    }
    return [
        Look(
            task=task,
            design=design,
            examples=tuple(items),
            samples=tuple(render.render_sample(one, task, design, variant) for one in items),
            demonstrations=tuple(render.render_sample(one, task, design, variant) for one in demonstrations),
            shots=tuple(shots),
            metric=config.objective.metric or task.objective,
            settings=settings,
        )
        for design in designs
    ]


def row_of(look: Look, kept: Kept) -> dict[str, Any]:
    """What is known of a design: one flat row, for tables and MLflow; None where there is no value."""
    values = {part: kept.get(look.key(part), {}) for part in look.parts}
    likely = values[PERPLEXITY]
    row: dict[str, Any] = {name: likely.get(name) for name in ("prompt_perplexity", "output_perplexity")}
    row |= {name: likely.get(name) for name in ("output_log_likelihood", "prompt_tokens", "output_tokens")}
    for k in look.shots:
        row[f"{k}_shot"] = values[k].get("score")
        row[f"{k}_shot_adherence"] = values[k].get("adherence")
        row[f"{k}_shot_fewer"] = values[k].get("fewer")
    cut = [float(value["cut"]) for value in values.values() if value.get("cut") is not None]
    errors = list(dict.fromkeys(value["error"] for value in values.values() if "error" in value))
    return {"design": look.design.slug, **row, "cut": max(cut, default=None), "error": "; ".join(errors)}
