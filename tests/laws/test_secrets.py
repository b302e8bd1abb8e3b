"""Secrets stay in the process: none is in a file, a message, a tag or a log; and no text of data acts on a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from rich.table import Table

from sde_ray import safe_text
from sde_ray.cli.console import emit, err, out
from sde_ray.config.load import check, load_config, refuse_masked, resolved, write_sweep
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.safe_text import is_secret, mask_values, printable, redact, remember_secrets
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.cluster import jobs, ray_session
from sde_ray.sweep.cluster.package import build_package
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.tracking_uri import check_tracking_uri
from sde_ray.types import TrialResult

VARIABLES = {
    "HF_TOKEN": "hush-value-01",
    "AWS_SECRET_ACCESS_KEY": "hush-value-02",
    "MLFLOW_TRACKING_PASSWORD": "hush-value-03",
    "AZURE_STORAGE_ACCOUNT_KEY": "hush-value-04",
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hush-value-05==",
    "FSSPEC_S3_KEY": "hush-value-06",
    "OPENAI_KEY": "hush-value-07",
    "DB_PASS": "hush-value-08",
    "SMTP_PASS": "hush-value-09",
    "GH_PAT": "hush-value-10",
    "SENTRY_DSN": "https://hush-value-11@sentry.io/5",
    "LICENSE": "hush-value-12",
    "DATABASE_URL": "postgresql://user:hush-value-13@h/db",
}
PUBLIC = {
    "NCCL_SOCKET_IFNAME": "eth0",
    "GLOO_SOCKET_IFNAME": "eth0",
    "OMP_NUM_THREADS": "4",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HOME": "/shared/hf",
    "TOKENIZERS_PARALLELISM": "false",
    "HTTP_PROXY": "http://proxy:3128",
}
SWEEP: dict[str, Any] = {"task": "masa:d1", "name": "x", "resources": {"env_vars": {**VARIABLES, **PUBLIC}}}
RAISED = {
    "the password of an address": "no answer from http://user:hush-value-21@mlflow:5000",
    "an argument of an address": "GET http://mlflow:5000/api?token=hush-value-22&page=1",
    "a bearer token": "401, sent Authorization: Bearer hush-value-23",
    "basic authentication": "401, sent Authorization: Basic hush-value-24",
    "an assignment": "HF_TOKEN=hush-value-25 is refused",
    "a key of JSON": 'sent {"api_key": "hush-value-26"}',
}


@pytest.fixture(autouse=True)
def _no_secret_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_text, "_remembered", set())


# ---- what a sweep writes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIABLES)
def test_the_value_of_each_secret_variable_is_in_no_file_of_a_sweep(name: str, tmp_path: Path) -> None:
    config = check({**SWEEP, "storage_path": str(tmp_path)})
    write_sweep(config)
    assert resolved(config)["resources"]["env_vars"][name] == "***"
    for path in (config.run_dir.sweep, config.run_dir.resolved):
        assert "hush-value" not in path.read_text(encoding="utf-8") and name in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PUBLIC)
def test_settings_that_hold_no_secret_are_shown(name: str) -> None:
    assert resolved(check(SWEEP))["resources"]["env_vars"][name] == PUBLIC[name]


@pytest.mark.parametrize("name", [*VARIABLES, "NCCL_AUTH_TOKEN", "RAY_AUTH_TOKEN", "HF_HOME_SECRET", "MINE"])
def test_a_variable_is_secret_unless_it_is_known_to_hold_none(name: str) -> None:
    assert is_secret(name)


# ---- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", RAISED.values(), ids=RAISED)
def test_a_trial_s_error_tells_no_secret_in_the_ledger(text: str, tmp_path: Path) -> None:
    trial = TrialConfig("masa:d1", make_design(), "tiny", 0, 10, 10)
    Ledger(tmp_path / "ledger.jsonl").append(TrialResult(trial.key, trial.resolved(), "failed", error=text))
    line = (tmp_path / "ledger.jsonl").read_text(encoding="utf-8")
    assert "***" in line and "hush-value" not in line


@pytest.mark.parametrize("text", RAISED.values(), ids=RAISED)
def test_a_trial_s_error_tells_no_secret_in_its_files_and_in_mlflow(text: str, tmp_path: Path) -> None:
    from sde_ray.sweep.trainable import TrialTrainable

    trial, trainable = TrialConfig("masa:d1", make_design(), "tiny", 0, 10, 10), TrialTrainable.__new__(TrialTrainable)
    trainable._trial, trainable._folder, trainable._runner, trainable._started = trial, tmp_path, None, 0.0
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        result = trainable._failure(error)
    error_file = (tmp_path / "error.txt").read_text(encoding="utf-8")
    assert "hush-value" not in result.error + error_file and "RuntimeError" in error_file

    tracker = MlflowTracker("sqlite:////nowhere.db")
    client = tracker._client = MagicMock()
    tracker.children, tracker._log_artifacts = {trial.key: "run"}, MagicMock()  # type: ignore[method-assign]
    tracker.on_trial_end(replace(result, error=text), tmp_path)  # of a ledger that another version wrote
    tags = [tag for call in client.log_batch.call_args_list for tag in call.kwargs["tags"]]
    (said,) = [tag.value for tag in tags if tag.key == "sde.error"]
    assert "***" in said and "hush-value" not in said


@pytest.mark.parametrize("name", VARIABLES)
def test_the_value_of_a_secret_is_masked_wherever_it_stands(name: str) -> None:
    remember_secrets(VARIABLES)
    shown = redact(f"the library said {VARIABLES[name]!r}, and ({VARIABLES[name]})")
    assert "hush-value" not in shown and shown.startswith("the library said ")


def test_the_values_of_a_job_s_variables_are_masked_in_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = {"LICENSE": "hush-value-12", "MINE": "hush-value-31", "NCCL_DEBUG": "information", "DATA": "/shared/data"}
    for variable, value in {**passed, safe_text.SECRETS: safe_text.secret_names(passed)}.items():
        monkeypatch.setenv(variable, value)
    text = "hush-value-12 and hush-value-31, information on /shared/data/x"
    assert mask_values(text) == "*** and ***, information on /shared/data/x"


def test_the_working_folder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/home/me/sweeps")
    assert mask_values("/home/me/sweeps/a.yaml") == "/home/me/sweeps/a.yaml"


def test_workers_and_jobs_know_which_variables_are_secret() -> None:
    resources = check(SWEEP).resources
    names = ray_session._options(resources, "/tmp/x")["runtime_env"]["env_vars"][safe_text.SECRETS].split(",")
    assert set(VARIABLES) <= set(names) and not set(PUBLIC) & set(names)


def test_a_submitted_job_knows_which_of_its_variables_are_secret(tmp_path: Path) -> None:
    class Client(SimpleNamespace):
        def list_jobs(self) -> list[Any]:
            return []

        def get_address(self) -> str:
            return "http://head:8265"

        def submit_job(self, **job: Any) -> str:
            self.env_vars = job["runtime_env"]["env_vars"]
            return str(job["submission_id"])

    (tmp_path / "x.yaml").write_text("task: masa:d1\nstorage_path: /shared/runs\n")
    (tmp_path / "package").mkdir()
    client = Client()
    package = build_package(tmp_path / "x.yaml", (), tmp_path / "package")
    jobs.submit(client, package, jobs.JobOptions({"MINE": "hush-value-31", "OMP_NUM_THREADS": "1"}))
    assert client.env_vars[safe_text.SECRETS] == "MINE" and client.env_vars["MINE"] == "hush-value-31"


def test_messages_of_errors_tell_no_known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_PAT", "hush-value-10")
    assert str(UserError("the server said: hush-value-10 is refused")) == "the server said: *** is refused"


def test_a_defect_s_traceback_and_warnings_tell_no_secret() -> None:
    code = (
        "import sys, warnings\nfrom sde_ray.cli import app\n"
        "def fail():\n    warnings.warn('HF_TOKEN=hush-value-25 \\x1b]0;owned\\x07')\n"
        "    raise RuntimeError('no answer from http://u:hush-value-21@h')\n"
        "app.app = fail\napp.main()"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "RuntimeError: no answer from http://u:***@h" in done.stderr
    assert "HF_TOKEN=***" in done.stderr and "\x1b" not in done.stderr
    assert "hush-value" not in done.stderr.replace("warnings.warn('HF_TOKEN=hush-value-25", "")


# ---- a copy of what was written --------------------------------------------------------------------------------------


def test_a_copied_sweep_file_is_refused_before_workers_get_the_mask(tmp_path: Path) -> None:
    write_sweep(check({**SWEEP, "storage_path": str(tmp_path)}))
    config = load_config(tmp_path / "x" / "sweep.yaml")  # to read its results is no harm
    with pytest.raises(UserError, match=r'resources.env_vars.HF_TOKEN is "\*\*\*".*export HF_TOKEN=') as refused:
        refuse_masked(config)
    assert all(name in str(refused.value) for name in VARIABLES)
    with pytest.raises(UserError, match=r'resources.env_vars.HF_TOKEN is "\*\*\*"'):
        next(iter(ray_session.ray_session(config.resources).gen))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r'resources.env_vars.HF_TOKEN is "\*\*\*"'):
        build_package(tmp_path / "x" / "sweep.yaml", (), tmp_path / "package")


def test_a_masked_address_of_a_store_is_refused() -> None:
    with pytest.raises(UserError, match=r"http://user:\*\*\*@mlflow:5000 was written by a run, which leaves passwords"):
        check_tracking_uri("http://user:***@mlflow:5000")
    check_tracking_uri("http://user:secret@mlflow:5000")


def test_what_was_never_masked_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SWEEP))
    config = load_config(tmp_path / "x.yaml")
    refuse_masked(config)
    assert "***" not in str(config)


# ---- terminals -------------------------------------------------------------------------------------------------------

ESCAPES = {
    "a window's name": "\x1b]0;owned\x07",
    "a colour": "\x1b[31mred",
    "eight bits": "\x9b31mred",
    "back to the line's start": "safe\rowned",
    "backspaces": "safe\b\b\b\bowned",
    "right to left": "\u202eowned",
    "isolate": "\u2066owned\u2069",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_no_text_of_data_acts_on_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(text)
    table.add_row(text)
    out().print(table, text, highlight=False)
    err().print(f"[bold]{text}[/]")
    emit({text: text})
    written = "".join(capsys.readouterr())
    assert not [c for c in written if c != "\n" and (not c.isprintable() or c in "\u202e\u2066\u2069")], repr(written)
    assert "owned" in written or "red" in written


def test_json_for_programs_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"text": "".join(ESCAPES.values())})
    assert json.loads(capsys.readouterr().out) == {"text": "".join(ESCAPES.values())}


def test_lines_and_columns_of_a_text_stay() -> None:
    assert printable("a\tb\r\nc\n味\u200d") == "a\tb\nc\n味\u200d"
