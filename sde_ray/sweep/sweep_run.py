"""One run of a sweep: its configuration, directory, plan, results and queue. Made once and handed down.

sweep_run = SweepRun(config)              nothing is read yet
sweep_run.results                         what the ledger has, read once; kept current as trials end
sweep_run.plan                            made once, from the configuration and those results
sweep_run.recommendation(study.group)     what the search itself has come to
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.storage.ledger import Ledger, supersedes
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.sweep.adaptive_queue import AdaptiveQueue, make_trial_queue
from sde_ray.sweep.curation import check_reachable
from sde_ray.sweep.data_summary import DataSummary, overlong_notes, summarize
from sde_ray.sweep.plan import Plan, plan
from sde_ray.sweep.queue import TrialQueue
from sde_ray.sweep.stale import stale_result_notes
from sde_ray.tasks.wording_notes import wording_notes
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import Design, Task, TrialResult

if TYPE_CHECKING:
    from sde_ray.sweep.device_memory import TrialMemory


class SweepRun:
    """A sweep in its directory, with what is known of it.

    Args:
        config: The configuration.
        check_tokenizer: Leave designs out of the plan that a model's tokenizer cannot write, and refuse one whose
            models or endpoints cannot be reached. Loads the tokenizers.
    """

    def __init__(self, config: SweepConfig, check_tokenizer: bool = False) -> None:
        self.config, self.check_tokenizer = config, check_tokenizer
        self.resources = config.resources  # once Ray is there, with a number of GPUs
        self._results: Mapping[str, TrialResult] | None = None
        self._queue: TrialQueue | None = None

    @property
    def run_dir(self) -> RunDirectory:
        return self.config.run_dir

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks by the names that trials carry."""
        return open_tasks(self.config)

    def metric(self, task: str) -> str:
        """The metric that is maximised on a task."""
        return self.config.objective.metric or self.tasks[task].objective

    @cached_property
    def score(self) -> Callable[[TrialResult], float | None]:
        """The objective's value in a result; see `scorer`."""
        return scorer(self.config)

    # ---- results -----------------------------------------------------------------------------------------------------

    @property
    def results(self) -> Mapping[str, TrialResult]:
        """What the ledger has, by trial key; the file is read at the first call."""
        if self._results is None:
            self._results = self.run_dir.results()
        return self._results

    def reload(self, ledger: Ledger) -> Mapping[str, TrialResult]:
        """Read the ledger again: under the lease, as another driver may have ended since."""
        self._results = ledger.repair()
        return self._results

    def record(self, result: TrialResult) -> None:
        """Take in a result that was appended to the ledger."""
        if supersedes(result, self.results.get(result.key)):
            self._results = {
                **self.results,
                result.key: result,
            }  # a new mapping: the tracker's thread reads the old one

    # ---- plan and queue ----------------------------------------------------------------------------------------------

    @cached_property
    def plan(self) -> Plan:
        """What the sweep runs. Raises UserError: for no trial, or for far too many."""
        expanded = plan(self.config, self.results)
        if not self.check_tokenizer:
            return expanded
        from sde_ray.models.availability import check_model
        from sde_ray.sweep.backend_check import check_backend
        from sde_ray.sweep.device_memory import check_adapters, check_bases, check_memory, trial_memory, worker_device
        from sde_ray.sweep.tokenizer_check import drop_unencodable

        check_backend(self.config)
        for model in (*self.config.model, *self.config.curation.models):
            check_model(model, self.config.trust_remote_code, must_load=True)
        check_reachable(trial for trial in expanded.trials if trial.key not in self.results)
        device = worker_device(self.config.resources)
        check_bases(expanded, device)
        check_adapters(expanded)
        expanded = drop_unencodable(expanded, self.results)
        if device.memory is not None:
            check_memory(trial_memory(expanded, device))
        return expanded

    def memory(self, gpu_memory: float | None = None) -> list[TrialMemory]:
        """What trials need of a device's memory. Raises UserError where that is known and too small (`worker_device`).

        `gpu_memory`: GB of a worker's GPU, where it is not one of this machine.
        """
        from sde_ray.sweep import device_memory

        memory = device_memory.trial_memory(self.plan, device_memory.worker_device(self.config.resources, gpu_memory))
        device_memory.check_memory(memory)
        return memory

    @cached_property
    def data(self) -> list[DataSummary]:
        """What the sweep reads of each task: items, metric, texts that do not fit."""
        return summarize(self.plan)

    def notes(self) -> list[str]:
        """What a person should know before the plan runs on top of the ledger's results."""
        variant = self.config.instruction_variant
        wordings = [note for task in self.tasks.values() for note in wording_notes(task, variant)]
        data = [f"{each.title}: {note}" for each in self.data for note in (*each.notes, *overlong_notes(each))]
        return [*wordings, *data, *stale_result_notes(self.plan, self.results, self.run_dir)]

    @property
    def queue(self) -> TrialQueue:
        """The trials still to run, with the search that orders them; made at the first call, then kept."""
        return self._queue or self.start_queue({})

    def start_queue(self, in_flight: Mapping[str, Checkpoint]) -> TrialQueue:
        """Make the queue. `in_flight`: checkpoints of trials that an earlier run has left unfinished, by key."""
        self._queue = make_trial_queue(self.plan, self.score, self.results, in_flight)
        return self._queue

    def recommendation(self, task: str, model: str, train_size: int) -> list[tuple[Design, float]]:
        """The design that the search recommends and its near-ties, best first, with the scores that it expects.

        Empty for methods that only list designs.
        """
        return self.queue.recommendation((task, model, train_size)) if isinstance(self.queue, AdaptiveQueue) else []


def scorer(config: SweepConfig, split: str = "") -> Callable[[TrialResult], float | None]:
    """The objective's value in a result, on its own split or on `split`; None where it has none that is finite."""
    metrics = {name: config.metric_for(task) for name, task in open_tasks(config).items()}
    split = split or config.objective.split

    def score(result: TrialResult) -> float | None:
        value = result.scores.get(split, {}).get(metrics[str(result.config["task"])])
        return value if value is not None and math.isfinite(value) else None

    return score
