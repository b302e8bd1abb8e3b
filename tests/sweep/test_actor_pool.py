"""Calls on a resident object: the same values here and on Ray workers, each of which makes the object once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.sweep.cluster import actor_pool


class Squares:
    """Says its process and how many of its kind that has made; refuses 13."""

    made = 0

    def __init__(self) -> None:
        Squares.made += 1

    def __call__(self, number: int) -> tuple[int, int, int]:
        if number == 13:
            raise UserError("13 brings bad luck. Give another number.")
        return number**2, os.getpid(), Squares.made


def test_a_few_calls_are_made_here_on_one_object() -> None:
    Squares.made = 0
    found = dict(actor_pool.map_on_actors(Resources(), Squares, [(n,) for n in range(5)]))
    assert found == {n: (n**2, os.getpid(), 1) for n in range(5)}
    assert list(actor_pool.map_on_actors(Resources(), Squares, [])) == [] and Squares.made == 1
    with pytest.raises(UserError, match="bad luck"):
        list(actor_pool.map_on_actors(Resources(), Squares, [(13,)]))


@pytest.mark.slow
@pytest.mark.cluster
def test_many_calls_go_to_workers_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers answer 40 calls, each on an object of its own; what one of them refuses is told as it is."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))  # they must find `Squares`
    count = actor_pool.MAX_CALLS_WITHOUT_RAY + 16
    resources = Resources(resources_per_worker={"CPU": 1}, max_concurrent_trials=2)
    found = dict(actor_pool.map_on_actors(resources, Squares, [(n + 100,) for n in range(count)]))
    assert {n: value[0] for n, value in found.items()} == {n: (n + 100) ** 2 for n in range(count)}
    assert {value[2] for value in found.values()} == {1}
    processes = {value[1] for value in found.values()}
    assert os.getpid() not in processes and len(processes) == 2
    with pytest.raises(UserError, match="^13 brings bad luck"):
        list(actor_pool.map_on_actors(resources, Squares, [(n,) for n in range(count)]))
