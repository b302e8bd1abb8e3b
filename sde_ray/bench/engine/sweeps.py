"""The same designs in three ways, side by side: wall time, where it goes, scores; against the floor.

    compare(Size(designs=16), Machine(at_once=2), model="tiny", repeats=3) ─▶ {"settings", "rows", "phases", "scores"}

Each repeat has a seed of its own, so that a difference of scores between two ways stands beside training noise, and
runs the ways one after another, beginning with another one each time. Pruning is no part of it: every trial trains and
answers all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any

from sde_ray.bench.engine import plain_script
from sde_ray.bench.engine.floor import count_parameters, measure_rates
from sde_ray.bench.engine.measurement import Measurement, batch_sizes_for, best_batch_size, ratio, timed
from sde_ray.bench.engine.settings import keep_quiet, settings
from sde_ray.bench.engine.ways import DESCRIPTIONS, WAYS, Machine, Outcome
from sde_ray.bench.engine.work import LORA, TASK, TRAIN, Job, Size, make_job, make_trials, total_work
from sde_ray.design.designs import paper_label

BATCH_SIZES = (8, 32, 64, 128)  # of the plain script's decoding
BASELINES = ("process", "tune")
Say = Callable[[str], None]


def compare(
    size: Size,
    machine: Machine,
    *,
    model: str = "tiny",
    dtype: str = "auto",
    repeats: int = 3,
    ways: Sequence[str] = tuple(WAYS),
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Run the same trials in each way, `repeats` times. Returns plain JSON values."""
    from sde_ray.models import base

    keep_quiet()
    say("Measuring the plain script's best batch size and the matrix rate.")
    trials = make_trials(size, model, 0, dtype)
    batch_rates = decode_rates(make_job(trials[0], threads=machine.threads))
    batch_size = best_batch_size(batch_rates)
    rate = measure_rates(machine.at_once, machine.threads, base.resolve_dtype(dtype))
    outcomes: dict[str, list[Outcome]] = {way: [] for way in ways}
    floors: list[dict[str, float]] = []
    for seed in range(repeats):
        jobs = [make_job(one, batch_size, machine.threads) for one in make_trials(size, model, seed, dtype)]
        for way in [*ways[seed % len(ways) :], *ways[: seed % len(ways)]]:
            with tempfile.TemporaryDirectory() as folder:
                outcomes[way].append(WAYS[way](jobs, machine, Path(folder)))
            say(f"Repeat {seed + 1} of {repeats}: {way}, {outcomes[way][-1].wall:.1f} s.")
        floors.append(_floor_seconds(jobs, [outcomes[way][-1] for way in ways], model, rate))
    return {
        "settings": {
            **settings(**_work_settings(size, machine, model, base.resolve_dtype(dtype), repeats, jobs)),
            "plain_decode_batch_size": batch_size,
            "plain_decode_tokens_per_second": batch_rates,
        },
        "rows": [row.to_dict() for row in summary(outcomes, floors, rate)],
        "phases": {
            **{way: phase_rows([one.phases for one in runs]) for way, runs in outcomes.items()},
            "floor": phase_rows([{name: seconds * machine.at_once for name, seconds in one.items()} for one in floors]),
        },
        "scores": score_rows([paper_label(one.design) for one in trials], outcomes),
        "score_differences": {
            way: score_difference(outcomes["ours"], outcomes[way])
            for way in BASELINES
            if way in outcomes and "ours" in outcomes
        },
    }


def decode_rates(job: Job) -> dict[int, float]:
    """Tokens a second of the plain script's decoding with the untrained base, by batch size."""
    import torch

    torch.set_num_threads(job.data["threads"])
    model, tokenizer = plain_script.load(dict(job.data))
    begin = plain_script.begin(tokenizer)
    prompts = [[*begin, *plain_script.encode(item["prompt"], tokenizer)] for item in job.data["items"]]
    generate = partial(plain_script.generate, model, tokenizer, prompts, job.data["max_new_tokens"])
    rates = {}
    for size in batch_sizes_for(BATCH_SIZES, len(prompts)):
        seconds, generated = timed(partial(generate, size))
        rates[size] = sum(map(len, generated)) / seconds
    return rates


def summary(
    outcomes: Mapping[str, Sequence[Outcome]], floors: Sequence[Mapping[str, float]], rate: float
) -> list[Measurement]:
    """Wall times, their ratios, and the floor."""
    walls = {
        way: Measurement(DESCRIPTIONS[way], "s", tuple(one.wall for one in runs)) for way, runs in outcomes.items()
    }
    rows = list(walls.values())
    if "ours" in walls:
        ours = walls["ours"]
        rows += [ratio(f"{way} / ours", walls[way], ours) for way in BASELINES if way in walls]
    floor = Measurement("floor: matrix products at the measured rate", "s", tuple(sum(one.values()) for one in floors))
    rows += [floor, Measurement("matrix rate, all places together", "Gflop/s", (rate / 1e9,))]
    return [*rows, *(ratio(f"{way} / floor", walls[way], floor) for way in walls)]


def phase_rows(runs: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Worker-seconds by phase, as rows; `runs`: of each repeat."""
    return [Measurement(name, "worker-s", tuple(one[name] for one in runs)).to_dict() for name in runs[0]]


def score_rows(labels: Sequence[str], outcomes: Mapping[str, Sequence[Outcome]]) -> list[dict[str, Any]]:
    """Each design's score in each way, the mean of the repeats, and ours less the process'."""
    rows: list[dict[str, Any]] = []
    for number, label in enumerate(labels):
        means = {way: mean(one.scores[number] for one in runs) for way, runs in outcomes.items()}
        gaps = {f"ours - {way}": means["ours"] - means[way] for way in BASELINES if {way, "ours"} <= set(means)}
        rows.append({"design": label, **means, **gaps})
    return rows


def score_difference(ours: Sequence[Outcome], other: Sequence[Outcome]) -> dict[str, Any]:
    """The mean difference of scores, ours less the other's, over designs and seeds, beside the noise of a seed.

    The 95% interval is that of paired differences. `seed_noise`: standard deviation of one score between seeds, within
    a design, of the other way; None: one repeat has none. `typical`: the mean size of a difference, sign left out.
    """
    from scipy import stats

    gaps = [a - b for one, two in zip(ours, other, strict=True) for a, b in zip(one.scores, two.scores, strict=True)]
    by_design = list(zip(*(one.scores for one in other), strict=True))
    noise = sqrt(mean(variance(scores) for scores in by_design)) if len(other) > 1 else None
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / sqrt(len(gaps)) if len(gaps) > 1 else None
    low, high = (None, None) if half is None else (mean(gaps) - half, mean(gaps) + half)
    return {
        "mean": mean(gaps),
        "low": low,
        "high": high,
        "typical": mean(map(abs, gaps)),
        "seed_noise": noise,
        "equal_within_noise": None if low is None or high is None else low <= 0.0 <= high,
    }


def _floor_seconds(jobs: Sequence[Job], outcomes: Sequence[Outcome], model: str, rate: float) -> dict[str, float]:
    """Seconds of the work's matrix products by phase; with the fewest tokens that a way has generated."""
    work, parameters = total_work(jobs, min(one.new_tokens for one in outcomes)), count_parameters(model)
    return {"train": work.training_flops(parameters) / rate, "decode": work.decoding_flops(parameters) / rate}


def _work_settings(
    size: Size, machine: Machine, model: str, dtype: str, repeats: int, jobs: Sequence[Job]
) -> dict[str, Any]:
    items, samples = size.designs * size.eval_size, sum(len(job.data["train"]) for job in jobs)
    return {
        "task": TASK,
        "model": model,
        "dtype": dtype,
        "designs": size.designs,
        "train_size": size.train_size,
        "eval_size": size.eval_size,
        "train_batch_size": TRAIN.train_batch_size,
        "learning_rate": TRAIN.learning_rate,
        "lora_r": LORA.r,
        "lora_dropout": LORA.lora_dropout,
        "target_modules": LORA.target_modules,
        "mean_train_tokens": sum(job.work.train_tokens for job in jobs) / samples,
        "mean_prompt_tokens": sum(job.work.prompt_tokens for job in jobs) / items,
        "at_once": machine.at_once,
        "threads": machine.threads,
        "gpu_share": machine.gpu_share,
        "ours_set": list(machine.sets),
        "repeats": repeats,
    }
