"""The contract of a tracking backend: every trial once, with its true end, and a resumed sweep completes the record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.tracking.base import Tracker
from sde_ray.types import RungResult, Status, TrialResult

METRIC = "weighted_kappa"


def trial(seed: int) -> TrialConfig:
    """A trial of two rungs."""
    return TrialConfig("masa:d1", make_design(), "tiny", seed, 100, 20, rungs=(0.5, 1.0))


def ended(config: TrialConfig, status: Status = "finished") -> TrialResult:
    """What the trial brought: scores at both rungs, or the error of a failed one."""
    rungs = (RungResult(0, 48, {"dev": {METRIC: 0.3}}), RungResult(1, 100, {"dev": {METRIC: 0.6}}))
    error = "planted" if status == "failed" else ""
    return TrialResult(config.key, config.resolved(), status, rungs[-1].scores, rungs=rungs, error=error)


class TrackerContract(ABC):
    """What holds for every `Tracker`. A subclass builds one on a store below `tmp_path` and says what the store has."""

    records = True
    """False for a tracker that records nothing: its store then stays empty."""

    @abstractmethod
    def build(self, tmp_path: Path) -> Tracker:
        """A tracker that knows nothing of earlier ones, on the same store each time."""

    @abstractmethod
    def trials(self, tracker: Tracker) -> list[tuple[str, str]]:
        """(key, "RUNNING", "FINISHED", "FAILED" or "KILLED") of every trial that the store has of the sweep."""

    def _recorded(self, tracker: Tracker) -> dict[str, str]:
        trials = self.trials(tracker)
        assert len(trials) == len(dict(trials)), "a trial is there twice"
        return dict(trials)

    def _expected(self, trials: dict[str, str]) -> dict[str, str]:
        return trials if self.records else {}

    def test_a_trial_runs_and_then_has_ended(self, tmp_path: Path) -> None:
        tracker = self.build(tmp_path)
        tracker.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        tracker.on_trial_start(trial(0))
        assert self._recorded(tracker) == self._expected({trial(0).key: "RUNNING"})
        tracker.on_trial_end(ended(trial(0)), tmp_path)
        assert self._recorded(tracker) == self._expected({trial(0).key: "FINISHED"})
        tracker.on_sweep_end()

    def test_every_end_is_recorded_as_what_it_is(self, tmp_path: Path) -> None:
        tracker = self.build(tmp_path)
        tracker.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        ends: list[tuple[Status, str]] = [("finished", "FINISHED"), ("pruned", "KILLED"), ("failed", "FAILED")]
        for seed, (status, _) in enumerate(ends):
            tracker.on_trial_start(trial(seed))
            tracker.on_trial_end(ended(trial(seed), status), tmp_path)
        tracker.on_sweep_end()
        assert self._recorded(tracker) == self._expected(
            {trial(seed).key: shown for seed, (_, shown) in enumerate(ends)}
        )

    def test_a_stopped_sweep_leaves_no_trial_running(self, tmp_path: Path) -> None:
        tracker = self.build(tmp_path)
        tracker.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        tracker.on_trial_start(trial(0))
        tracker.on_sweep_end("KILLED")
        assert self._recorded(tracker) == self._expected({trial(0).key: "KILLED"})

    def test_a_resumed_sweep_has_every_trial_once(self, tmp_path: Path) -> None:
        first = self.build(tmp_path)
        first.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        first.on_trial_end(ended(trial(0)), tmp_path)
        first.on_trial_start(trial(1))  # and the process dies
        second = self.build(tmp_path)
        second.on_sweep_start("x", {"name": "x"}, tmp_path / "x", [ended(trial(0)), ended(trial(2))])
        second.on_trial_end(ended(trial(1)), tmp_path)
        second.on_sweep_end()
        assert self._recorded(second) == self._expected({trial(seed).key: "FINISHED" for seed in range(3)})

    def test_a_trial_that_runs_again_is_the_same_trial(self, tmp_path: Path) -> None:
        tracker = self.build(tmp_path)
        tracker.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        for status in ("failed", "finished"):
            tracker.on_trial_start(trial(0))
            tracker.on_trial_end(replace(ended(trial(0)), status=status), tmp_path)
        tracker.on_sweep_end()
        assert self._recorded(tracker) == self._expected({trial(0).key: "FINISHED"})

    def test_tables_texts_and_files_may_come_twice_or_be_missing(self, tmp_path: Path) -> None:
        tracker = self.build(tmp_path)
        tracker.on_sweep_start("x", {"name": "x"}, tmp_path / "x")
        for _ in range(2):
            tracker.log_table("leaderboard", [{"design": "a", "score": 0.5}, {"design": "b", "score": None}])
            tracker.log_text("effects.svg", "<svg/>")
            tracker.log_files([tmp_path / "missing.json"])
        tracker.on_sweep_end()
        assert self._recorded(tracker) == self._expected({})
