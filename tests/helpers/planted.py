"""Results without a model: scores planted in designs, for the tests of effects, strategy, validation and report."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import AXES
from sde_ray.types import Design, TrialResult

Worth = Callable[[Design], float]

ALL = tuple(
    Design(tuple(zip(AXES, options, strict=True)))
    for options in product(*(tuple(k for k, o in axis.options.items() if o.swept) for axis in AXES.values()))
)
WORTH = {
    ("instruction", "first"): 0.10,
    ("instruction", "none"): -0.08,
    ("format", "lines"): 0.12,
    ("format", "json"): -0.15,
    ("unmentioned", "omit"): 0.05,
    ("labels", "number"): -0.04,
    ("reasoning", "cot"): 0.002,
}


def additive(design: Design) -> float:
    """Every option's worth, whatever the others are."""
    return 0.5 + sum(WORTH.get(choice, 0.0) for choice in design.options)


def one_at_a_time() -> list[Design]:
    """The baseline, and every other option alone."""
    base = Design(tuple((axis.name, axis.default) for axis in AXES.values()))
    others = [
        base.replace(**{axis.name: name})
        for axis in AXES.values()
        for name, option in axis.options.items()
        if name != axis.default and option.swept
    ]
    return [base, *others]


def result(
    design: Design,
    score: float,
    seed: int = 0,
    task: str = "masa:d1",
    size: int = 100,
    splits: Sequence[str] = ("dev",),
    tokens: float = 20.0,
    adherence: float = 1.0,
    ood: float | None = None,
) -> TrialResult:
    """A finished trial with these scores on each split."""
    config = TrialConfig(task, design, "tiny", seed, size, 50, tuple(splits))
    scores = {split: {"weighted_kappa": score, "format_adherence": adherence} for split in splits}
    if ood is not None:
        scores |= {f"{split}_ood": {"weighted_kappa": ood, "format_adherence": adherence} for split in splits}
    return TrialResult(config.key, config.resolved(), "finished", scores, tokens={"output": tokens})


def results(
    designs: Iterable[Design], worth: Worth = additive, seeds: Sequence[int] = (0,), noise: float = 0.0
) -> list[TrialResult]:
    """A trial for each design and seed; the noise is the same in every run."""
    noises = random.Random(7)
    return [result(design, worth(design) + noises.gauss(0, noise), seed) for design in designs for seed in seeds]
