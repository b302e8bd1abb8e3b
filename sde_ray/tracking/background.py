"""Asynchronous tracker: a background thread writes to MLflow, so that no trial ever waits for a tracking server.

    tracker = BackgroundTracker(MlflowTracker(uri), results=lambda: ledger.results().values())
    tracker.on_sweep_start(...); tracker.on_trial_end(...)      # each returns at once
    tracker.on_sweep_end()                                      # flushes while MLflow still answers, then gives up

The ledger is the truth, so nothing has to be stored for a server that is away: when it answers again (tried every
`retry_interval_s` seconds), it gets what the ledger has and it lacks, which trials run, and the latest of each table
and file. What is missing at the end is said, with the command that makes up for it (`sde-ray sync`).
"""

from __future__ import annotations

import math
import queue
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.analysis.strategy import Strategy
from sde_ray.config.trial import TrialConfig
from sde_ray.safe_text import mask, redact
from sde_ray.storage.layout import TRAIN_LOG, TRIALS
from sde_ray.storage.train_log import TrainLog
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.comparison_view import ComparisonView
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.types import TrialResult

QUEUE_SIZE = 1000  # calls that wait; beyond it trials are left to the ledger
MAX_FAILURES = 3  # of one table, file or adapter, after which it is taken for a defect of its own
CURVE_INTERVAL_S = 5.0  # between two looks at the logs of running trials
RETRY_INTERVAL_S = 15.0  # between two attempts to reach a server that is away
FIRST_PAUSE_S = 0.1  # between two attempts at the end of a sweep; it doubles while nothing arrives
FLUSH_TIMEOUT_S = 90.0  # without a sign of life, after which the end of a sweep waits no longer

Results = Callable[[], Iterable[TrialResult]]


@dataclass(frozen=True)
class _Call:
    """One of the tracker's methods, to be called later.

    After an outage the latest call of each `replay_key` is repeated; it is "" for what the ledger has.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    replay_key: str = ""


class BackgroundTracker(Tracker):
    """Asynchronous tracker: a background thread writes to MLflow; calls never block or raise.

    Args:
        tracker: the one that writes, and may block and raise.
        results: reads the ledger's results, in the thread.
        queue_size: calls that may wait; beyond it trials are left to the ledger.
        retry_interval_s: seconds between two attempts to reach a server that is away.
        flush_timeout_s: seconds without a sign of life, after which `on_sweep_end` waits no longer.
    """

    def __init__(
        self,
        tracker: MlflowTracker,
        results: Results,
        queue_size: int = QUEUE_SIZE,
        retry_interval_s: float = RETRY_INTERVAL_S,
        flush_timeout_s: float = FLUSH_TIMEOUT_S,
    ) -> None:
        self.tracker, self._results = tracker, results
        self._retry_interval_s, self._flush_timeout_s = retry_interval_s, flush_timeout_s
        self._queue: queue.Queue[_Call] = queue.Queue(queue_size)
        self._replays: dict[str, _Call] = {}
        self._failures: Counter[str] = Counter()
        self._running: dict[str, TrialConfig] = {}
        self._start: _Call | None = None
        self._from_ledger: set[tuple[str, str]] = set()  # key and status of results that MLflow has from the ledger
        self._curves: dict[str, int] = {}  # by key of running trials, the last step that MLflow has
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._behind = False  # something of the ledger or of `_replays` may be missing in MLflow
        self._unreachable = False  # it did not answer when it was last asked for the sweep's run
        self._warned = False  # of the outage that lasts
        self._next_attempt = 0.0
        self._last_success = time.monotonic()
        self._last_progress = -math.inf  # when it last took something that it did not have
        self._arrived: dict[str, _Call] = {}
        self._left_out = False  # something failed too often
        self._finished, self._abandoned = threading.Event(), threading.Event()
        self._lacking_since: float | None = None  # when MLflow last had everything

    @property
    def lag_s(self) -> float:
        """For how many seconds MLflow has lacked something of the sweep; 0: it has everything."""
        since = self._lacking_since
        return 0.0 if since is None else time.monotonic() - since

    # ---- the sweep's side ------------------------------------------------------------------------------------------

    def on_sweep_start(
        self, name: str, resolved: Mapping[str, Any], folder: Path, results: Iterable[TrialResult] = ()
    ) -> None:
        """Start the thread, which begins the sweep's run or resumes it; it reads the ledger's results itself."""
        self._start, self._folder = _Call("on_sweep_start", (name, resolved, folder)), folder
        self._behind, self._lacking_since = True, time.monotonic()
        self._thread = threading.Thread(target=self._write, name="mlflow", daemon=True)
        self._thread.start()

    def on_trial_start(self, config: TrialConfig) -> None:
        with self._lock:
            self._running[config.key] = config
        self._put(_Call("on_trial_start", (config,)))

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        with self._lock:
            self._running.pop(result.key, None)
            self._curves.pop(result.key, None)
        self._put(_Call("on_trial_end", (result, folder)))

    def log_comparison(self, view: ComparisonView) -> None:
        self._put(_Call("log_comparison", (view,), replay_key="comparison"))

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._put(_Call("log_table", (name, list(rows)), replay_key=f"table {name}"))

    def log_text(self, name: str, text: str) -> None:
        self._put(_Call("log_text", (name, text), replay_key=f"text {name}"))

    def log_files(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._put(_Call("log_files", ([path],), replay_key=f"file {path}"))

    def register_adapter(self, strategy: Strategy, adapter: Path) -> None:
        self._put(_Call("register_adapter", (strategy, adapter), replay_key=f"adapter {adapter}"))

    def on_sweep_end(self, status: str = "FINISHED") -> None:
        """Flush, and end the run. Waits as long as MLflow takes calls; warns of what it has not taken.

        After a Ctrl-C (KILLED) the user waits `flush_timeout_s` seconds at most, also for a server that is only slow.
        """
        if self._thread is None:
            return
        self._last_success = asked = time.monotonic()
        queued = False
        while not self._finished.wait(0.1):
            since = asked if status == "KILLED" else self._last_success
            if time.monotonic() - since >= self._flush_timeout_s:
                break
            if not queued:
                try:
                    self._queue.put_nowait(_Call("on_sweep_end", (status,)))
                    queued = True
                except queue.Full:
                    pass  # it is slow, but it moves
        self._abandoned.set()
        if not self._finished.is_set() or self._behind or self._left_out or self.tracker.incomplete_trials:
            self._warn_incomplete()

    def _put(self, call: _Call) -> None:
        with self._lock:
            if call.replay_key:
                self._replays[call.replay_key] = call
            self._lacking_since = self._lacking_since or time.monotonic()
            try:
                self._queue.put_nowait(call)
            except queue.Full:
                self._behind = True

    # ---- the thread's side -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        """The thread's loop: make the calls in order; after an outage catch up instead."""
        self._catch_up()
        while True:
            with self._lock:
                if self._queue.empty() and not self._behind:
                    self._lacking_since = None
            try:
                call = self._queue.get(timeout=self._retry_interval_s if self._behind else CURVE_INTERVAL_S)
            except queue.Empty:
                self._catch_up()
                self._log_curves()
                continue
            if call.method == "on_sweep_end":
                self._end(call)
                self._finished.set()
                return
            if self._behind:
                self._catch_up()  # it writes what this call would have written
            elif not self._is_outdated(call):
                self._deliver(call)

    def _log_curves(self) -> None:
        """Log what running trials have trained since the last look, while nothing else is to be written."""
        with self._lock:
            running = list(self._running.values())
        for config in running:
            if self._behind:
                return
            log, seen = TrainLog(self._folder / TRIALS / config.key / TRAIN_LOG), self._curves.get(config.key, 0)
            steps = log.read(after=seen)
            if steps and self._deliver(_Call("log_train_steps", (config, steps))):
                self._curves[config.key] = steps[-1].step

    def _end(self, call: _Call) -> None:
        """Write what is missing, then the sweep's end; again and again while MLflow takes something in between.

        One that has taken nothing for `flush_timeout_s` seconds is asked once, and gets the end if it answers at all.
        """
        pause, refusals = FIRST_PAUSE_S, 0
        while not self._abandoned.is_set():
            self._next_attempt, last = 0.0, self._last_progress
            incomplete = len(self.tracker.incomplete_trials)
            self._behind = self._behind or incomplete > 0  # files that were refused are sent once more
            whole, still = self._catch_up(), len(self.tracker.incomplete_trials)
            refusals += whole and still >= max(incomplete, 1)
            if whole and (not still or refusals >= MAX_FAILURES):
                if self._deliver(call):
                    return
                self._behind = False  # all but the end is there: that alone is said again
            if time.monotonic() - self._last_progress >= self._flush_timeout_s:
                break
            pause = FIRST_PAUSE_S if self._last_progress > last else min(2 * pause, self._retry_interval_s)
            self._abandoned.wait(pause)
        if self._unreachable or not self._deliver(call):
            self._behind = True

    def _is_outdated(self, call: _Call) -> bool:
        """Whether a call that waited during an outage says what has been written from the ledger since."""
        if call.method == "on_trial_start":
            with self._lock:
                return call.arguments[0].key not in self._running
        if call.method == "on_trial_end":
            return (call.arguments[0].key, call.arguments[0].status) in self._from_ledger
        return False

    def _catch_up(self) -> bool:
        """Write all that MLflow lacks; False while it is away."""
        if not self._behind:
            return True
        if time.monotonic() < self._next_attempt or self._start is None:
            return False
        with self._lock:
            running, replays = list(self._running.values()), list(self._replays.values())
        self._behind = False  # calls that come in from here on are not among `running` and `replays`
        start = (*self._start.arguments, self._replay_ledger(self._results()))
        before = self.tracker.num_logged
        self._unreachable = not self._deliver(_Call("on_sweep_start", start))
        if self.tracker.num_logged > before:
            self._last_progress = time.monotonic()
        if self._unreachable:
            return False
        calls = [*(_Call("on_trial_start", (config,)) for config in running), *replays]
        return not [call for call in calls if not self._deliver(call)]  # one that fails keeps no other back

    def _replay_ledger(self, results: Iterable[TrialResult]) -> Iterable[TrialResult]:
        """The results one by one: each that MLflow asks for shows that it is alive."""
        if self._last_progress == -math.inf:
            self._last_progress = time.monotonic()  # it has taken the sweep's run
        for result in results:
            self._last_success = time.monotonic()
            self._from_ledger.add((result.key, result.status))
            yield result

    def _deliver(self, call: _Call) -> bool:
        """Make one call; a failure begins an outage, with one warning for each."""
        try:
            getattr(self.tracker, call.method)(*call.arguments)
        except Exception as error:  # whatever goes wrong in tracking, the sweep goes on
            self._behind, self._next_attempt = True, time.monotonic() + self._retry_interval_s
            self._warn_unreachable(call.method, error)
            self._count_failure(call)
            return False
        self._last_success, self._warned = time.monotonic(), False
        if call.method == "on_trial_end" or (call.replay_key and self._arrived.get(call.replay_key) is not call):
            self._last_progress = self._last_success  # not for what is only said once more
            self._arrived[call.replay_key] = call
        return True

    def _count_failure(self, call: _Call) -> None:
        """Leave out what fails again and again while the rest arrives; `sde-ray sync` makes it anew from the folder."""
        self._failures[call.replay_key] += bool(call.replay_key)
        if self._failures[call.replay_key] >= MAX_FAILURES:
            with self._lock:
                self._replays.pop(call.replay_key, None)
            self._left_out = True

    # ---- warnings --------------------------------------------------------------------------------------------------

    def _warn_unreachable(self, action: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = redact(f"{type(error).__name__}: {error}")
            warnings.warn(
                f"MLflow at {mask(self.tracker.tracking_uri)} failed in {action}: {reason}. The sweep goes on; its "
                "ledger has every result, and MLflow gets them when it answers again.",
                stacklevel=3,
            )

    def _warn_incomplete(self) -> None:
        warnings.warn(
            f"MLflow at {mask(self.tracker.tracking_uri)} does not have everything of this sweep. Nothing is lost: "
            f"when it answers again, run: sde-ray sync {self._folder}",
            stacklevel=3,
        )
