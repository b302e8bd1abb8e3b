"""One contract for every tracking backend: the one that records nothing, and MLflow."""

from __future__ import annotations

from pathlib import Path

from sde_ray.testing import TrackerContract
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker


class TestNull(TrackerContract):
    records = False

    def build(self, tmp_path: Path) -> Tracker:
        self.folder = tmp_path
        return Tracker()

    def trials(self, tracker: Tracker) -> list[tuple[str, str]]:
        return [(str(path), "written") for path in self.folder.rglob("*")]  # a no-op tracker leaves nothing on disk


class TestMlflow(TrackerContract):
    def build(self, tmp_path: Path) -> MlflowTracker:
        return MlflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def trials(self, tracker: Tracker) -> list[tuple[str, str]]:
        assert isinstance(tracker, MlflowTracker)
        query = f"tags.`mlflow.parentRunId` = '{tracker.parent}'"
        runs = tracker.client.search_runs([tracker.experiment_id], query)
        return [(run.data.tags["sde.key"], run.info.status) for run in runs]
