"""How many trials may be under way on a cluster that grows, and what Tune is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ray.tune.search import Searcher

from sde_ray.config.schema import Resources
from sde_ray.search.adaptive.search import Adaptive
from sde_ray.sweep.cluster import concurrency as module
from sde_ray.sweep.cluster.concurrency import Concurrency
from sde_ray.sweep.tune_search import QueueSearcher
from sde_ray.types import Design


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Ray's view of the cluster: what it has now, and what it may have at most."""
    seen: dict[str, Any] = {"now": {"CPU": 1.0}, "most": None, "seconds": 0.0}
    monkeypatch.setattr("ray.cluster_resources", lambda: seen["now"])
    monkeypatch.setattr("ray._private.state.state.get_max_resources_from_cluster_config", lambda: seen["most"])
    monkeypatch.setattr(module.time, "monotonic", lambda: seen["seconds"])
    return seen


def test_trials_that_are_planned_in_any_case_wait_all_at_once(cluster: dict[str, Any]) -> None:
    concurrency = Concurrency(Resources(address="auto"), room=1, grows=True)
    assert concurrency.limit(depends_on_results=False) == concurrency.max_pending == module.MAX_PENDING_TRIALS


def test_the_users_cap_holds_however_small_the_cluster_was_at_the_start(cluster: dict[str, Any]) -> None:
    concurrency = Concurrency(Resources(address="auto", max_concurrent_trials=4), room=1, grows=True)
    for cpus in (1.0, 4.0, 400.0):
        cluster["now"], cluster["seconds"] = {"CPU": cpus}, cluster["seconds"] + 10
        assert concurrency.limit(depends_on_results=False) == concurrency.max_pending == 4
        assert concurrency.limit(depends_on_results=True) == min(4, int(cpus) + 1)


def test_a_search_that_learns_runs_ahead_of_its_results_by_one_trial(cluster: dict[str, Any]) -> None:
    concurrency = Concurrency(Resources(address="auto"), room=1, grows=True)
    assert concurrency.limit(depends_on_results=True) == 2
    cluster["now"] = {"CPU": 3.0}
    assert concurrency.limit(depends_on_results=True) == 2, "the nodes are not counted for each trial"
    cluster["seconds"] += module.REFRESH_S
    assert concurrency.limit(depends_on_results=True) == 4
    cluster["now"], cluster["seconds"] = {}, cluster["seconds"] + module.REFRESH_S
    assert concurrency.limit(depends_on_results=True) == 1, "all nodes were taken away; one trial asks for the next"


def test_a_search_that_learns_asks_for_all_nodes_where_ray_knows_how_many_there_may_be(
    cluster: dict[str, Any],
) -> None:
    cluster["most"] = {"CPU": 8, "memory": 10**9}
    assert Concurrency(Resources(address="auto"), room=1, grows=True).limit(depends_on_results=True) == 9


@pytest.mark.parametrize(
    ("cap", "room", "pending", "limit"), [(None, 2, 1, 3), (2, 2, 1, 3), (1, 2, 1, 1), (2, 4, 2, 2)]
)
def test_this_machines_own_ray_has_one_trial_waiting_at_most(
    cap: int | None, room: int, pending: int, limit: int
) -> None:
    concurrency = Concurrency(Resources(max_concurrent_trials=cap), room, grows=False)
    assert (concurrency.max_pending, concurrency.limit(True), concurrency.limit(False)) == (pending, limit, limit)


# ---- the searcher ----------------------------------------------------------------------------------------------------


def searcher(limit: Callable[[], int]) -> QueueSearcher:
    return QueueSearcher(lambda: object(), lambda: False, lambda trial: {"trial": 1}, limit)  # type: ignore[arg-type, return-value]


def test_the_searcher_has_as_many_trials_under_way_as_it_may() -> None:
    limit = [2]
    asked = searcher(lambda: limit[0])
    assert [asked.suggest(name) is not None for name in "abc"] == [True, True, False]
    asked.on_trial_complete("a")
    assert asked.suggest("d") is not None and asked.suggest("e") is None
    limit[0] = 3
    assert asked.suggest("e") is not None
    asked.on_trial_complete("b", error=True)
    asked.on_trial_complete("b")
    assert asked.suggest("f") is not None and asked.suggest("g") is None


def test_a_searcher_at_its_limit_is_not_at_its_end() -> None:
    asked = QueueSearcher(lambda: None, lambda: False, lambda trial: {}, lambda: 0)
    assert asked.suggest("a") is None
    assert QueueSearcher(lambda: None, lambda: False, lambda trial: {}).suggest("a") == Searcher.FINISHED


# ---- what depends on results -----------------------------------------------------------------------------------------


def test_adaptive_knows_its_first_trials_whatever_the_scores() -> None:
    """As long as it says so, the next request is the same with and without the scores of the ones before."""
    designs = [Design((("a", str(n % 4)), ("b", str(n // 4)))) for n in range(16)]

    def requests(scored: bool) -> list[tuple[Any, bool]]:
        search = Adaptive([designs], seeds=(0, 1), budget=12)
        made = []
        for number in range(8):
            first = search.has_first_trials
            request = search.suggest()
            if request is None:
                break  # it waits for scores
            made.append((request, first))
            if scored:
                search.report(request, 0, number / 10)
                search.on_trial_end(request, 0)
        return made

    known = [request for request, first in requests(scored=False) if first]
    assert len(known) >= 2
    after = requests(scored=True)
    assert [request for request, _ in after[: len(known)]] == known
    assert not after[-1][1], "later ones depend on them"
