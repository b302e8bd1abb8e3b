"""Ray for the time of a sweep: this machine's own, or a running cluster, and whether a trial fits it at all."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sde_ray.config.load import refuse_masked
from sde_ray.config.schema import Resources
from sde_ray.errors import UserError
from sde_ray.plugins import TRUSTED
from sde_ray.safe_json import read_json
from sde_ray.safe_text import SECRETS, secret_names
from sde_ray.storage.files import write_atomic
from sde_ray.storage.process import is_running, this_process
from sde_ray.sweep.cluster.gpus import with_gpus

MAX_START_ATTEMPTS = 3
OWNER = "owner.json"  # in Ray's folder: the process that has made it
MAX_PENDING_TRIALS = 200  # that wait for room at a time, on a cluster: what Ray Tune has for searches without results
TRIAL_CPU = (
    0.01  # of a CPU, for the trial's own process: taken from each bundle, so that whole cores still divide evenly
)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a YAML mean the same in a worker as in the driver
    "RAY_AIR_NEW_OUTPUT": "0",  # the sweep shows its own progress
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no result files beside our own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the sweep has its own
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the ledger is what a sweep resumes from
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # `resources.env_vars` adds to what `sde-ray submit` has passed on
}


@contextmanager
def ray_session(resources: Resources, trials: int = 1) -> Iterator[int]:
    """Connect or start Ray; gives how many trials fit at a time. A Ray that the caller has started is left running.

    Args:
        resources: What a trial needs, and where it runs.
        trials: How many are to run; a cluster that has no room at all is asked for room for all of them.
    """
    refuse_masked({"resources": resources.model_dump()})
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield trials_that_fit(with_gpus(resources), ray.cluster_resources())
        return
    folder = None if resources.address else short_folder()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial shows in its result, not as a traceback
    try:
        _init(_options(resources, folder))
        yield _max_trials(with_gpus(resources), trials)
    finally:
        gc.collect()  # what Tune leaves refers to Ray; freed by another thread during the shutdown, it ends the process
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _init(options: dict[str, Any]) -> None:
    """Start Ray, or connect to it. Ray gives its processes 30 s to start, which is too little on a busy machine."""
    import ray

    for _ in range(MAX_START_ATTEMPTS):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray has no type of its own for this
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise UserError(
        f"Ray did not start within 30 s, in {MAX_START_ATTEMPTS} attempts: this machine has too much else to do. "
        "Run the same command again when it has less."
    )


def _max_trials(resources: Resources, trials: int = 1) -> int:
    """How many trials fit. Where not one does, a cluster is asked to grow, within `resources.startup_timeout_s`."""
    import ray

    deadline = time.monotonic() + (resources.startup_timeout_s if resources.address else 0.0)
    requests: list[Any] = []
    try:
        while True:
            try:
                return trials_that_fit(resources, ray.cluster_resources())
            except UserError:
                if time.monotonic() >= deadline:
                    raise
            if not requests:
                print(
                    f"Waiting up to {resources.startup_timeout_s:.0f} s for nodes that a trial fits on.",
                    file=sys.stderr,
                )
                requests = _request_room(resources, trials)
            time.sleep(min(2.0, max(0.0, deadline - time.monotonic())))
    finally:
        for group in requests:  # from here on the trials themselves ask
            ray.util.remove_placement_group(group)


def _request_room(resources: Resources, trials: int) -> list[Any]:
    """Ask the autoscaler for room for so many trials.

    By placement groups, which end with this process: `request_resources` would stand, and cost, after it was killed.
    """
    import ray

    count = min(trials, resources.max_concurrent_trials or MAX_PENDING_TRIALS)
    return [ray.util.placement_group(bundles(resources)) for _ in range(max(1, count))]


def bundles(resources: Resources) -> list[dict[str, float]]:
    """A trial's placement group: one for the trial's own process, one for each worker.

    A packed trial has its part of a worker, which is not in the group: the pack's process outlives it.
    """
    if isinstance(resources.pack, int) and resources.pack > 1:
        parts = {"CPU": resources.resources_per_worker.CPU, "GPU": resources.resources_per_worker.gpus}
        return [{name: int(amount / resources.pack * 1e4) / 1e4 for name, amount in parts.items() if amount}]
    worker = {"CPU": round(resources.resources_per_worker.CPU - TRIAL_CPU, 4)}
    if resources.resources_per_worker.gpus:
        worker["GPU"] = resources.resources_per_worker.gpus
    # Never {"CPU": 0}: Ray drops such a bundle, and the indexes shift.
    return [{"CPU": TRIAL_CPU}, *(dict(worker) for _ in range(resources.num_workers))]


def short_folder() -> str:
    """A folder for Ray's sockets, whose paths may have 107 characters at most.

    Removes the folders of processes that were killed before they could do it.
    """
    default = tempfile.gettempdir()
    parent = Path(default if len(default) <= 20 or not os.path.isdir("/tmp") else "/tmp")
    for left in parent.glob(f"sde-*/{OWNER}"):
        if is_running(_owner(left)) is False:  # not one that another container, with the same /tmp, works with
            shutil.rmtree(left.parent, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix="sde-", dir=parent)
    write_atomic(Path(folder, OWNER), json.dumps(this_process()))
    return folder


def _owner(file: Path) -> dict[str, Any]:
    try:
        owner = read_json(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _options(resources: Resources, folder: str | None) -> dict[str, Any]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    env_vars = dict(resources.env_vars)
    if secret_names(env_vars):
        env_vars[SECRETS] = secret_names(env_vars)  # so that the workers, too, mask the values
    if TRUSTED in os.environ:
        env_vars[TRUSTED] = os.environ[TRUSTED]
    environment = {"runtime_env": {"env_vars": env_vars}} if env_vars else {}
    if resources.address:
        return {"address": resources.address, **quiet, **environment}
    trial_cpus = sum(bundle["CPU"] for bundle in bundles(with_gpus(resources)))
    trials = resources.max_concurrent_trials or max(1, int((_cores() + 1e-6) // trial_cpus))
    return {
        "address": "local",  # never a cluster that happens to run here
        "num_cpus": max(1, -(-trials * trial_cpus // 1)),
        "include_dashboard": False,
        "_temp_dir": folder,
        **quiet,
        **environment,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trials_that_fit(resources: Resources, available: Mapping[str, float]) -> int:
    """How many trials the resources hold; `UserError` where not even one fits, as Ray would wait for ever."""
    needed: dict[str, float] = {}
    for bundle in bundles(resources):
        for what, amount in bundle.items():
            needed[what] = needed.get(what, 0) + amount
    for what, amount in needed.items():
        if amount > available.get(what, 0) + 1e-6:
            raise UserError(
                f"A trial needs {amount:g} {what}, but Ray has {available.get(what, 0):g}. Lower "
                "resources.resources_per_worker or resources.num_workers, or use a larger cluster."
            )
    return min(int((available[what] + 1e-6) // amount) for what, amount in needed.items())
