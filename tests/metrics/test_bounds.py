"""Bounds of metrics, by name."""

import pytest

from sde_ray.metrics import metric_bounds


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("weighted_kappa", (-1.0, 1.0)),
        ("kappa_strict", (-1.0, 1.0)),
        ("weighted_kappa/food", (-1.0, 1.0)),
        ("f1/DNA", (0.0, 1.0)),
        ("format_adherence", (0.0, 1.0)),
        ("my_pkg.my_metrics:SCORE", None),
    ],
)
def test_bounds_by_name(name: str, bounds: tuple[float, float] | None) -> None:
    assert metric_bounds(name) == bounds
