"""A sweep as a job of a Ray cluster: submitted, followed, stopped, and submitted again to resume.

    client = connect("http://head:8265")
    job = submit(client, package, JobOptions(env))   -> Submission("sde-paper-1f0c9a2b-1", fresh=True)
    stop(client, "sde-paper-1f0c9a2b")

The driver runs on the cluster, so the laptop may close. A sweep (its name and storage) has one job at a time: while one
runs, submitting again finds it. After its end the next attempt has the next number, and resumes from the ledger.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_text import SECRETS, mask, redact, secret_names
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.layout import SWEEP
from sde_ray.storage.uri import is_uri, split
from sde_ray.sweep.cluster.job_logs import first_line, log_lines
from sde_ray.sweep.cluster.package import Package

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
STATUS_TIMEOUT_S = 60.0  # seconds that a cluster has to read a run's folder
STOP_TIMEOUT_S = 60  # seconds that a stopped driver has to end in order, before Ray kills it
JOB_VARIABLES = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_TIMEOUT_S), "PYTHONUNBUFFERED": "1"}
# What the tracking server, the model hub and the artifact store ask for; passed on where this shell has it.
PASSED_VARIABLES = (
    "HF_TOKEN",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
)
PASSED_PATTERN = re.compile(r"FSSPEC_(?!CONFIG_DIR$)\w+")  # settings of a store, such as FSSPEC_S3_ENDPOINT_URL


@dataclass(frozen=True)
class JobOptions:
    """How a package is run: environment variables, arguments of `sde-ray run`, and the command that takes them."""

    env: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    command: Sequence[str] = ("python", "-m", "sde_ray")

    @property
    def entrypoint(self) -> str:
        return shlex.join([*self.command, "run", SWEEP, "--address", "auto", *self.arguments])


@dataclass(frozen=True)
class Submission:
    """A submitted job. `fresh`: started by this call; else it was running already."""

    id: str
    fresh: bool


@dataclass(frozen=True)
class Job:
    """A job of a sweep as Ray knows it; times are Unix seconds. How the sweep itself is doing: `run_status`."""

    id: str
    sweep: str
    status: str
    started: float | None = None
    ended: float | None = None
    message: str = ""


def sweep_id(name: str, storage: str) -> str:
    """The id that all jobs of a sweep share: its name, and a hash of name and storage."""
    parent = storage.rstrip("/") if is_uri(storage) else storage
    return f"sde-{name}-{hashlib.sha256(f'{parent}/{name}'.encode()).hexdigest()[:8]}"


def resolve_sweep_id(sweep: str, sets: Sequence[str] = ()) -> str:
    """The id of a sweep on the cluster, from its YAML file, or the folder or address of its run.

    A bare name stands for itself, as long as no file has that name.

    Raises:
        UserError: when a YAML file is named that does not exist, or settings are given without one.
    """
    if is_uri(sweep):
        storage, name = split(sweep)
        return sweep_id(name, storage)
    path = Path(sweep)
    if path.is_dir():
        path = path / SWEEP
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or sets:
            raise UserError(f'There is no file "{sweep}". Give a sweep\'s YAML file, its folder, or its name.')
        return sweep
    values: dict[str, Any] = {"name": path.stem, **read_yaml(path)}
    for setting in sets:
        assign(values, setting)
    name = str(values["name"])
    return sweep_id(name, str(values["storage_path"])) if "storage_path" in values else name


def environment(extra: Sequence[str] = (), base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of a job: the usual ones that the shell has, and the user's.

    Args:
        extra: "NAME" of the shell, or "NAME=value".
        base: the shell's variables; `os.environ` by default.

    Raises:
        UserError: when a name is no name of a variable, or the shell does not have it.
    """
    shell = os.environ if base is None else base
    usual = [*PASSED_VARIABLES, *sorted(name for name in shell if PASSED_PATTERN.fullmatch(name))]
    env_vars = {name: shell[name] for name in usual if shell.get(name)}
    if not env_vars.get("MLFLOW_TRACKING_URI", "http").startswith("http"):
        del env_vars["MLFLOW_TRACKING_URI"]  # a file of this machine
    for setting in extra:
        name, equals, value = setting.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UserError(
                f'--env "{setting}": "{name}" is no name of a variable. Write --env NAME or --env NAME=value.'
            )
        if not equals and name not in shell:
            raise UserError(f"--env {name}: this shell has no such variable. Set it, or write --env {name}=value.")
        env_vars[name] = value if equals else shell[name]
    return env_vars


# ---- the cluster -----------------------------------------------------------------------------------------------------


def connect(address: str | None = None) -> Any:
    """A client of the cluster's job server, by default of RAY_API_SERVER_ADDRESS or this machine.

    Raises:
        UserError: when nothing answers there, or refuses us, or is no Ray dashboard; with the remedy.
    """
    url = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
    if not url.startswith(("http://", "https://")):
        raise UserError(
            f'"{mask(url)}" is not the address of a cluster\'s job server. Give http://HEAD:8265 (the dashboard); '
            "a driver inside the cluster uses: sde-ray run SWEEP.yaml --address auto"
        )
    from ray.job_submission import JobSubmissionClient

    try:
        with _without_ray_address(), _with_remedies(url):
            return JobSubmissionClient(url)
    except ValueError:
        raise UserError(
            f"What answers at {mask(url)} is no Ray dashboard. Another service's port, or a proxy's login page?"
        ) from None


@contextmanager
def _without_ray_address() -> Iterator[None]:
    """Hide the variables by which Ray would go to another address than the one that is passed."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _with_remedies(address: str) -> Iterator[None]:
    """Turn errors of the job server into a `UserError` with its remedy."""
    from ray.exceptions import AuthenticationError

    shown = mask(address)
    try:
        yield
    except AuthenticationError as error:
        missing = "Authentication required" in str(error)
        raise UserError(
            f"The cluster at {shown} refuses us ({'401: no token was sent' if missing else '403: another token'}). On "
            "its head node, `ray get-auth-token` prints the token. Here: export RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN=..., or write it to ~/.ray/auth_token (mode 600)."
        ) from None
    except OSError as error:  # requests' own errors are of this kind
        if isinstance(error, ValueError):
            raise  # an answer that is no JSON
        raise UserError(
            f"No Ray dashboard answers at {shown}. Is the cluster up, and its port 8265 reachable from here? Bring it "
            "here with `ray dashboard CLUSTER.yaml`, `kubectl port-forward service/NAME-head-svc 8265`, or ssh -L."
        ) from None
    except RuntimeError as error:
        raise UserError(f"The cluster at {shown} says: {first_line(error)}") from error


def submit(client: Any, package: Package, options: JobOptions) -> Submission:
    """Start the sweep's job, or return the one that is running.

    Raises:
        UserError: when another version of the sweep is running, or the cluster refuses the job.
    """
    sweep = sweep_id(package.name, package.storage)
    jobs = _jobs_of(client, sweep)
    running = next((job for job in jobs if not job.status.is_terminal()), None)
    if running is not None:
        if running.metadata.get("sde.package") != package.digest:
            raise UserError(
                f"{running.submission_id} is at work on this sweep in another version: its YAML, data or code were "
                "different. Wait for it, or stop it (sde-ray stop) and submit again: what is finished stays."
            )
        return Submission(running.submission_id, fresh=False)
    attempt = 1 + max((_attempt(job.submission_id) for job in jobs), default=0)
    try:
        with _with_remedies(client.get_address()):
            job_id = client.submit_job(
                entrypoint=options.entrypoint,
                submission_id=f"{sweep}-{attempt}",
                runtime_env={
                    "working_dir": str(package.folder),
                    "env_vars": {**JOB_VARIABLES, **options.env, SECRETS: secret_names(options.env)},
                },
                metadata={
                    "sde.sweep": package.name,
                    "sde.sweep_id": sweep,
                    "sde.storage": package.storage,
                    "sde.package": package.digest,
                },
            )
    except UserError as error:
        if "already exists" not in str(error.__cause__):
            raise
        return Submission(f"{sweep}-{attempt}", fresh=False)  # somebody else submitted it in this very moment
    return Submission(str(job_id), fresh=True)


def _jobs_of(client: Any, sweep: str) -> list[Any]:
    """The jobs of a sweep, oldest first; `sweep` is its id, or its bare name."""
    with _with_remedies(client.get_address()):
        jobs = client.list_jobs()
    submitted = [job for job in jobs if job.submission_id and (job.metadata or {}).get("sde.sweep_id")]
    matching = [job for job in submitted if sweep in (job.metadata["sde.sweep_id"], job.metadata["sde.sweep"])]
    return sorted(matching, key=lambda job: (job.start_time or 0, _attempt(job.submission_id)))


def _attempt(submission: str) -> int:
    last = submission.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


def latest(client: Any, sweep: str) -> str:
    """The id of a sweep's newest job. Raises UserError: when the cluster has no job of the sweep."""
    return str(_newest(client, sweep).submission_id)


def _newest(client: Any, sweep: str) -> Any:
    jobs = _jobs_of(client, sweep)
    if not jobs:
        raise UserError(
            f'The cluster at {mask(client.get_address())} knows no job of the sweep "{sweep}". Jobs go with their '
            "cluster; what they finished is in the sweep's storage. Submit the sweep: sde-ray submit SWEEP.yaml"
        )
    return jobs[-1]


def status(client: Any, sweep: str) -> list[Job]:
    """All jobs of a sweep, oldest first."""
    latest(client, sweep)
    return [_job(client, job) for job in _jobs_of(client, sweep)]


def stop(client: Any, sweep: str, wait: float = STOP_TIMEOUT_S + 15.0) -> Job:
    """Stop the sweep's newest job in order, and wait for its end. What is finished stays in the ledger.

    Args:
        client: from `connect`.
        sweep: the sweep's id on the cluster, or its name.
        wait: seconds, at most.
    """
    job_id = latest(client, sweep)
    with _with_remedies(client.get_address()):
        if not client.get_job_status(job_id).is_terminal():
            client.stop_job(job_id)
        deadline = time.monotonic() + wait
        while not client.get_job_status(job_id).is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
        return _job(client, client.get_job_info(job_id))


def _job(client: Any, details: Any) -> Job:
    return Job(
        id=details.submission_id,
        sweep=details.metadata.get("sde.sweep", ""),
        status=details.status.value,
        started=details.start_time and details.start_time / 1000,
        ended=details.end_time and details.end_time / 1000,
        message=redact(details.message or ""),
    )


# ---- the run of a job, as the cluster sees it ------------------------------------------------------------------------


def run_location(client: Any, sweep: str) -> str:
    """The folder or address in which the newest job of a sweep keeps its run, as the cluster names it."""
    metadata = _newest(client, sweep).metadata
    return f"{metadata['sde.storage'].rstrip('/')}/{metadata['sde.sweep']}"


def run_status(client: Any, sweep: str, wait: float = STATUS_TIMEOUT_S) -> dict[str, Any]:
    """What `sde-ray status` says of a sweep's run on the cluster, for storage that is not seen from here.

    A job of its own reads it, with the code and the variables of the sweep's newest job; it is deleted afterwards.

    Args:
        client: from `connect`.
        sweep: the sweep's id on the cluster, or its name.
        wait: seconds, at most.

    Raises:
        UserError: when the cluster cannot say it, with its reason.
    """
    newest = _newest(client, sweep)
    command = ["python", "-m", "sde_ray", "status", run_location(client, sweep), "--json"]
    with _with_remedies(client.get_address()):
        job_id = client.submit_job(
            entrypoint=shlex.join(command),
            submission_id=f"{newest.metadata['sde.sweep_id']}-status-{uuid.uuid4().hex[:8]}",
            runtime_env=newest.runtime_env or {},
        )
        try:
            deadline = time.monotonic() + wait
            while not client.get_job_status(job_id).is_terminal():
                if time.monotonic() > deadline:
                    raise UserError(f"The cluster did not read the run's folder within {wait:.0f} s. Ask again later.")
                time.sleep(0.2)
            return _printed_status(log_lines(client, job_id))
        finally:
            _delete(client, job_id)


def _printed_status(lines: Sequence[str]) -> dict[str, Any]:
    """The JSON that a job has printed, between whatever else it said."""
    text = "\n".join(lines)
    for place in (match.start() for match in re.finditer(r"^\{", text, re.MULTILINE)):
        try:
            printed, _ = json.JSONDecoder().raw_decode(text, place)
        except ValueError:
            continue
        if isinstance(printed.get("run"), dict):
            return dict(printed["run"])
    raise UserError(f"The cluster cannot read the run's folder: {first_line(Exception(text)) or 'no reason was given'}")


def _delete(client: Any, job_id: str) -> None:
    """Take a job out of the cluster's list; one that still runs is stopped, and stays there."""
    try:
        if not client.get_job_status(job_id).is_terminal():
            client.stop_job(job_id)
        else:
            client.delete_job(job_id)
    except RuntimeError:
        pass  # it is a line in a list
