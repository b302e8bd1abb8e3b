"""Losses of our trainer against transformers' Trainer with peft, step by step, without dropout.

    compare(samples=64) ─▶ {"settings", "rows": [{"case", "dtype", "steps", "max_difference", "bound", ...}]}

The bound is 1e-5 in every step in fp32. In bf16 there is no such number: runs of Trainer itself differ as soon as a
step is cut into other micro-batches, and ours may differ from it by as much as any two of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import mean
from typing import Any

from sde_ray.bench.engine import plain_script
from sde_ray.bench.engine.settings import keep_quiet, settings
from sde_ray.bench.engine.work import LORA, TASK, TRAIN, make_job, write_samples
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.types import Design

LAW = 1e-5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """A design with settings of training in which the two could come apart."""

    name: str
    design: Design
    train: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("lines", make_design(instruction="first", format="lines")),
    Case("json, loss on the input too", make_design(format="json", input_modeling="on")),
    Case("natural, 2 accumulated parts", make_design(), {"gradient_accumulation_steps": 2}),
    Case(
        "lines, loss on the input too, 3 accumulated parts, cosine",
        make_design(format="lines", input_modeling="on"),
        {"train_batch_size": 6, "gradient_accumulation_steps": 3, "lr_scheduler_type": "cosine"},
    ),
)


def compare(
    *,
    samples: int = 64,
    model: str = "tiny",
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    cases: Sequence[Case] = CASES,
    threads: int = 1,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Train every case in each number format, by Trainer and by us. Returns plain JSON values."""
    from sde_ray.training.worker import Worker

    keep_quiet()
    trials = {(case.name, dtype): make_trial(case, samples, model, dtype) for dtype in dtypes for case in cases}
    theirs = {}
    for (name, dtype), trial in trials.items():  # before this process joins a group, which Trainer would notice
        say(f"{dtype}, {name}: Trainer.")
        losses = trainer_losses(trial, threads)
        theirs[name, dtype] = losses, LAW if dtype == "float32" else trainers_apart(trial, losses, threads)
    worker = Worker(0, 1, threads)
    worker.join(*worker.address())
    rows = []
    for (name, dtype), trial in trials.items():
        losses, bound = theirs[name, dtype]
        row = differences(own_losses(worker, trial), losses)
        rows.append({"case": name, "dtype": dtype, **row, "bound": bound, "within": row["max_difference"] <= bound})
    worker.end_trial()
    return {
        "settings": settings(
            task=TASK,
            model=model,
            samples=samples,
            lora_r=LORA.r,
            lora_dropout=0.0,
            target_modules=LORA.target_modules,
            learning_rate=TRAIN.learning_rate,
            threads=threads,
            law=LAW,
        ),
        "rows": rows,
    }


def make_trial(case: Case, samples: int, model: str, dtype: str) -> TrialConfig:
    """A trial of the case, without dropout: the two draw it from other streams."""
    train = TRAIN.model_copy(update={**case.train, "dtype": dtype})
    lora = LORA.model_copy(update={"lora_dropout": 0.0})
    return TrialConfig(TASK, case.design, model, 0, samples, 1, chat_template="off", lora=lora, train=train)


def own_losses(worker: Any, trial: TrialConfig) -> list[float]:
    """The loss of every step of a trial in a worker of ours."""
    samples = write_samples(trial)
    steps = worker.start_plain(trial, samples, samples).steps
    losses: list[float] = worker.train(steps)
    return losses


def trainer_losses(trial: TrialConfig, threads: int = 1) -> list[float]:
    """The loss of every step of the plain script on the same trial."""
    import torch

    torch.set_num_threads(threads)
    job = dict(make_job(trial, threads=threads, logging_steps=1).data)
    model, tokenizer = plain_script.load(job)
    _, losses = plain_script.train(model, tokenizer, plain_script.tokenize(job["train"], tokenizer), job)
    return losses


def differences(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Largest and mean difference of two runs' losses; infinite where one is not finite."""
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    gaps = [abs(one - other) for one, other in zip(ours, theirs, strict=True)]
    gaps = [gap if math.isfinite(gap) else math.inf for gap in gaps]
    return {"steps": len(gaps), "max_difference": max(gaps), "mean_difference": mean(gaps)}


def trainers_apart(trial: TrialConfig, theirs: Sequence[float], threads: int) -> float:
    """The largest difference of any two runs of Trainer, one for each number of micro-batches that a step may have."""
    size, parts = trial.train.train_batch_size, trial.train.parts
    others = [count for count in range(1, size + 1) if size % count == 0 and count != parts]
    cut = [trial.train.model_copy(update={"gradient_accumulation_steps": count}) for count in others]
    runs = [theirs, *(trainer_losses(replace(trial, train=train), threads) for train in cut)]
    return max(float(differences(one, other)["max_difference"]) for one, other in combinations(runs, 2))
