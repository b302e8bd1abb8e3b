"""Summary of a contest: mean regrets with standard errors, and paired differences between methods.

    means(regrets)["optuna"][22]                     -> {"mean_regret": ..., "standard_error": ..., "within_0.01": ...}
    differences(regrets, "adaptive")["optuna"][22]   -> {"difference": ..., "standard_error": ..., "result": "tie"}

within_0.01: the share of replications whose regret is at most 0.01. A difference is the regret of a method less that of
the other on the same truth and noise; where it is below two of its standard errors the two are tied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sde_ray.bench.search.contest import Regrets
from sde_ray.bench.search.truth import Array

NEAR_BEST = 0.01
TIED = 2.0  # standard errors
AHEAD, BEHIND, TIE = "ahead", "behind", "tie"
Cells = dict[str, dict[int, dict[str, Any]]]


def standard_error(values: Array) -> float:
    """Standard error of a mean; not a number for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def means(regrets: Regrets) -> Cells:
    """Mean regret, its standard error, and the share within `NEAR_BEST`, by method and cost."""
    return {
        method: {
            cost: {
                "mean_regret": float(values.mean()),
                "standard_error": standard_error(values),
                f"within_{NEAR_BEST:g}": float(np.mean(values <= NEAR_BEST + 1e-12)),
            }
            for cost, values in by_cost.items()
        }
        for method, by_cost in regrets.items()
    }


def differences(regrets: Regrets, of: str) -> Cells:
    """Paired differences: the regret of one method less that of each other, by the other and cost.

    `result` says what that makes of the one: ahead (lower regret), behind, or tie.
    """
    return {
        other: {cost: _difference(regrets[of][cost] - values) for cost, values in by_cost.items()}
        for other, by_cost in regrets.items()
        if other != of
    }


def _difference(values: Array) -> dict[str, Any]:
    mean, error = float(values.mean()), standard_error(values)
    clear = abs(mean) >= TIED * error and mean != 0  # false where the error is not a number
    result = TIE if not clear else AHEAD if mean < 0 else BEHIND
    return {"difference": mean, "standard_error": error, "result": result}
