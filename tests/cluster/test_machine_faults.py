"""What a machine does to a sweep: memory runs out, SIGTERM with a grace period, a clock set back, files left behind.

Real drivers with a Ray of their own; only the model is missing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.fake_runner import Fakes, planted
from helpers.nodes import Driver, Drivers, family

from sde_ray.config.load import load_config
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.storage.lease import refuse_if_held
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
LIMIT = 240.0


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    here = Drivers({**env, "RAY_worker_niceness": "0"}, tmp_path_factory.mktemp("drivers"))
    yield here
    here.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables, to copy: to make them takes seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowTracker(f"sqlite:///{path}").client.search_experiments()
    return path


class Study:
    """A small sweep on this machine: its file, its trials, its ledger and its drivers."""

    def __init__(self, folder: Path, drivers: Drivers, designs: list[str], **values: Any) -> None:
        self.place, self.drivers, self.calls, self.go = folder, drivers, folder / "calls.jsonl", folder / "go"
        self.sweep, self.folder = folder / "study.yaml", folder / "runs" / "study"
        given = {"task": "masa:d1", "designs": designs, "train_sizes": 40, "eval_size": 20, "out_of_domain": []}
        given |= {"storage_path": str(folder / "runs"), "resources": {"max_concurrent_trials": 1}}
        given |= {"mlflow": {"enabled": False}}
        self.sweep.write_text(yaml.safe_dump({**given, **values}))
        self.trials = {trial.key: trial for trial in plan(load_config(self.sweep)).trials}

    def start(self, hold: int = 0, seconds: float = 0.0, greed: str = "", **env: str) -> Driver:
        fakes = {"FAKE_CALLS": str(self.calls), "FAKE_GO": str(self.go), "FAKE_HOLD": str(hold), "FAKE_GREED": greed}
        output = self.place / f"driver-{len(list(self.place.glob('driver-*.log')))}.log"
        return self.drivers.start(["run", str(self.sweep)], {**fakes, "FAKE_SECONDS": str(seconds), **env}, output)

    def wait_for_trials(self, count: int, driver: Driver) -> None:
        """Until so many trials have begun."""
        self.wait(lambda: len(Fakes(self.calls).begun()) >= count, driver)

    def wait(self, condition: Any, driver: Driver) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert driver.poll() is None and time.monotonic() < deadline, driver.said()
            time.sleep(0.05)

    def results(self) -> dict[str, TrialResult]:
        return Ledger(self.folder / "ledger.jsonl").results()

    def assert_whole(self) -> None:
        entries = Ledger(self.folder / "ledger.jsonl").entries()
        assert Counter(entry.key for entry in entries if entry.status == "finished") == Counter(self.trials.keys())
        for entry in entries:
            assert entry.scores["dev"]["weighted_kappa"] == planted(make_design(**entry.config["design"]), 0)

    def finish(self) -> None:
        driver = self.start()
        assert driver.wait(LIMIT) == 0, driver.said()
        assert driver.said().splitlines()[-1] == f"complete: {len(self.trials)}"


# ---- the driver ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_killed_driver_leaves_no_process_of_its_ray_behind(tmp_path: Path, drivers: Drivers) -> None:
    study = Study(tmp_path, drivers, ["baseline", "es-sde"])
    driver = study.start(hold=2)
    study.wait_for_trials(2, driver)
    ray = family(driver.pid)[1:]
    assert len(ray) >= 3, "gcs_server, raylet, the trial's process"
    os.kill(driver.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(ray, timeout=LIMIT)  # Ray's agents first try, for a minute, to tell somebody
    assert [safely(one) for one in left] == []
    study.finish()
    study.assert_whole()


def safely(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_trial_that_runs_out_of_memory_is_a_result_with_its_reason(tmp_path: Path, drivers: Drivers) -> None:
    """By an exception where its own limit is met, by SIGKILL from the kernel; neither harms another trial."""
    study = Study(tmp_path, drivers, ["format=json", "labels=number", "baseline", "es-sde"])
    driver = study.start(greed="json=limit,number=kill")
    assert driver.wait(LIMIT) == 0, driver.said()
    ended = list(study.results().values())
    (limited,) = (result for result in ended if result.config["design"]["format"] == "json")
    (killed,) = (result for result in ended if result.config["design"]["labels"] == "number")
    assert limited.status == killed.status == "failed"
    assert "Unable to allocate 32.0 MiB" in limited.error, limited.error
    assert killed.error.startswith("The trial's process died: ") and len(killed.error) > 60, killed.error
    assert Counter(result.status for result in ended) == {"finished": 2, "failed": 2}
    begun = Counter(str(call["key"]) for call in Fakes(study.calls).begun())
    assert (begun[limited.key], begun[killed.key]) == (1, 2), "what was killed from outside is tried once more"
    study.finish()  # with enough memory, the failed ones run again
    assert {result.status for result in study.results().values()} == {"finished"}


@pytest.mark.long  # gigabytes, for real
def test_a_trial_that_rays_memory_monitor_kills_is_told_as_such(tmp_path: Path, drivers: Drivers) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 6 * 2**30:
        pytest.skip("takes up to 4 GiB of memory")
    most = (memory.total - memory.available + 2 * 2**30) / memory.total
    study = Study(tmp_path, drivers, ["format=json", "baseline"])
    driver = study.start(
        greed="json=monitor", RAY_memory_usage_threshold=f"{most:.3f}", RAY_memory_monitor_refresh_ms="100"
    )
    assert driver.wait(LIMIT) == 0, driver.said()
    status = {result.config["design"]["format"]: result for result in study.results().values()}
    assert (status["json"].status, status["natural"].status) == ("failed", "finished")
    assert "memory" in status["json"].error.lower(), status["json"].error


# ---- SIGTERM ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_sigterm_ends_a_sweep_within_its_grace_and_every_run_tells_the_truth(
    tmp_path: Path, drivers: Drivers, database: Path
) -> None:
    """Spot machines and Slurm send it, and kill what is left 30 s later: a trial in flight may take far longer."""
    shutil.copy(database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    designs = ["baseline", "es-sde", "ew-sde", "format=json"]
    study = Study(tmp_path, drivers, designs, mlflow={"tracking_uri": uri})
    driver = study.start(hold=3)
    study.wait_for_trials(3, driver)  # the third is in flight, and would be for minutes
    warned = time.monotonic()
    os.kill(driver.pid, signal.SIGTERM)
    assert driver.wait(LIMIT) == 130, driver.said()
    took = time.monotonic() - warned
    ledger = study.folder / "ledger.jsonl"
    told = f"Stopped. 2 of 4 trials are saved in {ledger}. Run the same command again to go on."
    assert told in driver.said() and "Traceback" not in driver.said(), driver.said()
    assert [result.status for result in study.results().values()] == ["finished", "finished"]
    assert not (study.folder / "lease.json").exists()
    assert statuses(uri) == {"sweep": ["KILLED"], "trial": ["FINISHED", "FINISHED", "KILLED"]}
    assert took < 30, f"{took:.0f} s"
    study.finish()
    study.assert_whole()
    assert statuses(uri) == {"sweep": ["FINISHED"], "trial": ["FINISHED"] * 4}


def test_sigterm_before_the_first_trial_ends_in_order_too(tmp_path: Path, drivers: Drivers, database: Path) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    study = Study(tmp_path, drivers, ["baseline"], mlflow={"tracking_uri": uri})
    driver = study.start()
    study.wait((study.folder / "resolved.json").exists, driver)  # Ray is not there yet
    os.kill(driver.pid, signal.SIGTERM)
    assert driver.wait(LIMIT) == 130, driver.said()
    assert "Stopped." in driver.said() and "Traceback" not in driver.said(), driver.said()
    assert not (study.folder / "lease.json").exists() and study.results() == {}
    assert statuses(uri) == {"sweep": ["KILLED"]}


def statuses(uri: str) -> dict[str, list[str]]:
    """How the runs in MLflow have ended, by kind."""
    client = MlflowTracker(uri).client
    found: dict[str, list[str]] = {}
    for run in client.search_runs([client.get_experiment_by_name("sde_ray").experiment_id]):
        found.setdefault(run.data.tags["sde.run"], []).append(run.info.status)
    return {kind: sorted(ended) for kind, ended in found.items()}


# ---- MLflow's sqlite -------------------------------------------------------------------------------------------------

LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.mark.long
def test_a_database_that_another_process_has_locked_holds_no_trial_up(
    tmp_path: Path, drivers: Drivers, database: Path
) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    study = Study(tmp_path, drivers, ["baseline", "es-sde"], mlflow={"tracking_uri": uri, "retry_interval_s": 0.5})
    command = [sys.executable, "-c", LOCK, str(tmp_path / "mlflow.db")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        driver = study.start(hold=2)
        study.wait(lambda: "database is locked" in driver.said() and len(study.results()) == 1, driver)
        study.go.touch()
        study.wait(lambda: len(study.results()) == 2, driver)  # all trials have ended, and it is still locked
        other.communicate("let go\n", timeout=60)
        assert driver.wait(LIMIT) == 0, driver.said()
    finally:
        other.kill()
        other.wait()
    assert driver.said().count("UserWarning: MLflow at") == 1, driver.said()
    assert "sde-ray sync" not in driver.said()
    study.assert_whole()
    assert statuses(uri) == {"sweep": ["FINISHED"], "trial": ["FINISHED"] * 2}


# ---- the clock -------------------------------------------------------------------------------------------------------

CLOCK = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* An hour back as soon as the file CLOCK_BACK is there. The monotonic clock goes on, as it does on a real machine. */
static long back(void) {
    const char *path = getenv("CLOCK_BACK");
    return path && access(path, F_OK) == 0 ? 3600 : 0;
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, id, now);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec -= back();
    return code;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int code = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return code;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.long
def test_a_clock_that_jumps_back_in_the_middle_of_a_sweep_changes_nothing(tmp_path: Path) -> None:
    """The driver's clock and that of all it starts, Ray's own processes too, goes back by an hour."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, for a clock of the test's own")
    (tmp_path / "clock.c").write_text(CLOCK)
    library, back = tmp_path / "clock.so", tmp_path / "back"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c"], check=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"LD_PRELOAD": str(library), "CLOCK_BACK": str(back), "RAY_worker_niceness": "0"}
    drivers = Drivers(env, tmp_path)
    try:
        study = Study(tmp_path, drivers, ["baseline", "es-sde", "ew-sde", "format=json"])
        driver = study.start(hold=3)
        study.wait_for_trials(3, driver)
        back.touch()
        told = subprocess.run([sys.executable, "-c", "import time; print(time.time())"], env=env, capture_output=True)
        assert 3500 < time.time() - float(told.stdout) < 3700, "this is what the driver sees"
        with pytest.raises(UserError, match=f"being run by process {driver.pid} on "):
            refuse_if_held(study.folder)
        study.go.touch()
        assert driver.wait(LIMIT) == 0, driver.said()
        assert driver.said().splitlines()[-1] == "complete: 4", driver.said()
        study.finish()
    finally:
        drivers.close()
    study.assert_whole()


# ---- what a dead process has left behind -----------------------------------------------------------------------------


def test_the_address_of_a_cluster_that_is_gone_hinders_no_sweep(tmp_path: Path, drivers: Drivers) -> None:
    """`ray_current_cluster` and RAY_ADDRESS name it; the sweep starts a Ray of its own."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    study = Study(tmp_path, drivers, ["baseline"])
    driver = study.start(RAY_TMPDIR=str(tmp_path), RAY_ADDRESS="127.0.0.1:9")
    assert driver.wait(LIMIT) == 0, driver.said()
    study.assert_whole()
