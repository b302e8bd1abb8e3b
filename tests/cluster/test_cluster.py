"""A real Ray cluster of a head and two nodes, a real MLflow server, real drivers: submitted, stopped, and killed.

Rounds of faults are seeded: each kills one thing at a random moment, then lets the same command finish. After each,
every trial of the plan is finished exactly once, its score is that of an undisturbed run, MLflow has one run a trial
with a true end, and no placement group or trial process is left over. `make test` runs one round of each victim, `make
test-all` five more.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from helpers.fake_runner import Fakes, planted
from helpers.nodes import TOKEN, Driver, MlflowServer, Nodes, family, kill, own_namespace

from sde_ray.config.load import load_config
from sde_ray.design.designs import make_design
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan

pytestmark = [pytest.mark.cluster, pytest.mark.faults]
VICTIMS = ("driver", "worker", "node", "mlflow")
LIMIT = 240.0


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The server while it starts, so that the cluster need not wait for it."""
    here = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        here.begin()
        yield here
    finally:
        here.kill()


@pytest.fixture(scope="module")
def nodes(begun: MlflowServer) -> Iterator[Nodes]:
    here = Nodes()
    try:
        here.start()
        yield here
    finally:
        here.close()


@pytest.fixture(scope="module")
def server(begun: MlflowServer, nodes: Nodes) -> MlflowServer:
    begun.wait()
    return begun


class Study:
    """A small sweep on the cluster: its file, its trials, what is in its ledger, and its drivers."""

    def __init__(self, folder: Path, nodes: Nodes, server: MlflowServer, name: str = "study", **values: Any) -> None:
        self.nodes, self.server, self.name = nodes, server, name
        self.sweep, self.calls, self.go = folder / f"{name}.yaml", folder / "calls.jsonl", folder / "go"
        self.folder = folder / "runs" / name
        given: dict[str, Any] = {
            "task": "masa:d1",
            "designs": ["baseline", "es-sde", "ew-sde", "format=json", "format=lines", "labels=number"],
            "train_sizes": 40,
            "eval_size": 20,
            "out_of_domain": [],
            "storage_path": str(folder / "runs"),
            "resources": {"resources_per_worker": {"CPU": 1}},
            "mlflow": {
                "tracking_uri": server.uri,
                "experiment_name": name,
                "retry_interval_s": 1,
                "flush_timeout_s": 60,
            },
            **values,
        }
        self.sweep.write_text(yaml.safe_dump(given))
        self.trials = {trial.key: trial for trial in plan(load_config(self.sweep)).trials}

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.jsonl")

    def fakes(self, seconds: float, hold: int) -> dict[str, str]:
        """What a driver is told of its trials. From number `hold` on they wait until `go` is there."""
        given = {"FAKE_CALLS": str(self.calls), "FAKE_SECONDS": str(seconds)}
        return {**given, "FAKE_HOLD": str(hold), "FAKE_GO": str(self.go)}

    def start(self, seconds: float = 0.0, hold: int = 0) -> Driver:
        output = self.sweep.with_name(f"driver-{len(list(self.sweep.parent.glob('driver-*.log')))}.log")
        arguments = ["run", str(self.sweep), "--address", self.nodes.address]
        return self.nodes.drivers.start(arguments, self.fakes(seconds, hold), output)

    def finish(self) -> str:
        """The same command until its end; what it said."""
        driver = self.start()
        assert driver.wait(LIMIT) == 0, driver.said()
        return driver.said()

    def wait_for_trials(self, count: int, process: Any) -> None:
        """Until so many trials have begun."""
        self.wait_for(lambda: len(Fakes(self.calls).begun()) >= count, process)

    def wait_for(self, condition: Callable[[], bool], process: Any) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert process.poll() is None, getattr(process, "said", str)()
            assert time.monotonic() < deadline, getattr(process, "said", str)()
            time.sleep(0.05)

    def runs(self) -> list[Any]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.server.uri)
        experiment = client.get_experiment_by_name(self.name)
        return [] if experiment is None else list(client.search_runs([experiment.experiment_id], max_results=1000))

    def assert_whole(self) -> None:
        entries = self.ledger.entries()
        finished = Counter(entry.key for entry in entries if entry.status == "finished")
        assert finished == Counter(self.trials.keys()), "every trial of the plan is finished exactly once"
        for entry in self.ledger.results().values():
            design = make_design(**entry.config["design"])
            assert entry.scores["dev"]["weighted_kappa"] == planted(design, entry.config["seed"])

    def assert_tracked(self) -> None:
        kinds: dict[str, list[Any]] = {"sweep": [], "trial": []}
        for run in self.runs():
            kinds[run.data.tags["sde.run"]].append(run)
        assert [run.info.status for run in kinds["sweep"]] == ["FINISHED"]
        assert Counter(run.data.tags["sde.key"] for run in kinds["trial"]) == Counter(self.trials.keys())
        assert {run.info.status for run in kinds["trial"]} == {"FINISHED"}
        assert {run.data.tags["sde.status"] for run in kinds["trial"]} == {"finished"}


def sde_ray(nodes: Nodes, folder: Path, *arguments: str) -> tuple[int, str]:
    """The command line, as a user of this cluster: its exit code, and what it printed on stdout."""
    output = folder / f"sde-ray-{arguments[0]}-{len(list(folder.glob('sde-ray-*')))}.log"
    done = nodes.drivers.start(arguments, {}, output, command="sde-ray")
    return done.wait(LIMIT), done.said()


# ---- jobs ------------------------------------------------------------------------------------------------------------


def sent(said: str) -> list[str]:
    """The job's id and whether it is a new one, in what a submission has said between the lines of Ray's client."""
    return next(line.split() for line in said.splitlines() if line.startswith("sde-jobs-"))


def read_by_the_cluster(nodes: Nodes) -> dict[str, Any]:
    """The status of the run, read by a job; the list of jobs is the same before and after."""
    code = "import json; from sde_ray.sweep.cluster import jobs; client = jobs.connect()\n"
    code += "run = jobs.run_status(client, 'jobs'); print(json.dumps([run, len(client.list_jobs())]))"
    env = {**nodes.env, "RAY_API_SERVER_ADDRESS": nodes.url}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    run, count = json.loads(done.stdout.splitlines()[-1])
    assert count == 1
    return dict(run)


def test_a_submitted_sweep_is_followed_stopped_and_resumed(tmp_path: Path, nodes: Nodes, server: MlflowServer) -> None:
    study = Study(tmp_path, nodes, server, "jobs")

    def submit(name: str, *options: str, hold: int = 0) -> Driver:
        given = {**study.fakes(0.0, hold), "PYTHONPATH": nodes.env["PYTHONPATH"]}
        return nodes.drivers.start(["submit", str(study.sweep), nodes.url, *options], given, tmp_path / f"{name}.log")

    laptop = submit("laptop", "--follow", hold=3)
    study.wait_for_trials(3, laptop)
    first = sent(laptop.said())
    assert first[1] == "True" and first[0].startswith("sde-jobs-") and first[0].endswith("-1")
    kill([laptop.pid])  # the laptop closes
    again = submit("again", hold=3)
    assert again.wait(LIMIT) == 0, again.said()
    assert sent(again.said()) == [first[0], "False"], "the job is at work: nothing is sent twice"
    told = json.loads(sde_ray(nodes, tmp_path, "status", "jobs", "--address", nodes.url, "--json")[1])
    assert [(job["id"], job["status"]) for job in told["jobs"]] == [(first[0], "RUNNING")]
    for run in (told["run"], read_by_the_cluster(nodes)):  # the second as from a laptop that lacks the folder
        assert (run["phase"], run["driver"]["state"], run["trials"]["finished"]) == ("sweep", "alive", 2)
    stopped = sde_ray(nodes, tmp_path, "stop", str(study.sweep), "--address", nodes.url)
    assert "STOPPED. Submit the same sweep again" in stopped[1], stopped
    assert len(study.ledger.results()) == 2, "the others were held"
    study.go.touch()
    followed = submit("followed", "--follow")
    assert followed.wait(LIMIT) == 0, followed.said()
    assert sent(followed.said()) == [f"{first[0][:-2]}-2", "True"]
    assert "complete: 6" in followed.said() and followed.said().splitlines()[-1] == "SUCCEEDED"
    assert "complete: 6" in sde_ray(nodes, tmp_path, "logs", "jobs", "--address", nodes.url)[1]
    study.assert_whole()
    study.assert_tracked()
    study.nodes.wait_until_idle()


@pytest.mark.parametrize(("token", "told"), [("", "401: no token was sent"), ("w" * 64, "403: another token")])
def test_a_refused_token_is_explained(nodes: Nodes, token: str, told: str, tmp_path: Path) -> None:
    env = {"RAY_AUTH_TOKEN": token, "HOME": str(tmp_path)}
    if not token:
        env["RAY_AUTH_MODE"] = "disabled"
    command = [sys.executable, "-m", "sde_ray", "status", "jobs", "--address", nodes.url]
    done = subprocess.run(command, env={**nodes.env, **env}, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert "ray get-auth-token" in done.stderr
    assert TOKEN not in done.stderr and (not token or token not in done.stderr)


def test_sqlite_is_refused_on_several_nodes(tmp_path: Path, nodes: Nodes, server: MlflowServer) -> None:
    study = Study(tmp_path, nodes, server, "sqlite", mlflow={"tracking_uri": f"sqlite:///{tmp_path / 'm.db'}"})
    driver = study.start()
    assert driver.wait(LIMIT) != 0 and "is a file on one machine, but the sweep is on" in driver.said()
    assert Fakes(study.calls).begun() == []


@pytest.mark.long
def test_a_node_that_does_not_see_the_folder_is_named_before_any_trial(
    tmp_path: Path, nodes: Nodes, server: MlflowServer
) -> None:
    """On that node alone, another file system lies where the sweep's folder is."""
    study, hidden = Study(tmp_path, nodes, server, "hidden"), tmp_path / "runs"
    hidden.mkdir()
    shell = f'mount -t tmpfs -o size=1m tmpfs "{hidden}" && exec "$@"'
    nodes.add(before_it=[*own_namespace(), "sh", "-c", shell, "sh"])
    try:
        driver = study.start()
        assert driver.wait(LIMIT) == 2, driver.said()
    finally:
        nodes.remove(nodes.nodes[-1])
    said = " ".join(driver.said().split())
    assert "must be one that all nodes share" in said, said
    assert said.count("does not see what the driver wrote there") == 1, "the other two nodes see it"
    assert Fakes(study.calls).begun() == []


@pytest.mark.long
def test_a_server_that_hangs_holds_no_trial_up(tmp_path: Path, nodes: Nodes, server: MlflowServer) -> None:
    assert server.process is not None
    study, stopped = Study(tmp_path, nodes, server, "hangs"), family(server.process.pid)
    for one in stopped:
        one.suspend()
    try:
        driver = study.start()
        study.wait_for_trials(6, driver)
        study.wait_for(lambda: len(study.ledger.results()) == 6, driver)  # all have ended, and it has not said a word
    finally:
        for one in stopped:
            one.resume()
    assert driver.wait(LIMIT) == 0, driver.said()
    study.assert_whole()
    study.assert_tracked()


# ---- rounds of faults ------------------------------------------------------------------------------------------------


def strike(victim: str, chance: random.Random, study: Study, driver: Driver) -> None:
    """Kill the victim, at a moment between the first trial's start and some way into the sweep; let the rest go on."""
    study.wait_for_trials(chance.randint(1, 4), driver)
    time.sleep(chance.uniform(0, 0.6))
    if victim == "driver":
        psutil.Process(driver.pid).kill()  # it alone: what it has started has to see to itself
    elif victim == "worker":
        psutil.Process(int(Fakes(study.calls).begun()[-1]["pid"])).kill()  # type: ignore[call-overload]
    elif victim == "node":
        study.nodes.remove(study.nodes.nodes[chance.randint(1, len(study.nodes.nodes) - 1)])
    else:
        study.server.kill()
    study.go.touch()


def mend(victim: str, study: Study) -> None:
    if victim == "node":
        study.nodes.add()
    if victim == "mlflow":
        study.server.start()


def assert_nothing_is_lost(victim: str, seed: int, tmp_path: Path, nodes: Nodes, server: MlflowServer) -> None:
    """One round."""
    study, chance = Study(tmp_path, nodes, server, f"{victim}-{seed}"), random.Random(seed)
    driver = study.start(seconds=0.3, hold=5)
    strike(victim, chance, study, driver)
    soon = chance.random() < 0.5  # what was lost comes back while the sweep goes on, or when it has ended
    if soon:
        mend(victim, study)
    assert driver.wait(LIMIT) == (-signal.SIGKILL if victim == "driver" else 0), driver.said()
    if victim != "driver":
        assert driver.said().splitlines()[-1] == "complete: 6", driver.said()
    if not soon:
        mend(victim, study)
    assert study.finish().splitlines()[-1] == "complete: 6"
    study.assert_whole()
    study.assert_tracked()
    study.nodes.wait_until_idle()


@pytest.mark.parametrize(
    "victim", [pytest.param(one, marks=pytest.mark.long) if one != "node" else one for one in VICTIMS]
)
def test_whatever_is_killed_nothing_is_lost(victim: str, tmp_path: Path, nodes: Nodes, server: MlflowServer) -> None:
    assert_nothing_is_lost(victim, 0, tmp_path, nodes, server)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_is_killed_nothing_is_lost_in_many_rounds(
    victim: str, seed: int, tmp_path: Path, nodes: Nodes, server: MlflowServer
) -> None:
    assert_nothing_is_lost(victim, seed, tmp_path, nodes, server)


@pytest.mark.long
def test_a_server_that_is_down_for_all_of_a_sweep_is_made_up_for_by_sync(
    tmp_path: Path, nodes: Nodes, server: MlflowServer
) -> None:
    study = Study(tmp_path, nodes, server, "down")
    server.kill()
    said = study.finish()
    assert f"sde-ray sync {study.folder}" in said.replace("\n", " ")
    server.start()
    assert study.runs() == []
    for _ in range(2):  # the second time there is nothing to do
        code, told = sde_ray(nodes, tmp_path, "sync", str(study.folder), "--json")
        assert code == 0, told
        assert json.loads(told)["status"] == "FINISHED"
    study.assert_whole()
    study.assert_tracked()


def test_early_stopped_trials_leave_no_placement_group_behind(
    tmp_path: Path, nodes: Nodes, server: MlflowServer
) -> None:
    asha = {"rungs": [0.25, 0.5, 1.0], "reduction_factor": 2}
    study = Study(tmp_path, nodes, server, "asha", search={"method": "grid", "asha": asha})
    assert "complete: 6" in study.finish()
    statuses = Counter(result.status for result in study.ledger.results().values())
    assert statuses["pruned"] > 0 and statuses["finished"] > 0 and sum(statuses.values()) == 6
    ends = {run.data.tags["sde.key"]: run.info.status for run in study.runs() if run.data.tags["sde.run"] == "trial"}
    assert ends == {
        key: "KILLED" if result.status == "pruned" else "FINISHED" for key, result in study.ledger.results().items()
    }
    study.nodes.wait_until_idle()


def test_the_processes_of_a_driver_that_is_gone_are_gone(nodes: Nodes) -> None:
    """Last in the file: of all the sweeps before, no trial's process is left on any node."""
    left = [one for node in nodes.nodes for one in family(node.pid) if "TrialTrainable" in " ".join(safely(one))]
    assert left == []


def safely(process: psutil.Process) -> list[str]:
    try:
        return [str(part) for part in process.cmdline()]
    except psutil.Error:
        return []
