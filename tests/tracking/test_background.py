"""Tracking in the background: trials never wait, nothing is lost over an outage, and what is missing is said."""

from __future__ import annotations

import threading
import time
import tracemalloc
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.pipeline import run as flow
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.types import TrialResult


def trial(seed: int) -> TrialConfig:
    return TrialConfig("masa:d1", make_design(), "tiny", seed, 100, 20)


def ended(seed: int) -> TrialResult:
    return TrialResult(trial(seed).key, trial(seed).resolved(), "finished", {"dev": {"weighted_kappa": 0.5}})


class Server:
    """A tracker that stands for MLflow: can be away, held up, or break at one method; remembers what it holds."""

    def __init__(self) -> None:
        self.tracking_uri, self.incomplete_trials = "http://user:hush@mlflow:5000", set[str]()
        self.away, self.breaks, self.tried = False, "", 0
        self.lets_in = threading.Event()
        self.lets_in.set()
        self.runs: dict[str, str] = {}
        self.tables: dict[str, list[Any]] = {}
        self.logged: list[str] = []
        self.status = ""
        self.calls, self.fails_every = 0, 0
        self.takes_s = 0.0

    @property
    def num_logged(self) -> int:
        return len(self.logged)

    def _enter(self, method: str) -> None:
        self.tried += 1
        assert self.lets_in.wait(60), "the test forgot to let it in"
        time.sleep(self.takes_s)
        if self.away:
            raise ConnectionError("http://user:hush@mlflow:5000 refused")
        if method == self.breaks:
            raise ValueError("a defect")
        self.calls += 1
        if self.fails_every and self.calls % self.fails_every == 0:
            raise ConnectionError("now and then")

    def on_sweep_start(self, name: str, resolved: Any, folder: Path, results: Iterable[TrialResult] = ()) -> None:
        self._enter("on_sweep_start")
        self.status = "RUNNING"
        for result in results:
            if self.runs.get(result.key) != result.status:
                self.on_trial_end(result, folder)

    def on_trial_start(self, config: TrialConfig) -> None:
        self._enter("on_trial_start")
        self.runs[config.key] = "running"

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        self._enter("on_trial_end")
        self.runs[result.key] = result.status
        self.logged.append(result.key)

    def log_table(self, name: str, rows: list[Any]) -> None:
        self._enter("log_table")
        self.tables[name] = rows

    def log_files(self, paths: Any) -> None:
        self._enter("log_files")

    def register_adapter(self, strategy: Any, adapter: Path) -> None:
        self._enter("register_adapter")

    def on_sweep_end(self, status: str) -> None:
        self._enter("on_sweep_end")
        self.status = status


class Sweep:
    """A driver in miniature: a ledger, and a background tracker in front of a server."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.ledger: list[TrialResult] = []
        self.tracker = BackgroundTracker(
            server, lambda: list(self.ledger), **{"retry_interval_s": 0.05, "flush_timeout_s": 60.0, **options}
        )  # type: ignore[arg-type]

    def begin(self) -> None:
        self.tracker.on_sweep_start("x", {}, Path("runs/x"))

    def run(self, *seeds: int) -> None:
        for seed in seeds:
            self.tracker.on_trial_start(trial(seed))
            self.ledger.append(ended(seed))
            self.tracker.on_trial_end(ended(seed), Path("t"))


def keys(*seeds: int) -> dict[str, str]:
    return {trial(seed).key: "finished" for seed in seeds}


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_everything_arrives_in_order_and_once() -> None:
    server = Server()
    sweep = Sweep(server)
    sweep.begin()
    sweep.run(0, 1, 2)
    sweep.tracker.log_table("leaderboard", [{"score": 1}])
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(0, 1, 2) and len(server.logged) == 3
    assert server.tables == {"leaderboard": [{"score": 1}]} and server.status == "FINISHED"


def test_trials_do_not_wait_for_a_slow_server_and_the_end_does() -> None:
    server = Server()
    server.lets_in.clear()  # it would hold whoever waits for it, for ever
    sweep = Sweep(server)
    sweep.begin()
    sweep.run(*range(8))
    assert server.logged == []
    threading.Timer(0.3, server.lets_in.set).start()
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(*range(8)) and server.status == "FINISHED"


def test_a_server_that_is_away_at_the_start_gets_all_when_it_comes(recwarn: pytest.WarningsRecorder) -> None:
    server = Server()
    server.away = True
    sweep = Sweep(server)
    sweep.begin()
    sweep.run(0, 1)
    sweep.tracker.log_table("leaderboard", [{"score": 1}])
    wait_until(lambda: server.tried >= 2)
    assert server.runs == {}
    server.away = False
    wait_until(lambda: server.runs == keys(0, 1) and server.tables)
    sweep.run(2)
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(0, 1, 2) and server.status == "FINISHED"
    messages = [str(one.message) for one in recwarn]
    assert sum("failed in on_sweep_start" in text for text in messages) == 1, "an outage is told once"
    assert not any("hush" in text for text in messages)


@pytest.mark.filterwarnings("ignore:MLflow at")
def test_the_lag_grows_while_something_is_missing_and_is_none_when_all_has_arrived() -> None:
    server = Server()
    sweep = Sweep(server)
    assert sweep.tracker.lag_s == 0.0
    sweep.begin()
    wait_until(lambda: sweep.tracker.lag_s == 0.0)
    server.lets_in.clear()
    sweep.run(1, 2)
    first = sweep.tracker.lag_s
    wait_until(lambda: sweep.tracker.lag_s > first > 0.0)
    server.lets_in.set()
    wait_until(lambda: sweep.tracker.lag_s == 0.0)
    assert server.runs == keys(1, 2)
    server.away = True
    sweep.run(3)
    wait_until(lambda: sweep.tracker.lag_s > 0.1)  # the queue is empty, and MLflow lacks a trial all the same
    server.away = False
    wait_until(lambda: sweep.tracker.lag_s == 0.0)
    assert server.runs == keys(1, 2, 3)
    sweep.tracker.on_sweep_end()


def test_an_outage_in_the_middle_loses_nothing_and_logs_nothing_twice() -> None:
    server = Server()
    sweep = Sweep(server)
    sweep.begin()
    sweep.run(0)
    wait_until(lambda: server.runs == keys(0))
    server.away = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sweep.run(1, 2)
        sweep.tracker.on_trial_start(trial(3))  # in flight when the server comes back
        tried = server.tried
        wait_until(lambda: server.tried >= tried + 2)
        server.away = False
        wait_until(lambda: server.runs == {**keys(0, 1, 2), trial(3).key: "running"})
    sweep.ledger.append(ended(3))
    sweep.tracker.on_trial_end(ended(3), Path("t"))
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(0, 1, 2, 3)
    assert sorted(server.logged) == sorted(keys(0, 1, 2, 3))


def test_a_server_that_stays_away_is_told_with_the_command_that_makes_up_for_it() -> None:
    server = Server()
    server.away = True
    sweep = Sweep(server)
    with pytest.warns(UserWarning, match="sde-ray sync runs/x"):
        sweep.begin()
        sweep.run(0)
        sweep.tracker.on_sweep_end()
    assert server.runs == {}


def test_a_server_that_is_away_is_asked_once_more_at_the_end_and_not_twice() -> None:
    server = Server()
    server.away = True
    sweep = Sweep(server, retry_interval_s=60.0)
    with pytest.warns(UserWarning):
        sweep.begin()
        wait_until(lambda: server.tried == 1)
        sweep.tracker.on_sweep_end()
    assert server.tried == 2, "whoever does not take the sweep's run does not take its end"


def test_the_patience_with_a_server_is_the_sweep_s_own(tmp_path: Path) -> None:
    mlflow = {"tracking_uri": "http://127.0.0.1:9", "retry_interval_s": 0.5, "flush_timeout_s": 0}
    config = check({"name": "x", "task": "masa:d1", "storage_path": str(tmp_path), "mlflow": mlflow})
    with pytest.warns(UserWarning, match="does not have everything"), flow.tracked(SweepRun(config)) as tracker:
        assert isinstance(tracker, BackgroundTracker)
        assert (tracker._retry_interval_s, tracker._flush_timeout_s) == (0.5, 0)


def test_a_server_that_hangs_holds_the_end_of_a_sweep_no_longer_than_its_grace() -> None:
    server = Server()
    server.lets_in.clear()
    sweep = Sweep(server, flush_timeout_s=0.3)
    with pytest.warns(UserWarning, match="does not have everything"):
        sweep.begin()
        sweep.run(0)
        sweep.tracker.on_sweep_end()
    server.lets_in.set()


def test_a_slow_server_holds_neither_trials_nor_a_ctrl_c_up_and_the_rest_is_told() -> None:
    """It answers, so the end of a finished sweep waits for it; who stops a sweep waits for his patience only."""
    server = Server()
    server.takes_s = 0.05  # 50 s for these trials
    sweep = Sweep(server, flush_timeout_s=0.3)
    sweep.begin()
    began = time.monotonic()
    sweep.run(*range(1000))
    assert time.monotonic() - began < 5, "no trial waits for it"
    with pytest.warns(UserWarning, match=r"does not have everything .* sde-ray sync runs/x"):
        sweep.tracker.on_sweep_end("KILLED")
    assert time.monotonic() - began < 7
    assert 0 < len(server.logged) < 1000


def test_a_full_queue_leaves_trials_to_the_ledger() -> None:
    server = Server()
    server.lets_in.clear()
    sweep = Sweep(server, queue_size=4)
    sweep.begin()
    sweep.run(*range(50))
    server.lets_in.set()
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(*range(50)) and len(set(server.logged)) == len(server.logged) == 50


def test_a_defect_in_one_call_keeps_no_other_back() -> None:
    server = Server()
    server.breaks = "log_files"
    sweep = Sweep(server)
    with pytest.warns(UserWarning, match="failed in log_files: ValueError: a defect"):
        sweep.begin()
        sweep.tracker.log_files([Path("report.html")])
        sweep.run(0)
        sweep.tracker.log_table("leaderboard", [])
        sweep.tracker.on_sweep_end("KILLED")
    assert server.runs == keys(0) and server.tables == {"leaderboard": []} and server.status == "KILLED"


def test_what_fails_for_itself_is_tried_a_few_times_only() -> None:
    server = Server()
    server.breaks = "log_files"
    sweep = Sweep(server)
    with pytest.warns(UserWarning):
        sweep.begin()
        sweep.tracker.log_files([Path("report.html")])
        wait_until(lambda: not sweep.tracker._replays and not sweep.tracker._behind)
        sweep.run(0)
        sweep.tracker.on_sweep_end()
    assert server.runs == keys(0) and server.status == "FINISHED"


def test_files_that_the_store_refused_are_told_at_the_end() -> None:
    server = Server()
    server.incomplete_trials = {"k"}
    sweep = Sweep(server)
    with pytest.warns(UserWarning, match="does not have everything"):
        sweep.begin()
        sweep.tracker.on_sweep_end()


@pytest.mark.filterwarnings("ignore:MLflow at")
@pytest.mark.parametrize("every", [3, 23])
def test_a_flapping_server_is_asked_until_it_has_everything(every: int) -> None:
    """Its retries come at the end alone, and each brings at least one trial."""
    server = Server()
    server.fails_every = every
    sweep = Sweep(server, retry_interval_s=60.0)
    sweep.begin()
    sweep.run(*range(40))
    sweep.tracker.log_table("leaderboard", [{"score": 1}])
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(*range(40)) and server.tables == {"leaderboard": [{"score": 1}]}
    assert server.status == "FINISHED" and len(server.logged) == 40


def test_a_server_that_dies_for_good_is_asked_no_longer_than_the_flush_timeout() -> None:
    server = Server()
    sweep = Sweep(server, flush_timeout_s=0.5)
    sweep.begin()
    sweep.run(0)
    wait_until(lambda: server.runs == keys(0))
    server.away = True
    begin = time.monotonic()
    with pytest.warns(UserWarning, match="does not have everything"):
        sweep.run(1)
        sweep.tracker.on_sweep_end()
    assert time.monotonic() - begin < 20 and server.status == "RUNNING"


def test_a_trial_that_always_fails_does_not_hold_the_end_for_ever() -> None:
    server = Server()
    server.breaks = "on_trial_end"
    sweep = Sweep(server, flush_timeout_s=0.5)
    with pytest.warns(UserWarning, match="does not have everything"):
        sweep.begin()
        sweep.run(0, 1)
        sweep.tracker.on_sweep_end()


@pytest.mark.filterwarnings("ignore:MLflow at")
def test_what_waits_during_an_outage_is_bounded() -> None:
    """10,000 trials end while the server is held up: what waits is the queue, and the ledger has the rest."""
    server = Server()
    server.lets_in.clear()
    sweep = Sweep(server)
    sweep.begin()
    config, result, folder = trial(0), ended(0), Path("t")
    tracemalloc.start()
    for _ in range(10_000):
        sweep.tracker.on_trial_start(config)
        sweep.tracker.on_trial_end(result, folder)
        sweep.tracker.log_table("leaderboard", [{"score": 1}])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20, peak
    sweep.ledger.append(result)
    server.lets_in.set()
    sweep.tracker.on_sweep_end()
    assert server.runs == keys(0) and server.logged == [result.key]
