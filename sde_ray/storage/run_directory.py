"""A run's directory: the one place that knows where each file of a run lies, here and in a remote storage.

run_dir = RunDirectory("s3://bucket/runs", "hotels")      a SweepConfig gives its own: config.run_dir
run_dir.path                            ~/.cache/sde_ray/mirror/s3/bucket/runs/hotels: the folder on this machine
run_dir.uri("report.html")              s3://bucket/runs/hotels/report.html: the file for everyone
run_dir.refresh()                       download what is newer there
run_dir.predictions("5f0c...")          .../trials/5f0c.../predictions.jsonl
run_dir.strategy("masa:d1", "tiny")     .../strategy.yaml; strategy-masa_d1.yaml where the run has several tasks
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.storage import layout
from sde_ray.storage.lease import is_locked
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import LocalFolder, open_folder
from sde_ray.storage.uri import join, local_path
from sde_ray.types import TrialResult

PUBLISHED = (
    "strategy*.yaml",
    "validation*.json",
    "report.html",
    "memory*.json",
    "analysis*.json",
    "analysis*.svg",
    "robustness*.json",
)


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run.

    Args:
        storage_path: The folder of all runs: a path, or the address of a remote storage.
        name: The run's own name.
        num_tasks: Number of tasks of the run. The files of several tasks, models or training sizes have them in their
            names; nothing is added where there is one of each.
        num_models: Number of models.
        num_train_sizes: Number of training sizes.
    """

    storage_path: str
    name: str
    num_tasks: int = 1
    num_models: int = 1
    num_train_sizes: int = 1

    @classmethod
    def at(cls, path: Path) -> RunDirectory:
        """That of a run whose folder is on this machine."""
        return cls(str(path.parent), path.name)

    @property
    def path(self) -> Path:
        """The folder on this machine; of a remote storage, its mirror."""
        return local_path(self.storage_path) / self.name

    def uri(self, *names: str) -> str:
        """The path or address for everyone, of the directory or of a file in it."""
        return join(self.storage_path, self.name, *names)

    @property
    def folder(self) -> LocalFolder:
        """Uploads to and downloads from a remote storage; for a plain path these do nothing."""
        return open_folder(self.uri())

    def refresh(self) -> None:
        """Download what is newer in the remote storage, unless a driver on this machine is ahead of it.

        Raises UserError: when the remote storage cannot be read.
        """
        folder = self.folder
        if folder.remote and not is_locked(folder.folder):
            folder.download()

    # ---- results -----------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger of results."""
        return Ledger(self.path / layout.LEDGER)

    def results(self) -> dict[str, TrialResult]:
        """What the ledger has, by trial key; reads the file."""
        return self.ledger.results()

    def existing_results(self) -> tuple[TrialResult, ...]:
        """What the ledger has. Raises UserError: when that is nothing."""
        results = tuple(self.results().values())
        if not results:
            raise UserError(f"{self.uri()} has no finished trial. Run the sweep first: sde-ray run SWEEP.yaml")
        return results

    # ---- trials ------------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> Path:
        """The folder of all trials."""
        return self.path / layout.TRIALS

    def trial(self, key: str) -> Path:
        """The folder of a trial."""
        return self.trials / key

    def predictions(self, key: str, rung: int | None = None) -> Path:
        """The completions of a trial at a rung; `None`: at its last one."""
        return self.trial(key) / layout.predictions_name(rung)

    # ---- the run's own files -----------------------------------------------------------------------------------------

    @property
    def sweep(self) -> Path:
        """The configuration as a person would write it."""
        return self.path / layout.SWEEP

    @property
    def resolved(self) -> Path:
        """The complete configuration."""
        return self.path / layout.RESOLVED

    @property
    def config_files(self) -> tuple[Path, ...]:
        """What describes the run: both configurations."""
        return self.sweep, self.resolved

    @property
    def phase(self) -> Path:
        """How far the driver has come; see `sweep/phase.py`."""
        return self.path / layout.PHASE

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / layout.REPORT

    @property
    def tune(self) -> Path:
        """Ray Tune's own files, while it runs."""
        return self.path.absolute() / layout.TUNE

    # ---- one file a task and model -----------------------------------------------------------------------------------

    def suffix(self, task: str, model: str, train_size: int = 0) -> str:
        """What tells the files of several tasks, models and training sizes apart; "" where there is one of each."""
        parts = [task] * (self.num_tasks > 1) + [model] * (self.num_models > 1)
        parts += [str(train_size)] * (train_size > 0 and self.num_train_sizes > 1)
        return "".join("-" + _file_name(part).strip("_") for part in parts)

    def strategy(self, task: str, model: str) -> Path:
        """The assembled design with its evidence."""
        return self.path / f"{layout.STRATEGY}{self.suffix(task, model)}.yaml"

    def validation(self, task: str, model: str) -> Path:
        """The verdict of the final comparison."""
        return self.path / f"{layout.VALIDATION}{self.suffix(task, model)}.json"

    def adapter(self, task: str, model: str) -> Path:
        """The folder of the recommended adapter."""
        return self.path / f"{layout.ADAPTER}{self.suffix(task, model)}"

    def analysis(self, task: str, model: str) -> Path:
        """What prompting says of the designs; its figure is the .svg of the same name."""
        return self.path / f"{layout.ANALYSIS}{self.suffix(task, model)}.json"

    def memory(self, task: str, model: str) -> Path:
        """How well the untuned model knows each fact."""
        return self.path / f"{layout.MEMORY}{self.suffix(task, model)}.json"

    def robustness(self, task: str, model: str) -> Path:
        """The strategy under other conditions; its figure is the .svg of the same name."""
        return self.path / f"{layout.ROBUSTNESS}{self.suffix(task, model)}.json"

    @property
    def prompting_cache(self) -> Path:
        """Measurements of the untuned model, each made once."""
        return self.path / f"{layout.ANALYSIS}.jsonl"

    @property
    def memory_cache(self) -> Path:
        """Memory of facts, each measured once a model."""
        return self.path / f"{layout.MEMORY}.jsonl"

    @property
    def robustness_cache(self) -> Path:
        """Completions under other conditions, each decoded once."""
        return self.path / f"{layout.ROBUSTNESS}.jsonl"

    def published(self) -> list[Path]:
        """The files that a person wants to see, for MLflow: strategies, verdicts, the page, later studies."""
        return sorted(path for pattern in PUBLISHED for path in self.path.glob(pattern))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text)
