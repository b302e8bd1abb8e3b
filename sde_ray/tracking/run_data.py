"""A trial as MLflow logs it: params, metrics by rung, and a sample as the model saw it.

    run_params(config)      {"format": "lines", "seed": "0", "lora.r": "8", "design": "format=lines,...", ...}
    run_metrics(result)     [("dev/weighted_kappa", 0.71, step=250), ..., ("seconds/train", 4.2, step=500)]

Pure values: `mlflow_tracker.py` writes them. Values whose name tells a secret, and passwords in addresses, are ***.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from sde_ray.design.asking import first_sample
from sde_ray.design.axes import AXES, find_axis
from sde_ray.design.designs import design_of, make_design, paper_label
from sde_ray.safe_text import SECRET, mask
from sde_ray.storage.train_log import TrainStep
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.tracking.comparison_view import LEARNING_RATE, LOSS
from sde_ray.types import TrialResult

NOT_SECRET = {"generation.max_new_tokens"}  # tokens, but not of the secret kind
MAX_POINTS = 200  # of a training's curve; each is a row of MLflow's database
MAX_CHARS = 5000  # characters of a param or tag; MLflow takes 6000


def run_params(config: Mapping[str, Any]) -> dict[str, str]:
    """A trial's configuration as flat params: axes by their own names, sections dotted; secrets are masked."""
    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            secret = bool(SECRET.search(prefix)) and prefix not in NOT_SECRET
            flat[mlflow_name(prefix)] = "***" if secret else str(mask(text))[:MAX_CHARS]

    walk("", {key: value for key, value in config.items() if key not in ("design", "definition")})
    for axis, option in config["design"].items():
        walk(str(axis), option)
    flat["design"] = make_design(**config["design"]).slug
    return flat


def with_neutral_axes(config: Mapping[str, Any], axes: Iterable[str]) -> dict[str, Any]:
    """A trial's configuration with the optional axes of its sweep that leave it as it is."""
    rows = {axis: find_axis(axis) for axis in axes if axis not in config["design"] and axis not in AXES}
    neutral = {axis: row.default for axis, row in rows.items() if row.neutral_default}
    return {**config, "design": {**config["design"], **neutral}}


def run_metrics(result: TrialResult) -> list[tuple[str, float, int]]:
    """(name, value, examples): scores of each rung; cost and faults at the end. Finite values only."""
    last = result.rungs[-1].examples if result.rungs else 0
    rungs = {rung.examples: rung.scores for rung in result.rungs} or {last: result.scores}
    values: list[tuple[str, float, int]] = [
        (f"{split}/{name}", value, step)
        for step, scores in rungs.items()
        for split, by_metric in scores.items()
        for name, value in by_metric.items()
    ]
    values += [(f"seconds/{phase}", seconds, last) for phase, seconds in result.seconds.items()]
    values += [(f"tokens/{part}", number, last) for part, number in result.tokens.items()]
    values += [(f"curation/{name}", number, last) for name, number in result.curation.items()]
    values += [
        (f"faults/{split}/{kind}", count, last)
        for split, counts in result.faults.items()
        for kind, count in counts.items()
    ]
    values += [(f"general/{name}", number, last) for name, number in result.general.items()]
    values += [("peak_memory_mb", result.peak_memory_mb, last)]
    values += [("out_of_memory", result.out_of_memory, last)] if result.out_of_memory else []
    values += [("skipped_steps", result.skipped_steps, last)] if result.skipped_steps else []
    return [(mlflow_name(name), float(value), step) for name, value, step in values if isfinite(value)]


def train_metrics(result: TrialResult, steps: Sequence[TrainStep], logged_to: int = 0) -> list[tuple[str, float, int]]:
    """(name, value, step): the curves of a training beyond step `logged_to`.

    Args:
        result: the trial, with the loss of each step.
        steps: its log, for the learning rates; empty where that is not at hand.
        logged_to: the last step that was logged while it ran.
    """
    rates = {one.step: one.learning_rate for one in steps}
    own = [TrainStep(n, loss, rates.get(n, math.nan)) for n, loss in enumerate(result.losses, 1)]
    return curve_metrics([one for one in own if one.step > logged_to])


def curve_metrics(steps: Sequence[TrainStep]) -> list[tuple[str, float, int]]:
    """(name, value, step): loss and learning rate; of many steps `MAX_POINTS`, spread evenly, with the last one."""
    stride = max(1, -(-len(steps) // MAX_POINTS))
    shown = [one for n, one in enumerate(reversed(steps)) if n % stride == 0][::-1]
    values = [(name, value, one.step) for one in shown for name, value in _curves(one)]
    return [(name, value, step) for name, value, step in values if isfinite(value)]


def _curves(step: TrainStep) -> tuple[tuple[str, float], tuple[str, float]]:
    return (LOSS, step.loss), (LEARNING_RATE, step.learning_rate)


def sample_text(result: TrialResult) -> str:
    """The first training example as this trial's model saw it; marked: what the loss counts."""
    name, definition = str(result.config["task"]), result.config.get("definition")
    task, example = trial_task(name, definition), trial_examples(name, "train", definition)[0]
    design = design_of(result)
    train, variant = task.load("train"), int(result.config.get("instruction_variant", 0))
    sample = first_sample(example, task, design, train, variant)
    parts = [f"⟦{part.text}⟧" if part.loss else part.text for part in (*sample.prompt, sample.completion)]
    return f"{paper_label(design)}\n{example.id}, the loss counts ⟦...⟧\n\n{''.join(parts)}\n"


def mlflow_name(name: str) -> str:
    """A param, metric or tag name that MLflow takes: letters of any script, digits, and _ - . / blank."""
    return re.sub(r"[^\w\-./ ]", "_", name)[:240]


def chunks(values: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Slices of at most `size`, as MLflow takes only so many at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))
