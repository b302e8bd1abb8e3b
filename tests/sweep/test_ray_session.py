"""Ray's folder, and a cluster that is still growing: a sweep waits until a trial fits, asks once, gives up in time."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.storage.process import this_process
from sde_ray.sweep.cluster import ray_session
from sde_ray.sweep.cluster.ray_session import OWNER, short_folder


class Growing:
    """Ray's view of a cluster: the resources at each look, the last for ever; what it was asked for, and still is."""

    def __init__(self, *looks: dict[str, float]) -> None:
        self.looks, self.asked, self.standing = list(looks), list[Any](), list[Any]()

    def resources(self) -> dict[str, float]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def request(self, bundles: list[dict[str, float]]) -> object:
        self.asked.append(bundles)
        self.standing.append(object())
        return self.standing[-1]


def grow(monkeypatch: pytest.MonkeyPatch, *looks: dict[str, float]) -> Growing:
    cluster = Growing(*looks)
    monkeypatch.setattr("ray.cluster_resources", cluster.resources)
    monkeypatch.setattr("ray.util.placement_group", cluster.request)
    monkeypatch.setattr("ray.util.remove_placement_group", cluster.standing.remove)
    monkeypatch.setattr(ray_session.time, "sleep", lambda seconds: None)
    return cluster


def test_a_sweep_waits_for_nodes_and_asks_for_room_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = grow(monkeypatch, {"CPU": 0}, {"CPU": 0}, {"CPU": 4, "GPU": 2})
    wanted = Resources(address="auto", resources_per_worker={"GPU": 1})
    assert ray_session._max_trials(wanted, trials=5) == 2
    assert cluster.asked == [ray_session.bundles(wanted)] * 5, "for all trials, once"
    assert cluster.standing == [], "from then on the trials ask themselves"
    assert "Waiting up to 300 s for nodes" in capsys.readouterr().err


@pytest.mark.parametrize(("cap", "trials", "asked"), [(3, 50, 3), (None, 10**5, 200), (None, 0, 1)])
def test_no_more_room_is_asked_for_than_trials_may_run(
    cap: int | None, trials: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = grow(monkeypatch, {"CPU": 0}, {"CPU": 4})
    assert ray_session._max_trials(Resources(address="auto", max_concurrent_trials=cap), trials) == 4
    assert (len(cluster.asked), cluster.standing) == (asked, [])


def test_what_was_asked_for_is_let_go_where_no_room_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = grow(monkeypatch, {"CPU": 0})
    with pytest.raises(UserError, match="A trial needs 1 CPU"):
        ray_session._max_trials(Resources(address="auto", startup_timeout_s=0.2), trials=3)
    assert (len(cluster.asked), cluster.standing) == (3, [])


def test_a_cluster_that_has_room_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = grow(monkeypatch, {"CPU": 3})
    assert ray_session._max_trials(Resources(address="auto")) == 3 and cluster.asked == []


@pytest.mark.parametrize(
    "resources",
    [
        Resources(address="auto", startup_timeout_s=0, resources_per_worker={"GPU": 1}),
        Resources(resources_per_worker={"GPU": 1}),
    ],
)
def test_where_no_room_will_come_the_sweep_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch, resources: Resources
) -> None:
    grow(monkeypatch, {"CPU": 2})
    with pytest.raises(UserError, match="A trial needs 1 GPU, but Ray has 0"):
        ray_session._max_trials(resources)


def test_the_environment_of_a_sweep_adds_to_that_of_its_job() -> None:
    assert ray_session.ENVIRONMENT["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1"


@pytest.mark.parametrize(("failures", "starts"), [(2, 3), (3, 3)])
def test_ray_is_started_again_where_a_busy_machine_let_it_start_too_slowly(
    monkeypatch: pytest.MonkeyPatch, failures: int, starts: int
) -> None:
    import ray

    tried: list[Any] = []

    def init(**options: Any) -> None:
        tried.append(options)
        if len(tried) <= failures:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    if failures < ray_session.MAX_START_ATTEMPTS:
        ray_session._init({"address": "local"})
    else:
        with pytest.raises(UserError, match="did not start within 30 s, in 3 attempts"):
            ray_session._init({"address": "local"})
    assert tried == [{"address": "local"}] * starts


def test_ray_s_folder_of_a_process_that_is_gone_is_removed_and_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os.path, "isdir", lambda path: False)  # no shorter place
    mine = short_folder()
    ended = {**this_process(), "started": "1"}
    owners = {
        "sde-ended": json.dumps(ended),
        "sde-container": json.dumps({**ended, "namespace": "pid:[1]"}),  # its process ids mean nothing here
        "sde-machine": json.dumps({**ended, "machine": "another"}),
        "sde-odd": "[]",
        "sde-torn": '{"pid": 1',
    }
    for name, owner in owners.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / OWNER).write_text(owner)
    (tmp_path / "sde-other-program").mkdir()
    second = short_folder()
    assert {str(path) for path in tmp_path.iterdir()} == {
        *(mine, second),
        *(str(tmp_path / name) for name in [*owners, "sde-other-program"] if name != "sde-ended"),
    }
