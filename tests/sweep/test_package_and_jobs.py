"""What travels to a cluster, as which job, and what a user is told; against a job server that stands for Ray's."""

from __future__ import annotations

import asyncio
import http.server
import json
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.config.load import load_config
from sde_ray.errors import UserError
from sde_ray.safe_text import redact
from sde_ray.sweep.cluster import job_logs, jobs
from sde_ray.sweep.cluster.jobs import JobOptions, environment, sweep_id
from sde_ray.sweep.cluster.package import SWEEP, Package, build_package

ROOT = Path(__file__).parents[2]
OWN = ROOT / "sweeps" / "bring_your_own.yaml"
STORAGE = "storage_path=/shared/runs"


# ---- the package -----------------------------------------------------------------------------------------------------


def packed(folder: Path, *sets: str, sweep: Path = OWN, limit_mb: float = 100.0) -> Package:
    folder.mkdir()
    return build_package(sweep, [STORAGE, *sets], folder, limit_mb)


def test_a_package_holds_the_code_the_sweep_and_its_data_and_nothing_else(tmp_path: Path) -> None:
    package = packed(tmp_path / "p", "seeds=[0,1]")
    files = {str(path.relative_to(package.folder)) for path in package.folder.rglob("*") if path.is_file()}
    assert {"sweep.yaml", "data/0/bring_your_own.jsonl", "sde_ray/__init__.py", "sde_ray/cli/app.py"} <= files
    assert {name.split("/")[0] for name in files} == {"sweep.yaml", "data", "sde_ray"}
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert package.files == len(files)
    assert package.bytes == sum((package.folder / name).stat().st_size for name in files)


def test_the_packed_sweep_means_what_the_original_means(tmp_path: Path) -> None:
    package = packed(tmp_path / "p", "seeds=[0,1]")
    here = load_config(OWN, [STORAGE, "seeds=[0,1]"])
    there = load_config(package.folder / SWEEP)
    assert there.seeds == (0, 1) and there.name == here.name == "bring_your_own"
    data = there.task[0]["data"]  # type: ignore[index]
    assert Path(data["path"]).read_bytes() == OWN.with_suffix(".jsonl").read_bytes()
    assert there.model_copy(update={"task": here.task}) == here


def test_the_same_sweep_gives_the_same_digest_and_another_one_another(tmp_path: Path) -> None:
    one, same, other = packed(tmp_path / "a"), packed(tmp_path / "b"), packed(tmp_path / "c", "lora.r=4")
    assert one.digest == same.digest != other.digest


def test_modules_that_the_sweep_names_travel_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # before the folders of other tests, which may have modules of these names
    for name in ("my_axes", "my_pkg"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my_axes.py").write_text("TABS = 1\n")
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "__init__.py").write_text("")
    (tmp_path / "secrets.txt").write_text("hush")
    (tmp_path / "s.yaml").write_text(
        'task: masa:d1\naxes: {"my_axes:TABS": [a]}\nobjective: {metric: "my_pkg.metrics:LOUD"}\n'
    )
    package = packed(tmp_path / "p", sweep=tmp_path / "s.yaml")
    assert (package.folder / "my_axes.py").is_file() and (package.folder / "my_pkg" / "__init__.py").is_file()
    assert not (package.folder / "secrets.txt").exists()
    assert not (package.folder / "masa").exists(), "a task's name is no module"


def test_a_task_s_folder_is_sent_and_an_absolute_path_is_the_cluster_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mams").mkdir()
    (tmp_path / "mams" / "train.xml").write_text("<sentences/>")
    (tmp_path / "s.yaml").write_text("task: [mams@mams, nested_ner@/shared/genia, masa:d1]\n")
    package = packed(tmp_path / "p", sweep=tmp_path / "s.yaml")
    sent = yaml.safe_load((package.folder / SWEEP).read_text())["task"]
    assert sent == ["mams@data/0/mams", "nested_ner@/shared/genia", "masa:d1"]
    assert (package.folder / "data" / "0" / "mams" / "train.xml").is_file()
    assert package.external_paths == ("/shared/genia",)


def test_too_large_a_package_names_what_is_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more than 1: sde_ray/models/tiny/model.safetensors \([\d.]+ MiB\)"):
        packed(tmp_path / "p", limit_mb=1)


def test_a_relative_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(UserError, match="storage_path=/shared/sde/runs"):
        build_package(OWN, [], tmp_path / "p")


# ---- the environment -------------------------------------------------------------------------------------------------


def test_the_usual_variables_are_passed_on_and_those_asked_for() -> None:
    shell = {"HF_TOKEN": "hush", "MLFLOW_TRACKING_URI": "sqlite:///mine.db", "HOME": "/root", "MINE": "1"}
    assert environment(["MINE", "OTHER=a=b"], shell) == {"HF_TOKEN": "hush", "MINE": "1", "OTHER": "a=b"}
    assert environment([], {"MLFLOW_TRACKING_URI": "http://m:5000"}) == {"MLFLOW_TRACKING_URI": "http://m:5000"}


@pytest.mark.parametrize(("given", "told"), [("1X=2", "no name of a variable"), ("MISSING", "has no such variable")])
def test_a_variable_that_cannot_be_passed_on_is_told(given: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        environment([given], {})


@pytest.mark.parametrize(
    "line",
    [
        "HF_TOKEN=hf_abcdefgh123",
        "'MLFLOW_TRACKING_PASSWORD': 'abcdefgh123'",
        'api_key = "abcdefgh123"',
        "http://user:abcdefgh123@mlflow:5000",
    ],
)
def test_no_secret_of_a_log_is_shown(line: str) -> None:
    assert "abcdefgh123" not in redact(line) and "***" in redact(line)


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "[12/40] Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT: 0.781 · 14 min left; 20.5 tokens"
    assert redact(line) == line


# ---- jobs ------------------------------------------------------------------------------------------------------------


class State(str):
    """A job's status, as Ray's own enumeration behaves."""

    @property
    def value(self) -> str:
        return str(self)

    def is_terminal(self) -> bool:
        return self in ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass
class Cluster:
    """A job server: what was submitted, in order; logs come in chunks, and may break."""

    jobs: list[SimpleNamespace] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    breaks: int = 0

    def get_address(self) -> str:
        return "http://user:hush@head:8265"

    def list_jobs(self) -> list[SimpleNamespace]:
        return list(self.jobs)

    def submit_job(self, submission_id: str, **given: Any) -> str:
        if any(job.submission_id == submission_id for job in self.jobs):
            text = f"Traceback (most recent call last):\n  ...\nValueError: Job {submission_id} already exists."
            raise RuntimeError(f"Request failed with status code 400: {text}")
        number = len(self.jobs)
        self.jobs.append(
            SimpleNamespace(submission_id=submission_id, status=State("RUNNING"), start_time=1000 + number,
                            end_time=None, message="", **given)
        )  # fmt: skip
        return submission_id

    def get_job_info(self, name: str) -> SimpleNamespace:
        return next(job for job in self.jobs if job.submission_id == name)

    def get_job_status(self, name: str) -> State:
        return self.get_job_info(name).status

    def stop_job(self, name: str) -> None:
        self.get_job_info(name).status = State("STOPPED")

    def delete_job(self, name: str) -> None:
        self.jobs.remove(self.get_job_info(name))

    def get_job_logs(self, name: str) -> str:
        return "".join(self.log)

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        for number, chunk in enumerate(self.log):
            if self.breaks and number == 2:
                self.breaks -= 1
                raise RuntimeError("WebSocket connection closed unexpectedly")
            await asyncio.sleep(0)
            yield chunk
        self.get_job_info(name).status = State("SUCCEEDED")


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path, "paper", "/shared/runs", 1, 1, ("x", 1), "digest", ())


def test_a_sweep_has_one_job_at_a_time_and_resumes_under_the_next_number(package: Package) -> None:
    cluster, sweep = Cluster(), sweep_id("paper", "/shared/runs")
    first = jobs.submit(cluster, package, JobOptions({"HF_TOKEN": "hush"}, ("--no-validate",)))
    assert (first.id, first.fresh) == (f"{sweep}-1", True)
    job = cluster.jobs[0]
    assert job.entrypoint == "python -m sde_ray run sweep.yaml --address auto --no-validate"
    assert job.runtime_env["env_vars"]["HF_TOKEN"] == "hush" and "hush" not in job.entrypoint
    assert job.runtime_env["working_dir"] == str(package.folder)
    again = jobs.submit(cluster, package, JobOptions())
    assert (again.id, again.fresh) == (first.id, False) and len(cluster.jobs) == 1
    assert jobs.stop(cluster, "paper").status == "STOPPED"
    assert jobs.submit(cluster, package, JobOptions()).id == f"{sweep}-2"


def test_another_version_of_a_sweep_at_work_is_refused(package: Package) -> None:
    cluster = Cluster()
    jobs.submit(cluster, package, JobOptions())
    cluster.jobs[0].metadata["sde.package"] = "other"
    with pytest.raises(UserError, match="is at work on this sweep in another version"):
        jobs.submit(cluster, package, JobOptions())


def test_two_who_submit_in_the_same_moment_get_the_same_job(package: Package) -> None:
    cluster = Cluster()
    sent = jobs.submit(cluster, package, JobOptions())
    cluster.list_jobs = list  # type: ignore[method-assign]  # the other one's view, a moment earlier
    other = jobs.submit(cluster, package, JobOptions())
    assert (other.id, other.fresh) == (sent.id, False)


def test_a_refusal_of_the_cluster_is_told_in_its_last_line(package: Package) -> None:
    cluster = Cluster()

    def refuse(**given: Any) -> str:
        raise RuntimeError("Request failed with status code 400: Traceback (most recent call last):\n  x\nNo room.")

    cluster.submit_job = refuse  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"The cluster at http://user:\*\*\*@head:8265 says: No room.$"):
        jobs.submit(cluster, package, JobOptions())


def test_another_service_at_the_address_is_told() -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match="is no Ray dashboard"):
            jobs.connect(f"http://127.0.0.1:{page.server_port}")
        page.shutdown()


def test_sweeps_of_one_name_in_two_storages_are_two() -> None:
    assert sweep_id("paper", "/a") != sweep_id("paper", "/b")
    assert sweep_id("paper", "/a").startswith("sde-paper-")


def test_status_tells_what_ray_knows_of_each_job(package: Package) -> None:
    cluster = Cluster()
    jobs.submit(cluster, package, JobOptions())
    cluster.jobs[0].message = "died with HF_TOKEN=hf_abcdefgh123"
    (job,) = jobs.status(cluster, "paper")
    assert (job.sweep, job.status, job.started, job.ended) == ("paper", "RUNNING", 1.0, None)
    assert job.message == "died with HF_TOKEN=***"


def ending(cluster: Cluster, log: str, state: str = "SUCCEEDED") -> list[Any]:
    """Let each job that is submitted from here on end at once, with this log. Returns what was submitted."""
    submitted: list[Any] = []
    submit = cluster.submit_job

    def submit_and_end(**given: Any) -> str:
        name = submit(**{"metadata": {}, **given})
        cluster.jobs[-1].status, cluster.log = State(state), [log]
        submitted.append(cluster.jobs[-1])
        return name

    cluster.submit_job = submit_and_end  # type: ignore[method-assign]
    return submitted


def test_a_run_that_is_not_seen_from_here_is_read_by_a_job_that_is_deleted_again(package: Package) -> None:
    cluster = Cluster()
    sent = jobs.submit(cluster, package, JobOptions({"AWS_ACCESS_KEY_ID": "hush"}))
    reader = ending(cluster, 'a warning of {something}\n{\n "run": {"phase": "sweep"},\n "jobs": []\n}\n')
    assert jobs.run_location(cluster, "paper") == "/shared/runs/paper"
    assert jobs.run_status(cluster, "paper") == {"phase": "sweep"}
    assert [job.submission_id for job in cluster.jobs] == [sent.id], "the reader is gone from the list"
    assert reader[0].entrypoint == "python -m sde_ray status /shared/runs/paper --json"
    assert reader[0].runtime_env["env_vars"]["AWS_ACCESS_KEY_ID"] == "hush", "it reads the store as the sweep does"
    assert reader[0].runtime_env["working_dir"] == cluster.jobs[0].runtime_env["working_dir"]


def test_a_run_that_the_cluster_cannot_read_is_told_with_its_reason(package: Package) -> None:
    cluster = Cluster()
    jobs.submit(cluster, package, JobOptions())
    ending(cluster, 'error: "/shared/runs/paper" has no run of this sweep.\n', "FAILED")
    with pytest.raises(UserError, match='cannot read the run\'s folder: error: "/shared/runs/paper" has no run'):
        jobs.run_status(cluster, "paper")
    assert len(cluster.jobs) == 1


def test_a_cluster_that_does_not_read_it_in_time_is_told(package: Package) -> None:
    cluster = Cluster()
    jobs.submit(cluster, package, JobOptions())
    ending(cluster, "", "PENDING")
    with pytest.raises(UserError, match="did not read the run's folder within 0 s"):
        jobs.run_status(cluster, "paper", wait=0.0)
    assert [job.status for job in cluster.jobs] == ["RUNNING", "STOPPED"]


def test_an_unknown_sweep_is_told_with_what_to_do() -> None:
    with pytest.raises(UserError, match="knows no job of the sweep") as told:
        jobs.latest(Cluster(), "paper")
    assert "hush" not in str(told.value)


@pytest.mark.parametrize("breaks", [0, 1, 3])
def test_a_log_is_followed_to_its_end_and_each_line_once(package: Package, breaks: int) -> None:
    cluster = Cluster(log=["one\n", "two\n", "three\n", "token=abcdefgh123\n"], breaks=breaks)
    sent = jobs.submit(cluster, package, JobOptions())
    written: list[str] = []
    assert job_logs.follow(cluster, sent.id, written.append) == "SUCCEEDED"
    assert "".join(written) == "one\ntwo\nthree\ntoken=***\n"


# ---- the command line ------------------------------------------------------------------------------------------------


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    here = Cluster(log=["[1/1] Inst-first: 0.5\n"])
    monkeypatch.setattr(jobs, "connect", lambda address=None: here)
    for name in jobs.PASSED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return here


def test_submit_says_what_it_sends_and_how_to_go_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hush-hush")
    done = invoke("submit", str(OWN), "--set", STORAGE, "--env", "MINE=secret-1", "--follow")
    assert done.exit_code == 0, done.output
    assert "Variables passed on: HF_TOKEN, MINE (values are never shown)" in done.output
    assert "sde-ray stop bring_your_own --address http://user:***@head:8265" in done.output
    assert "[1/1] Inst-first: 0.5" in done.output
    assert "hush" not in done.output and "secret-1" not in done.output
    assert cluster.jobs[0].runtime_env["env_vars"]["MINE"] == "secret-1"


def test_status_logs_and_stop_take_a_file_a_folder_or_a_name(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("submit", str(OWN), "--set", STORAGE)
    monkeypatch.setattr(jobs, "run_status", lambda client, sweep: {"phase": "sweep", "seen": sweep})
    (tmp_path / "bring_your_own").mkdir()
    (tmp_path / "bring_your_own" / "sweep.yaml").write_text("name: bring_your_own\nstorage_path: /shared/runs\n")
    for which in ("bring_your_own", str(OWN), str(tmp_path / "bring_your_own")):
        told = json.loads(invoke("status", which, "--address", "http://head:8265", "--json").stdout)
        assert [job["status"] for job in told["jobs"]] == ["RUNNING"] and told["run"]["phase"] == "sweep"
    assert invoke("logs", "bring_your_own").output == "[1/1] Inst-first: 0.5\n"
    assert "STOPPED. Submit the same sweep again" in invoke("stop", "bring_your_own").output


def test_a_sweep_with_a_fault_is_not_sent(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("task: masa:d1\nseed: 3\n")
    done = invoke("submit", str(tmp_path / "s.yaml"), "--set", STORAGE)
    assert done.exit_code == 2 and 'Unknown key "seed"' in done.output and cluster.jobs == []


@pytest.mark.parametrize("address", ["ray://head:10001", "head:6379", "auto"])
def test_submit_explains_addresses_that_take_no_jobs(address: str) -> None:
    done = invoke("submit", str(OWN), "--set", STORAGE, "--address", address)
    assert done.exit_code == 2 and "sde-ray run SWEEP.yaml --address auto" in done.output


def test_run_explains_an_address_that_takes_jobs_only() -> None:
    done = invoke("run", str(OWN), "--address", "http://head:8265")
    assert done.exit_code == 2 and "sde-ray submit" in done.output


def test_no_dashboard_is_told_with_what_to_do() -> None:
    done = invoke("status", "paper", "--address", "http://127.0.0.1:9")
    assert done.exit_code == 2 and "No Ray dashboard answers at http://127.0.0.1:9" in done.output


def test_following_a_job_that_a_new_head_does_not_know_says_so(package: Package) -> None:
    cluster = Cluster(log=["one\n", "two\n", "three\n"], breaks=1)
    sent = jobs.submit(cluster, package, JobOptions({}))

    def unknown(name: str) -> State:
        raise RuntimeError(f"Request failed with status code 404: Job {name} does not exist.")

    cluster.get_job_status = unknown  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"its head was started anew, and the sweep does not run\..*sde-ray submit"):
        job_logs.follow(cluster, sent.id, lambda text: None)


def test_a_secret_in_two_pieces_of_a_log_is_masked(package: Package) -> None:
    cluster, written = Cluster(log=["first\nHF_TOK", "EN=hf_abcdefgh", "123\nlast"]), list[str]()
    sent = jobs.submit(cluster, package, JobOptions({}))
    job_logs.follow(cluster, sent.id, written.append)
    assert "".join(written) == "first\nHF_TOKEN=***\nlast"
