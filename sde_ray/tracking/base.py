"""Callbacks for experiment tracking: a base class whose methods do nothing, as Ray's `Callback`.

`MlflowTracker` writes to MLflow, `BackgroundTracker` does so in a thread. A tracker of your own overrides what it
needs; a plain `Tracker()` logs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ray.analysis.strategy import Strategy
from sde_ray.config.trial import TrialConfig
from sde_ray.tracking.comparison_view import ComparisonView
from sde_ray.types import TrialResult


class Tracker:
    """No-op tracker: callbacks of one sweep, all in the driver's process."""

    def on_sweep_start(
        self, name: str, resolved: Mapping[str, Any], folder: Path, results: Iterable[TrialResult] = ()
    ) -> None:
        """Begin the sweep's run, or resume it.

        Args:
            name: the sweep's name.
            resolved: its complete configuration, for JSON.
            folder: its local folder, with `trials/KEY/` for each trial.
            results: those of the ledger; what the tracker lacks of them is to be logged.
        """

    def on_trial_start(self, config: TrialConfig) -> None:
        """A trial begins, or resumes."""

    def on_trial_end(self, result: TrialResult, folder: Path) -> None:
        """A trial has ended; its files are in `folder`."""

    def log_comparison(self, view: ComparisonView) -> None:
        """What of the sweep's trials is to be compared on the tracker's own page."""

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of the sweep, one mapping a row."""

    def log_text(self, name: str, text: str) -> None:
        """A text artifact of the sweep, such as an SVG figure. `name`: its file name."""

    def log_files(self, paths: Iterable[Path]) -> None:
        """Files of the sweep as artifacts."""

    def register_adapter(self, strategy: Strategy, adapter: Path) -> str | None:
        """Register the adapter in folder `adapter` with its design; returns "name/version" where it is known."""
        return None

    def on_sweep_end(self, status: str = "FINISHED") -> None:
        """End the sweep's run. `status`: FINISHED, FAILED or KILLED, as MLflow calls them."""
