"""Plans of small sweeps of `masa:d1`, for the tests of plans and queues."""

from __future__ import annotations

from typing import Any

from sde_ray.config.load import check
from sde_ray.sweep.plan import Plan, plan

BASE: dict[str, Any] = {
    "name": "x",
    "task": "masa:d1",
    "train_sizes": 40,
    "eval_size": 20,
    "search": {"method": "grid", "points_to_evaluate": []},
}
FEW: dict[str, Any] = {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text"}}


def plan_of(**values: Any) -> Plan:
    """The plan of a grid of `masa:d1` that tries nothing first, with these values of its YAML changed."""
    values = {**BASE, **values}
    return plan(check({**values, "search": {"points_to_evaluate": [], **values["search"]}}))
