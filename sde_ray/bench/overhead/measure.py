"""A sweep of planted trials on a simulated cluster: the driver's time and memory, by block of trials.

    measure(trials=2000, nodes=100) ─▶ {"settings", "blocks": [{"trials": "1-500", "cpu_ms_per_trial": ..}, ..], ..}

The cluster is one Ray with as many CPUs as it has nodes, one trial a node, and the trials run in the driver's process
(`actors.py`): a hundred nodes fit on a laptop. So the driver does all that it does on a real one (placement groups,
futures, Tune's loop, ledger, search, progress, tracking) except for sending a call over the network; what the trials
themselves take is measured apart and left out.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sde_ray.bench.engine.settings import settings
from sde_ray.bench.overhead.actors import Clock, in_process_actors
from sde_ray.bench.overhead.runner import PlantedRunner
from sde_ray.bench.overhead.tracker import SlowServer
from sde_ray.config.load import check
from sde_ray.config.schema import SweepConfig
from sde_ray.sweep.cluster.ray_session import ENVIRONMENT, short_folder
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.run import run_plan
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.types import TrialResult

DESIGNS = 216  # of a task without rationales and with all axes: masa
BLOCK = 500  # trials over which a rate is taken
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Moment:
    """The driver as a trial ends: seconds of the wall clock and of its CPU, without the trials; memory in bytes."""

    seconds: float
    cpu_seconds: float
    memory: int


class Watch(Progress):
    """Shows nothing, and takes a `Moment` whenever a trial ends."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.clock = clock
        self.moments: list[Moment] = []

    def started(self, trial: Any) -> None:
        if not self.moments:
            self._take()
        super().started(trial)

    def ended(self, result: TrialResult, score: float | None) -> None:
        super().ended(result, score)
        self.console.file.truncate(0)
        self._take()

    def _take(self) -> None:
        clock = self.clock
        self.moments.append(
            Moment(time.perf_counter() - clock.seconds, time.thread_time() - clock.cpu_seconds, resident_memory())
        )


def measure(trials: int = 2000, nodes: int = 100, tracker_s: float = 0.0, method: str = "grid") -> dict[str, Any]:
    """Run a sweep of at least so many trials. Returns plain JSON values.

    Args:
        trials: rounded up to whole seeds of all designs.
        nodes: trials at a time.
        tracker_s: seconds that the tracking server takes for a call; 0: nothing is tracked.
        method: the search method.
    """
    with tempfile.TemporaryDirectory() as folder, _cluster(nodes), in_process_actors() as clock:
        sweep_run, watch = SweepRun(_sweep(folder, trials, method)), Watch(clock)
        server: Any = SlowServer(tracker_s) if tracker_s else None
        tracker = BackgroundTracker(server, lambda: sweep_run.results.values()) if server else None
        if tracker:
            tracker.on_sweep_start("overhead", {}, Path(folder))
        outcome = run_plan(sweep_run, PlantedRunner, tracker, watch)
        assert len(outcome.results) == len(watch.moments) - 1, "every trial ends once"
        tracked = _end_tracking(tracker, server) if tracker else {}
    blocks = block_rows(watch.moments)
    return {
        "settings": settings(trials=len(outcome.results), nodes=nodes, method=method, tracker_s=tracker_s),
        "blocks": blocks,
        "last / first": {name: blocks[-1][name] / blocks[0][name] for name in ("cpu_ms_per_trial", "ms_per_trial")},
        **tracked,
    }


def block_rows(moments: Sequence[Moment], size: int = BLOCK) -> list[dict[str, Any]]:
    """Rates by block of `size` trials; the first moment is before the first trial. A last part of a block is left out,
    unless there is no whole one.
    """
    ended = len(moments) - 1
    size = min(size, ended)
    rows = []
    for first in range(0, ended - size + 1, size):
        begin, end = moments[first], moments[first + size]
        rows.append(
            {
                "trials": f"{first + 1}-{first + size}",
                "cpu_ms_per_trial": 1000 * (end.cpu_seconds - begin.cpu_seconds) / size,
                "ms_per_trial": 1000 * (end.seconds - begin.seconds) / size,
                "memory_mib": end.memory / 2**20,
                "kib_per_trial": (end.memory - begin.memory) / size / 2**10,
            }
        )
    return rows


def resident_memory() -> int:
    """Bytes of this process that are in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)


def _sweep(folder: str, trials: int, method: str) -> SweepConfig:
    seeds = -(-trials // DESIGNS)
    search: dict[str, Any] = {"method": method, "max_trials": 10**6}
    if method not in ("grid", "one_at_a_time"):
        search |= {"n_trials": seeds * DESIGNS, "points_to_evaluate": []}
    return check(
        {
            "name": "overhead",
            "task": "masa:d1",
            "out_of_domain": [],
            "seeds": list(range(seeds)),
            "train_sizes": 40,
            "eval_size": 20,
            "search": search,
            "storage_path": folder,
            "mlflow": {"enabled": False},
            "validation": {"seeds": [10**6], "controls": []},
        }
    )


@contextmanager
def _cluster(nodes: int) -> Iterator[None]:
    """One Ray that says it has a CPU for each node."""
    import ray

    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    ray.init(
        address="local",
        num_cpus=nodes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _temp_dir=short_folder(),
    )
    try:
        yield
    finally:
        ray.shutdown()


def _end_tracking(tracker: BackgroundTracker, server: SlowServer) -> dict[str, Any]:
    began = time.perf_counter()
    at_end = len(server.ended)
    tracker.on_sweep_end("KILLED")
    return {
        "tracking": {
            "records_when_the_sweep_ended": at_end,
            "records_after_the_flush": len(server.ended),
            "flush_s": time.perf_counter() - began,
        }
    }
