"""How many trials a search may use in a contest, what it takes at least, and that in words.

budget(config, designs)             -> 22     designs; for `adaptive` full trainings, whatever they are spent on
describe_budget(config, designs)    -> "screening: 20 designs ..."     for `sde-ray plan`; "" where nothing needs saying
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.search import METHODS
from sde_ray.types import Design

DEFAULT_BUDGET_FRACTION = 10  # `adaptive` takes one in so many designs' worth of trials, unless it is told otherwise,
MIN_TRIALS_PER_COEFFICIENT = (
    2  # and at least so many trials, up to the first rung, for each number that describes the options
)


def budget(config: SweepConfig, designs: Sequence[Design]) -> int:
    """Designs tried in a contest, or full trainings that `adaptive` may use. `UserError` if those are too few."""
    search = config.search
    if not METHODS[search.method].trials:
        return len(designs) if search.n_trials is None else min(len(designs), search.n_trials)
    if not designs:
        return 0
    from sde_ray.search.factorial import num_coefficients  # scipy: only where it is used

    most = len(designs) * len(config.seeds)
    first = config.rungs()[0]
    numbers = num_coefficients(designs)
    if search.n_trials is None:
        return min(
            most,
            max(
                math.ceil(len(designs) / DEFAULT_BUDGET_FRACTION),
                math.ceil(MIN_TRIALS_PER_COEFFICIENT * numbers * first) + 2,
            ),
        )
    least = min(len(designs), math.ceil(numbers * first) + 1)
    if search.n_trials < least:
        screened = "trials" if first == 1 else f"trials up to the first rung ({first:g} of a training)"
        raise UserError(
            f"search.n_trials is {search.n_trials}, but adaptive takes at least {least}: {numbers} {screened} to tell "
            f"the options apart, and one more in full. Set search.n_trials: {least} or more, list "
            "fewer options, or set search.method: random."
        )
    return min(most, search.n_trials)


def repeats(config: SweepConfig) -> int:
    """How many trials, or budgets, a design's or contest's number stands for: seeds and training sizes."""
    sizes = len(config.train_sizes)
    return sizes if METHODS[config.search.method].trials else sizes * len(config.seeds)


def describe_budget(config: SweepConfig, designs: Sequence[Design], num_values: int = 1) -> str:
    """What `adaptive` will do with its budget in a contest, whose designs are trained at so many nuisance values."""
    if not METHODS[config.search.method].trials or not designs:
        return ""
    from sde_ray.search.factorial import screening_size

    rungs, total = config.rungs(), budget(config, designs)
    count = screening_size(designs, total, rungs[0])
    begin = f"screening: {count} designs, a D-optimal fraction"
    if len(rungs) > 1:
        begin += f", each up to {rungs[0]:g} of its training ({count * rungs[0]:g} full trials)"
    again = f"seeds {', '.join(map(str, config.seeds))} repeat" if len(config.seeds) > 1 else "one seed: none repeats"
    end = f"{total} full trials"
    if config.search.confidence < 1:
        end += f", or before when {config.search.confidence:.0%} sure to be within {config.search.margin:g} of the best"
    words = f"{begin}; then where a score is worth most for its cost ({again}), to the end of {end}"
    return f"{words}; each stands for one at each of {num_values} nuisance values" if num_values > 1 else words
