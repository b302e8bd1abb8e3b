"""Search methods compared on recorded trials: the embedded base on all designs, in `masa_216.csv`.

A design's value is its mean score with the seeds that all designs have. Where these are several, a search draws them as
its trials. With one seed for all, a trial reports the recorded score with noise added: of the standard
deviation between the seeds of those designs that have several, else around options and pairs (which counts what a
design has of its own as noise, too). The table has no scores at rungs, so no trial can be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from sde_ray.bench.designs import read
from sde_ray.bench.search.contest import COSTS, RegretTable, run_contest
from sde_ray.bench.search.contestants import WITHOUT_RUNGS
from sde_ray.bench.search.truth import SEEDS, Truth
from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.types import Design

MIN_DESIGNS = 20  # designs without which there is nothing to search
REPEATS = 100


def measure(
    methods: Sequence[str] = WITHOUT_RUNGS,
    repeats: int = REPEATS,
    costs: Sequence[int] = COSTS,
    jobs: int = 1,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, RegretTable]:
    """`masa_216` -> method -> cost -> mean_regret, within_0.01, standard_error, over repeated searches."""
    designs = recorded()
    affordable = [cost for cost in costs if cost <= len(designs)]
    return {"masa_216": run_contest(partial(_draw), range(repeats), methods, affordable, jobs, on_progress)}


@cache
def recorded() -> dict[Design, tuple[float, ...]]:
    """Scores by design, one for each seed that all designs have."""
    by_design = _by_seed()
    if len(by_design) < MIN_DESIGNS:
        raise UserError(
            f"Only {len(by_design)} designs are recorded; at least {MIN_DESIGNS} are needed. Run sweeps/masa_216.yaml."
        )
    shared = sorted(set.intersection(*(set(scores) for scores in by_design.values())))
    if not shared:
        raise UserError("The recorded designs have no seed in common. Run sweeps/masa_216.yaml to its end.")
    return {design: tuple(scores[seed] for seed in shared) for design, scores in sorted(by_design.items())}


def _by_seed() -> dict[Design, dict[int, float]]:
    by_design: dict[Design, dict[int, float]] = {}
    for row in read():
        design = make_design(**{axis: row[axis] for axis in AXES})
        by_design.setdefault(design, {})[int(row["seed"])] = float(row["weighted_kappa"])
    return by_design


def repeated() -> list[list[float]]:
    """The scores of each design that has several seeds."""
    return [list(scores.values()) for scores in _by_seed().values() if len(scores) > 1]


def noise() -> float:
    """Standard deviation of a trial: between the seeds of a design; around a surface where no design has several."""
    from sde_ray.search.adaptive.request import TrialRequest
    from sde_ray.search.adaptive.search import Adaptive

    several = repeated()
    if several:
        freedom = sum(len(scores) - 1 for scores in several)
        return float(np.sqrt(sum(np.var(scores) * len(scores) for scores in several) / freedom))
    search = Adaptive([tuple(recorded())])
    for design, (score,) in recorded().items():
        search.observe(TrialRequest(0, design, 0, 0), 0, score)
    scales = search.scales()
    return float(np.sqrt(sum(scales[name] ** 2 for name in ("design", "seed", "trial", "observation"))))


def note() -> str:
    """What this truth is, in words."""
    designs = recorded()
    seeds = len(next(iter(designs.values())))
    drawn = (
        f"its {seeds} seeds are drawn as trials"
        if seeds > 1
        else f"one seed, so trials report the recorded score with noise of {noise():.3f} added ({_source()})"
    )
    return f"{len(designs)} designs recorded on masa:d1; {drawn}. No scores at rungs: every trial is a full one."


def _source() -> str:
    several = repeated()
    return f"between the seeds of {len(several)} designs" if several else "around a fitted surface; see recorded.py"


def _draw(seed: int) -> Truth:
    designs, scores = tuple(recorded()), np.array(list(recorded().values()))
    chance = np.random.default_rng(seed)
    values = scores.mean(axis=1)
    if scores.shape[1] > 1:  # each design's seeds in an order of its own
        noise_by_seed = chance.permuted(scores - values[:, None], axis=1).T
    else:
        noise_by_seed = chance.normal(0, noise(), (len(SEEDS), len(designs)))
    return Truth(designs, values, np.zeros((1, len(designs))), noise_by_seed, rungs=(1.0,))
