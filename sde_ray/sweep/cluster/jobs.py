"""A sweep as a job of a Ray cluster: sent, followed, stopped, and sent again to go on.

    client = connect("http://head:8265")
    sent = submit(client, package, Passed(env))      -> Sent("sde-paper-1f0c9a2b-1", fresh=True)
    follow(client, sent.id, print)                   # until the job ends; the job does not mind when this ends
    stop(client, "sde-paper-1f0c9a2b")

The driver runs on the cluster, so the laptop may close. A sweep (its name and storage) has one job at a time: while one
runs, submitting again finds it. After its end the next attempt has the next number, and resumes from the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.layout import SWEEP
from sde_ray.storage.uri import SECRET, is_uri, mask, split
from sde_ray.sweep.cluster.package import Package

DEFAULT = "http://127.0.0.1:8265"
GRACE = 60  # seconds that a stopped driver has to end in order, before Ray kills it
TRIES = 30  # reconnections in a row of a log that breaks off
# What the tracking server, the model hub and the artifact store ask for; passed on where this shell has it.
PASSED = (
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
PASSED_TOO = re.compile(r"FSSPEC_(?!CONFIG_DIR$)\w+")  # settings of a store, such as FSSPEC_S3_ENDPOINT_URL


@dataclass(frozen=True)
class Request:
    """How a package is run: environment passed on, arguments of `run`, and the command that takes them."""

    env: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    command: Sequence[str] = ("python", "-m", "sde_ray")

    @property
    def entrypoint(self) -> str:
        return shlex.join([*self.command, "run", SWEEP, "--address", "auto", *self.arguments])


@dataclass(frozen=True)
class Sent:
    """A sweep's job. `fresh`: it was started now; else it was at work already."""

    id: str
    fresh: bool


@dataclass(frozen=True)
class Job:
    """A sweep's job as the cluster tells it; `progress` and `best` are from the driver's own lines."""

    id: str
    sweep: str
    status: str
    started: float | None = None
    ended: float | None = None
    message: str = ""
    progress: str = ""
    best: str = ""


def sweep_id(name: str, storage: str) -> str:
    """What all jobs of a sweep share, and no other sweep has."""
    place = storage.rstrip("/") if is_uri(storage) else storage
    return f"sde-{name}-{hashlib.sha256(f'{place}/{name}'.encode()).hexdigest()[:8]}"


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


def environment(given: Sequence[str] = (), base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables to pass on: the usual ones that `base` (this shell) has, and `NAME` or `NAME=value` of the user."""
    shell = os.environ if base is None else base
    usual = [*PASSED, *sorted(name for name in shell if PASSED_TOO.fullmatch(name))]
    found = {name: shell[name] for name in usual if shell.get(name)}
    if not found.get("MLFLOW_TRACKING_URI", "http").startswith("http"):
        del found["MLFLOW_TRACKING_URI"]  # a file of this machine
    for one in given:
        name, equals, value = one.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UserError(f'--env "{one}": "{name}" is no name of a variable. Write --env NAME or --env NAME=value.')
        if not equals and name not in shell:
            raise UserError(f"--env {name}: this shell has no such variable. Set it, or write --env {name}=value.")
        found[name] = value if equals else shell[name]
    return found


# ---- the cluster -----------------------------------------------------------------------------------------------------


def connect(address: str | None = None) -> Any:
    """A client of the cluster's job server; `UserError` that says why, where there is none."""
    wanted = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT
    if not wanted.startswith(("http://", "https://")):
        raise UserError(
            f'"{mask(wanted)}" is not the address of a cluster\'s job server. Give http://HEAD:8265 (the dashboard); '
            "a driver inside the cluster uses: sde-ray run SWEEP.yaml --address auto"
        )
    from ray.job_submission import JobSubmissionClient

    try:
        with _alone(), _explained(wanted):
            return JobSubmissionClient(wanted)
    except ValueError:
        raise UserError(
            f"What answers at {mask(wanted)} is no Ray dashboard. Another service's port, or a proxy's login page?"
        ) from None


@contextmanager
def _alone() -> Iterator[None]:
    """Without the variables by which Ray would go to another address than the one given."""
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """What goes wrong with a cluster, as a `UserError` with its remedy."""
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
        raise UserError(f"The cluster at {shown} says: {_first_line(error)}") from error


def submit(client: Any, package: Package, request: Request) -> Sent:
    """Start the sweep's job, or find the one that is at work."""
    sweep = sweep_id(package.name, package.storage)
    own = _jobs(client, sweep)
    working = next((job for job in own if not job.status.is_terminal()), None)
    if working is not None:
        if working.metadata.get("sde.package") != package.digest:
            raise UserError(
                f"{working.submission_id} is at work on this sweep in another version: its YAML, data or code were "
                "different. Wait for it, or stop it (sde-ray stop) and submit again: what is finished stays."
            )
        return Sent(working.submission_id, fresh=False)
    number = 1 + max((_number(job.submission_id) for job in own), default=0)
    try:
        with _explained(client.get_address()):
            sent = client.submit_job(
                entrypoint=request.entrypoint,
                submission_id=f"{sweep}-{number}",
                runtime_env={
                    "working_dir": str(package.folder),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE), "PYTHONUNBUFFERED": "1", **request.env},
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
        return Sent(f"{sweep}-{number}", fresh=False)  # somebody else submitted it in this very moment
    return Sent(str(sent), fresh=True)


def _jobs(client: Any, sweep: str) -> list[Any]:
    """The jobs of a sweep, oldest first; `sweep` is its id, or its bare name."""
    with _explained(client.get_address()):
        jobs = client.list_jobs()
    named = [job for job in jobs if job.submission_id and (job.metadata or {}).get("sde.sweep_id")]
    own = [job for job in named if sweep in (job.metadata["sde.sweep_id"], job.metadata["sde.sweep"])]
    return sorted(own, key=lambda job: (job.start_time or 0, _number(job.submission_id)))


def _number(submission: str) -> int:
    last = submission.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


def latest(client: Any, sweep: str) -> str:
    """The id of a sweep's newest job; `UserError` where it has none."""
    own = _jobs(client, sweep)
    if not own:
        raise UserError(
            f'The cluster at {mask(client.get_address())} knows no job of the sweep "{sweep}". Jobs go with their '
            "cluster; what they finished is in the sweep's storage. Submit the sweep: sde-ray submit SWEEP.yaml"
        )
    return str(own[-1].submission_id)


def status(client: Any, sweep: str) -> list[Job]:
    """All jobs of a sweep, oldest first."""
    latest(client, sweep)
    return [_job(client, job) for job in _jobs(client, sweep)]


def stop(client: Any, sweep: str, wait: float = GRACE + 15.0) -> Job:
    """Ask the sweep's job to end in order, and wait for it. What is finished stays in the ledger."""
    last = latest(client, sweep)
    with _explained(client.get_address()):
        if not client.get_job_status(last).is_terminal():
            client.stop_job(last)
        deadline = time.monotonic() + wait
        while not client.get_job_status(last).is_terminal() and time.monotonic() < deadline:
            time.sleep(0.5)
        return _job(client, client.get_job_info(last))


def _job(client: Any, details: Any) -> Job:
    lines = _lines(client, details.submission_id)
    progress = next((line for line in reversed(lines) if re.match(r"\[\d+/\d+\]", line)), "")
    return Job(
        id=details.submission_id,
        sweep=details.metadata.get("sde.sweep", ""),
        status=details.status.value,
        started=details.start_time and details.start_time / 1000,
        ended=details.end_time and details.end_time / 1000,
        message=redact(details.message or ""),
        progress=progress,
        best=_best(lines),
    )


def _lines(client: Any, submission: str) -> list[str]:
    try:
        return str(client.get_job_logs(submission)).splitlines()
    except RuntimeError:
        return []  # a job that has not begun has no log


def _best(lines: Sequence[str]) -> str:
    """The best trial that the driver's lines tell of: "0.781 Inst-first, ..."."""
    scored = [match for line in lines if (match := re.match(r"\[\d+/\d+\] (.+): (\d\.\d+)( · .*)?$", line))]
    best = max(scored, key=lambda match: float(match[2]), default=None)
    return f"{best[2]} {best[1]}" if best else ""


# ---- logs ------------------------------------------------------------------------------------------------------------


def logs(client: Any, submission: str) -> str:
    """All that the driver has printed so far, without secrets."""
    return redact("\n".join(_lines(client, submission)))


def follow(client: Any, submission: str, write: Callable[[str], None]) -> str:
    """Write the driver's output as it comes, until the job ends; its last status. A broken connection is mended."""
    tail, tries = _Tail(client, submission, write), 0
    while True:
        try:
            asyncio.run(tail.stream())
            state = client.get_job_status(submission)
            if state.is_terminal():
                tail.rest()
                return str(state.value)
            tries = 0
        except BrokenPipeError:
            raise  # the reader has enough
        except Exception as error:  # the network between here and the cluster, in whatever of its guises
            tries += 1
            if tries > TRIES:
                raise UserError(
                    f"The connection to {mask(client.get_address())} broke ({_first_line(error)}). The sweep goes on "
                    "there. Follow it again: sde-ray logs SWEEP --follow"
                ) from None
        time.sleep(min(2.0, 0.2 * (tries + 1)))


class _Tail:
    """What has been shown of a log, so that a new connection begins where the old one broke."""

    def __init__(self, client: Any, submission: str, write: Callable[[str], None]) -> None:
        self.client, self.submission, self.write = client, submission, write
        self.shown = 0

    async def stream(self) -> None:
        passed = 0
        async for chunk in self.client.tail_job_logs(self.submission):
            self._show(chunk, passed)
            passed += len(chunk)

    def rest(self) -> None:
        """What the driver printed between the last look and its end."""
        try:
            self._show(str(self.client.get_job_logs(self.submission)), 0)
        except RuntimeError:
            pass  # it never printed anything

    def _show(self, text: str, at: int) -> None:
        new = text[max(0, self.shown - at) :]
        if new:
            self.write(redact(new))
        self.shown = max(self.shown, at + len(text))


def redact(text: str) -> str:
    """A text of the cluster's without the values of secrets: passwords in addresses, `TOKEN=...`, `"token": "..."`."""
    text = str(mask(text))
    text = re.sub(r"(?i)\b(bearer\s{1,9})[\w.~+/=-]{6,}", r"\1***", text)
    word = SECRET.pattern.strip("()")  # bounded: a hostile line would cost the square of its length
    return re.sub(
        rf"(?i)\b(\w{{0,60}}(?:{word})\w{{0,60}}['\"]?\s{{0,9}}[=:]\s{{0,9}}['\"]?)[^\s'\",;]{{6,}}", r"\1***", text
    )


def _first_line(fault: Exception) -> str:
    """What an error says, in a line; of a traceback that a server has sent, its last one."""
    lines = [line.strip() for line in redact(str(fault)).splitlines() if line.strip()]
    if not lines:
        return type(fault).__name__
    return lines[-1 if "Traceback" in lines[0] else 0][:300]
