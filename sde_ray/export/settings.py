"""A trial's settings for a tool's configuration: what every tool calls something, and what one cannot be told.

Numbers that depend on the number of samples (warm-up steps) are worked out; batch sizes are for one device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from sde_ray.config.section import Section, without_neutral
from sde_ray.config.trial import TrialConfig
from sde_ray.design.decoding import CONSTRAINED, DECODING
from sde_ray.design.designs import paper_label
from sde_ray.export.source import ExportSource
from sde_ray.types import Design

# Settings that each target writes by itself, or that say how a run computes, not what.
EVERY = {
    "lora": {"r", "lora_alpha", "lora_dropout", "target_modules"},
    "train": {
        *("num_train_epochs", "train_batch_size", "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type"),
        *("warmup_steps", "weight_decay", "max_length", "max_grad_norm", "dtype", "optim"),
        *("attn_implementation", "torch_compile"),
    },
}


def total_steps(trial: TrialConfig, num_samples: int) -> int:
    """Optimiser steps of the training, on one device."""
    return math.ceil(max(1, round(num_samples * trial.train.num_train_epochs)) / trial.train.train_batch_size)


def batch(trial: TrialConfig) -> dict[str, int]:
    """Samples of a part of a step, and into how many parts a step is cut; their product is the trial's step."""
    parts = trial.train.parts
    return {"per_device": trial.train.train_batch_size // parts, "accumulation": parts}


def whole_or_fraction(value: float) -> float:
    """2.0 as 2: some tools refuse epochs that are no whole number, spelt as a fraction."""
    return int(value) if value == int(value) else value


def warmup_steps(source: ExportSource) -> int:
    """The warm-up as a number of steps."""
    trial = source.trial
    return trial.train.num_warmup_steps(total_steps(trial, len(source.samples["train"])))


def modules(trial: TrialConfig) -> str | list[str]:
    """The modules that get an adapter: "all-linear", or names."""
    targets = trial.lora.target_modules
    return targets if isinstance(targets, str) else list(targets)


def more_settings(trial: TrialConfig, carried: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The settings that not every trial has: by the tool's names, and a sentence for each that it has none for.

    `carried`: the tool's name of a setting, such as {"lora.use_dora": "use_dora"}.
    """
    values: dict[str, Any] = {}
    notes = []
    sections: dict[str, Section] = {"lora": trial.lora, "train": trial.train}
    for name, section in sections.items():
        for key, value in without_neutral(section).items():
            if key in EVERY[name]:
                continue
            if (tool := carried.get(f"{name}.{key}")) is not None:
                values[tool] = list(value) if isinstance(value, tuple) else value
            else:
                notes.append(f"Not carried over: {name}.{key} = {value}. Set it in the tool, if it has it.")
    if trial.deepspeed:
        notes.append("Not carried over: the section deepspeed. Give the tool a DeepSpeed file of its own.")
    if trial.train.gradient_accumulation_steps == "auto":
        notes.append("gradient_accumulation_steps is auto: cut the step further where the tool runs out of memory.")
    return values, notes


def common_notes(source: ExportSource) -> list[str]:
    """What holds for every tool that trains."""
    trial = source.trial
    return [
        f"{paper_label(trial.design)}: {source.origin}; {len(source.samples['train'])} samples of {trial.task}, drawn "
        f"with seed {trial.seed}, in the order of the draw. The tool shuffles them by its own generator, and its "
        "dropout and adapter start draw otherwise: expect the trial's score within the noise of a seed.",
        *decoding_notes(trial.design),
    ]


def decoding_notes(design: Design) -> list[str]:
    """Constrained decoding is this package's own: elsewhere a completion may leave the form."""
    if dict(design.options).get(DECODING.name, DECODING.default) != CONSTRAINED:
        return []
    return [
        "Not carried over: decoding=constrained, by which the trial keeps to its form. Elsewhere completions are free, "
        "and some may have faults; `sde-ray predict` and `sde-ray serve` constrain them."
    ]


def dtype_notes(trial: TrialConfig) -> list[str]:
    """What `dtype: auto`, which depends on the device, was written as."""
    auto = "Written for float32, which `dtype: auto` means on a CPU; on a GPU the trial takes bfloat16."
    return [auto] if trial.train.dtype == "auto" else []


def with_comments(notes: list[str], values: Mapping[str, Any]) -> str:
    """A YAML file with these sentences above its values."""
    head = "".join(f"# {line}\n" for note in notes for line in note.split("\n"))
    return head + yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=10**6)


def precision(trial: TrialConfig) -> dict[str, bool]:
    """transformers' flags of the number format."""
    return {"bf16": trial.train.dtype == "bfloat16", "fp16": trial.train.dtype == "float16"}
