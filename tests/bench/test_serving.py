"""The load measurement counts requests, and what fails."""

from __future__ import annotations

from helpers.fake_predictor import FakePredictor

from sde_ray.bench.serving import measure


def test_more_clients_are_answered_together() -> None:
    predictor = FakePredictor(seconds=0.02)
    one, many = measure(predictor, (1, 8), 0.4)  # type: ignore[arg-type]
    assert (one.parallel, many.parallel, one.failed, many.failed) == (1, 8, 0, 0)
    assert one.requests + many.requests + 1 == len(predictor.asked) and one.requests <= 20
    assert many.requests > 2 * one.requests and 0 < one.p50_ms <= one.p99_ms
