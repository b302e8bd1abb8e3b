"""A driver without a model, as a process, like `sde-ray run`.

    python -m helpers.fake_driver run SWEEP.yaml [--address auto]

Errors become messages and exit codes where those of `sde-ray` do. What its trials meet is set by variables:
`FAKE_CALLS` the file of begun trials, `FAKE_SECONDS` how long a rung takes, `FAKE_HOLD` the number of the trial from
which on all wait for the file `FAKE_GO`, `FAKE_HOLD_RUNG` the rung in which all wait for it, `FAKE_GREED` which of them
take memory without end (see `faulty_runner`).

`fake_driver submit SWEEP.yaml URL [--follow]` sends `fake_driver run` as a job, like `sde-ray submit`.

`python -m helpers.fake_driver fork` starts many such processes quickly: it imports what they need, then forks one for
each line of JSON on its stdin, {"command", "arguments", "env", "folder", "output", "errors"}, and answers with its
process id.
`command` is "fake_driver" or "sde-ray". The exit status comes in OUTPUT.ended. A fork is a process like any other: it
has its own connections, and can be killed.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer
from helpers.faulty_runner import Faulty

from sde_ray.cli.app import Commands
from sde_ray.cli.app import app as sde_ray_app
from sde_ray.config.load import load_config
from sde_ray.pipeline import run as flow
from sde_ray.sweep.run import run_plan
from sde_ray.sweep.sweep_run import SweepRun

PRELOADED = (
    "mlflow",
    "ray.tune",
    "ray.job_submission",
    "sde_ray.sweep.callback",
    "sde_ray.sweep.cluster.jobs",
    "sde_ray.pipeline.mlflow_sync",
    "s3fs",  # where it is installed
)

app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)


@app.callback()
def options() -> None:
    """The boundary of `sde-ray`, around a command of the tests."""


@app.command()
def run(sweep: str, address: str = "") -> None:
    given = os.environ
    fakes = Faulty(
        Path(given["FAKE_CALLS"]),
        seconds=float(given.get("FAKE_SECONDS", "0")),
        hold=int(given.get("FAKE_HOLD", "0")),
        hold_rung=int(given.get("FAKE_HOLD_RUNG", "-1")),
        go=given.get("FAKE_GO", ""),
        greed=given.get("FAKE_GREED", ""),
    )
    config = load_config(sweep, [f"resources.address={address}"] if address else [])
    try:
        config.run_dir.refresh()
        sweep_run = SweepRun(config)
        with flow.tracked(sweep_run) as tracker:
            outcome = run_plan(sweep_run, fakes, tracker)
            if outcome.interrupted:
                raise flow.Interrupted(outcome.message)
    except flow.Interrupted as stopped:
        print(stopped)
        raise typer.Exit(130) from None
    print(f"complete: {len(outcome.results)}")


@app.command()
def submit(sweep: str, url: str, follow: bool = False) -> None:
    from sde_ray.sweep.cluster import job_logs, jobs
    from sde_ray.sweep.cluster.package import build_package

    client = jobs.connect(url)
    with tempfile.TemporaryDirectory() as folder:
        package = build_package(Path(sweep), [], Path(folder))
        names = [*(name for name in os.environ if name.startswith("FAKE_")), "PYTHONPATH"]
        request = jobs.JobOptions(jobs.environment(names), (), ("python", "-m", "helpers.fake_driver"))
        sent = jobs.submit(client, package, request)
    print(sent.id, sent.fresh, flush=True)
    if follow:
        print(job_logs.follow(client, sent.id, lambda text: print(text, end="", flush=True)))


def fork_processes() -> None:
    """Serve stdin until it ends; note the exit status of each process that has ended."""
    for name in PRELOADED:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    outputs: dict[int, str] = {}
    while True:
        ready, _, _ = select.select([0], [], [], 0.05)
        while outputs and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            note = Path(outputs.pop(ended[0]) + ".ended")
            note.with_suffix(".new").write_text(str(os.waitstatus_to_exitcode(ended[1])))
            os.replace(note.with_suffix(".new"), note)
        if not ready:
            continue
        line = sys.stdin.buffer.raw.readline()  # type: ignore[attr-defined]
        if not line:
            return
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            be_process(wanted)
        outputs[pid] = wanted["output"]
        print(pid, flush=True)


def be_process(wanted: dict[str, Any]) -> None:
    """The rest of a forked process' life."""
    os.environ.update(wanted["env"])
    os.chdir(wanted["folder"])
    how = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for number, path in enumerate((os.devnull, wanted["output"], wanted["errors"])):
        os.dup2(os.open(path, how), number)
    code: object = 1
    try:
        {"fake_driver": app, "sde-ray": sde_ray_app}[wanted["command"]](wanted["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()  # as at the end of any process; the forking one's frames are not run again
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(str(code or 0)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1:] == ["fork"]:
        fork_processes()
        sys.exit(0)
    app()
