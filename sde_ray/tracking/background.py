"""Between a sweep and MLflow: a thread of its own writes, so that no trial ever waits for a tracking server.

    outbox = Outbox(MlflowTracker(uri), results=lambda: ledger.results().values())
    outbox.on_sweep_start(...); outbox.on_trial_end(...)        # each returns at once
    outbox.on_sweep_end()                                      # waits while MLflow still takes things, then gives up

The ledger is the truth, so nothing has to be kept for a server that is away: when it answers again (tried every `retry`
seconds), it is told what the ledger has and it lacks, which trials run, and the latest of each table and file. What is
missing at the end is said, with the command that makes up for it (`sde-ray sync`).
"""

from __future__ import annotations

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
from sde_ray.config.load import mask
from sde_ray.config.trial import TrialConfig
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.types import TrialResult

ROOM = 1000  # calls that wait; beyond it trials are left to the ledger
TRIES = 3  # failures of one table, file or adapter, after which it is taken for a defect of its own
RETRY = 15.0  # seconds between two attempts to reach a server that is away
GRACE = 90.0  # seconds without a sign of life after which the end of a sweep waits no longer

Results = Callable[[], Iterable[TrialResult]]


@dataclass(frozen=True)
class Call:
    """One of the tracker's methods, to be called later. `keep`: a name under which it is kept for a server's return."""

    method: str
    arguments: tuple[Any, ...] = ()
    keep: str = ""


class BackgroundTracker(Tracker):
    """Asynchronous tracker: a background thread writes to MLflow; calls never block or raise."""

    def __init__(
        self, tracker: MlflowTracker, results: Results, room: int = ROOM, retry: float = RETRY, grace: float = GRACE
    ) -> None:
        self.tracker, self._results, self._retry, self._grace = tracker, results, retry, grace
        self._waiting: queue.Queue[Call] = queue.Queue(room)
        self._kept: dict[str, Call] = {}
        self._failures: Counter[str] = Counter()
        self._running: dict[str, TrialConfig] = {}
        self._start: Call | None = None
        self._in_ledger: set[tuple[str, str]] = set()  # results that MLflow was told from the ledger
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._behind = False  # something of the ledger or of `_kept` may be missing in MLflow
        self._away = False  # it did not answer when it was last asked for the sweep's run
        self._next_try = 0.0
        self._moved = time.monotonic()
        self._done = threading.Event()

    # ---- the sweep's side ------------------------------------------------------------------------------------------

    def on_sweep_start(
        self, name: str, resolved: Mapping[str, Any], folder: Path, results: Iterable[TrialResult] = ()
    ) -> None:
        """Begin, or go on with, the sweep's run; the ledger's `results` are read in the thread."""
        self._start, self._folder = Call("on_sweep_start", (name, resolved, folder)), folder
        self._behind = True
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def on_trial_start(self, config: TrialConfig) -> None:
        with self._lock:
            self._running[config.key] = config
        self._put(Call("on_trial_start", (config,)))

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        with self._lock:
            self._running.pop(result.key, None)
        self._put(Call("on_trial_end", (result, folder)))

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._put(Call("log_table", (name, list(rows)), keep=f"table {name}"))

    def log_text(self, name: str, text: str) -> None:
        self._put(Call("log_text", (name, text), keep=f"text {name}"))

    def log_files(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._put(Call("log_files", ([path],), keep=f"file {path}"))

    def register_adapter(self, strategy: Strategy, adapter: Path) -> None:
        self._put(Call("register_adapter", (strategy, adapter), keep=f"adapter {adapter}"))

    def on_sweep_end(self, status: str = "FINISHED") -> None:
        """End the run. Waits while MLflow takes what is left; says what it has not taken."""
        if self._thread is None:
            return
        self._moved = time.monotonic()
        told = False
        while not self._done.wait(0.1) and time.monotonic() - self._moved < self._grace:
            if not told:
                try:
                    self._waiting.put_nowait(Call("on_sweep_end", (status,)))
                    told = True
                except queue.Full:
                    pass  # it is slow, but it moves
        if not self._done.is_set() or self._behind or self.tracker.lacking:
            self._say_behind()

    def _put(self, call: Call) -> None:
        if call.keep:
            with self._lock:
                self._kept[call.keep] = call
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            self._behind = True

    # ---- the thread's side -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._catch_up()
        while True:
            try:
                call = self._waiting.get(timeout=self._retry if self._behind else None)
            except queue.Empty:
                self._catch_up()
                continue
            if call.method == "on_sweep_end":
                self._next_try = 0.0  # the last chance comes at once
                self._catch_up()
                if not self._away:
                    self._deliver(call)
                self._done.set()
                return
            if self._behind:
                self._catch_up()  # it tells what this call would have told
            elif not self._is_old(call):
                self._deliver(call)

    def _is_old(self, call: Call) -> bool:
        """Whether a call that waited during an outage tells what the ledger has told since."""
        if call.method == "on_trial_start":
            with self._lock:
                return call.arguments[0].key not in self._running
        if call.method == "on_trial_end":
            return (call.arguments[0].key, call.arguments[0].status) in self._in_ledger
        return False

    def _catch_up(self) -> bool:
        """Tell MLflow all that it lacks; False while it is away."""
        if not self._behind:
            return True
        if time.monotonic() < self._next_try or self._start is None:
            return False
        with self._lock:
            running, kept = list(self._running.values()), list(self._kept.values())
        self._behind = False  # what comes in from here on is new
        self._away = not self._deliver(Call("on_sweep_start", (*self._start.arguments, self._told(self._results()))))
        if self._away:
            return False
        rest = [*(Call("on_trial_start", (config,)) for config in running), *kept]
        return not [call for call in rest if not self._deliver(call)]  # one that fails keeps no other back

    def _told(self, results: Iterable[TrialResult]) -> Iterable[TrialResult]:
        """The results one by one: each that MLflow asks for shows that it is alive."""
        for result in results:
            self._moved = time.monotonic()
            self._in_ledger.add((result.key, result.status))
            yield result

    def _deliver(self, call: Call) -> bool:
        """Make one call; a failure begins an outage, told once for each."""
        try:
            getattr(self.tracker, call.method)(*call.arguments)
        except Exception as error:  # whatever goes wrong in tracking, the sweep goes on
            self._behind, self._next_try = True, time.monotonic() + self._retry
            self._say_away(call.method, error)
            self._give_up(call)
            return False
        self._moved, self._told_away = time.monotonic(), False
        return True

    def _give_up(self, call: Call) -> None:
        """Leave out what fails again and again while the rest arrives; `sde-ray sync` makes it anew from the folder."""
        self._failures[call.keep] += bool(call.keep)
        if self._failures[call.keep] >= TRIES:
            with self._lock:
                self._kept.pop(call.keep, None)

    # ---- what the user is told -------------------------------------------------------------------------------------

    _told_away = False

    def _say_away(self, action: str, fault: Exception) -> None:
        if not self._told_away:
            self._told_away = True
            reason = mask(f"{type(fault).__name__}: {fault}")
            warnings.warn(
                f"MLflow at {mask(self.tracker.tracking_uri)} failed in {action}: {reason}. The sweep goes on; its "
                "ledger has every result, and MLflow gets them when it answers again.",
                stacklevel=3,
            )

    def _say_behind(self) -> None:
        warnings.warn(
            f"MLflow at {mask(self.tracker.tracking_uri)} does not have everything of this sweep. Nothing is lost: "
            f"when it answers again, run: sde-ray sync {self._folder}",
            stacklevel=3,
        )
