"""A sweep: the plan's trials through Ray Tune on warm workers, each result in the ledger as it ends.

    outcome = run_sweep(load_config("sweeps/quickstart.yaml"))
    outcome.results                      # every trial of the plan that the ledger has, from earlier runs too

Finished = the ledger has it: the same command again runs only what is missing, and failed trials once more. A trial
that was stopped between two rungs resumes from its checkpoint (`training/checkpoint.py`).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.config.load import write_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.lease import lease
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.adaptive_queue import AdaptiveQueue
from sde_ray.sweep.cluster.concurrency import Concurrency
from sde_ray.sweep.cluster.gpus import with_gpus
from sde_ray.sweep.cluster.packs import packed_runners
from sde_ray.sweep.cluster.preflight import check_nodes
from sde_ray.sweep.cluster.ray_session import bundles, ray_session
from sde_ray.sweep.opponents import opponent_key
from sde_ray.sweep.phase import write_phase
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.queue import ListQueue, Score
from sde_ray.sweep.resume import check_same_tasks, match_finished, trial_cost
from sde_ray.sweep.signals import sigterm_is_ctrl_c
from sde_ray.sweep.sweep_run import SweepRun, scorer
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.training.checkpoint import in_flight
from sde_ray.training.runner import RunnerFactory, RunnerResources
from sde_ray.types import TrialResult

Cost = Callable[[TrialResult], float]


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep has brought. `interrupted`: the user stopped it; the exit code is then 130.

    `count` trials were to run, of which `ended` have, in the unit of the plan's budget.
    """

    results: tuple[TrialResult, ...]
    sweep_run: SweepRun
    count: float
    ended: float
    interrupted: bool = False

    @property
    def plan(self) -> Plan:
        return self.sweep_run.plan

    @property
    def folder(self) -> Path:
        return self.sweep_run.run_dir.path.absolute()

    @property
    def message(self) -> str:
        """For an interrupted sweep: what is saved, and how to resume."""
        return (
            f"Stopped. {self.ended:g} of {self.count} trials are saved in {self.sweep_run.run_dir.uri(LEDGER)}. "
            "Run the same command again to go on."
        )


def run_sweep(
    config: SweepConfig,
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run what the ledger lacks of a sweep.

    Args:
        config: The sweep.
        runner_factory: Stands in for the training engine, in tests.
        tracker: Is told of each trial's start and end (`tracking.base.Tracker`).
        progress: Shows the trials; stderr by default.

    Raises:
        UserError: when nothing can run, another driver is at work, or every trial failed.
    """
    config.run_dir.refresh()
    return run_plan(SweepRun(config, check_tokenizer=runner_factory is None), runner_factory, tracker, progress)


def run_plan(
    sweep_run: SweepRun,
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run what the ledger lacks of a sweep's plan. Raises UserError: see `run_sweep`."""
    config, run_dir, plan = sweep_run.config, sweep_run.run_dir, sweep_run.plan
    check_same_tasks(config, sweep_run.results)
    with _driver(sweep_run) as ledger:
        write_sweep(config)  # not under a driver that is at work
        run_dir.folder.upload(*run_dir.config_files)
        write_phase(run_dir, "sweep", planned=plan.count)
        queue = sweep_run.start_queue(in_flight(run_dir.folder, plan.trials, sweep_run.results))
        job = TuneJob(sweep_run, queue, ledger, config.objective.split, sweep_run.score)
        interrupted = _run_job(
            job, plan.count, lambda result: trial_cost(config, result), runner_factory, tracker, progress
        )
    results = tuple(match_finished(plan.trials, sweep_run.results).values())
    if not interrupted:
        _refuse_worthless(sweep_run, results)
    ended = sum(trial_cost(config, result) for result in results if result.status != "failed")
    return SweepOutcome(results, sweep_run, plan.count, ended, interrupted)


def run_trials(
    sweep_run: SweepRun,
    trials: Sequence[TrialConfig],
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run given trials, each once, such as those of a final comparison: no search, no rungs, no racing.

    They go through the same workers and ledger as a sweep, so a comparison that was stopped resumes, too.

    Raises:
        UserError: when another driver is at work, or every trial failed.
    """
    unique = tuple({trial.key: trial for trial in trials}.values())
    split = unique[0].splits[0]
    score = scorer(sweep_run.config, split)
    with _driver(sweep_run) as ledger:
        checkpoints = in_flight(sweep_run.run_dir.folder, unique, sweep_run.results)
        queue = ListQueue(unique, sweep_run.results, checkpoints)
        job = TuneJob(sweep_run, queue, ledger, split, score, search=False)
        interrupted = _run_job(job, len(unique), lambda result: 1.0, runner_factory, tracker, progress)
    results = tuple(match_finished(unique, sweep_run.results).values())
    if not interrupted:
        _refuse_worthless(sweep_run, results, split)
    ended = sum(result.status != "failed" for result in results)
    return SweepOutcome(results, sweep_run, len(unique), ended, interrupted)


@contextmanager
def _driver(sweep_run: SweepRun) -> Iterator[Ledger]:
    """Hold the run's lease; its ledger, read again, as another driver may have ended since."""
    run_dir = sweep_run.run_dir
    folder = run_dir.folder
    with lease(run_dir.path.absolute(), remote=folder.remote) as held, folder.open_ledger(held.check) as ledger:
        sweep_run.reload(ledger)
        yield ledger
        if folder.remote:
            sweep_run.reload(ledger)  # with lines of another machine's driver, where the two were merged


def _run_job(
    job: TuneJob,
    count: float,
    cost: Cost,
    runner_factory: RunnerFactory | None,
    tracker: Any,
    progress: Progress | None,
) -> bool:
    """Run a job's trials, if any are left; True if the user stopped it."""
    queue = job.queue
    if not queue.remaining:
        return False
    progress = progress or Progress()
    progress.begin(count, [(one, job.score(one)) for one in queue.earlier], cost, len(queue.in_flight))
    try:
        return _tune(job, runner_factory, tracker, progress)
    finally:
        progress.finish()


def _refuse_worthless(sweep_run: SweepRun, results: Sequence[TrialResult], split: str = "") -> None:
    """Raises UserError: when nothing can be learnt from what has ended."""
    if results and all(result.status == "failed" for result in results):
        raise UserError(f"All {len(results)} trials failed. The first error: {results[0].error}")
    ended = [result for result in results if result.status != "failed"]
    split = split or sweep_run.config.objective.split
    score = scorer(sweep_run.config, split)
    if ended and all(score(result) is None for result in ended):
        metrics = sorted({sweep_run.metric(task) for task in sweep_run.tasks})
        raise UserError(
            f"None of the {len(ended)} trials has a finite {' or '.join(metrics)} on {split}, so none "
            "can be chosen. Lower train.learning_rate, set train.dtype: float32, or set another objective.metric."
        )


def _tune(job: TuneJob, factory: RunnerFactory | None, tracker: Any, progress: Progress) -> bool:
    """Let Ray Tune run a job; True if the user stopped it."""
    progress.wait("Starting Ray and a worker with the model")  # before the import, which alone takes seconds
    import ray

    from sde_ray.sweep.callback import SweepCallback

    if factory is None:
        from sde_ray.training.trial_runner import make_runner

        factory = make_runner
    config, run_dir = job.sweep_run.config, job.sweep_run.run_dir
    grows = ray.is_initialized() or config.resources.address is not None  # this machine's own Ray stays as it is
    interrupted: list[bool] = []
    with ray_session(config.resources, math.ceil(job.queue.remaining)) as room:
        job.sweep_run.resources = with_gpus(config.resources)
        check_nodes(config, run_dir.folder)
        callback = SweepCallback(job, tracker, progress)

        def stop() -> None:
            interrupted.append(True)
            callback.stopping = True

        with sigterm_is_ctrl_c(stop):
            try:
                _run_tune(job, callback, factory, Concurrency(job.sweep_run.resources, room, grows))
            finally:
                shutil.rmtree(run_dir.tune, ignore_errors=True)
    if callback.error is not None:
        raise callback.error
    return bool(interrupted)


def _run_tune(job: TuneJob, callback: Any, factory: RunnerFactory, concurrency: Concurrency) -> None:
    from ray import tune

    from sde_ray.sweep.trainable import TrialTrainable
    from sde_ray.sweep.tune_patches import patched_tune
    from sde_ray.sweep.tune_search import StopOnRequest

    resources, folder = job.sweep_run.resources, job.sweep_run.run_dir.folder
    packed = resources.pack != 1
    runner_resources = RunnerResources(
        resources.num_workers,
        resources.resources_per_worker.CPU if packed else bundles(resources)[-1]["CPU"],
        resources.resources_per_worker.gpus,
        resources.checkpoint_interval_s,
    )
    if packed:
        factory = packed_runners(factory, resources)
    with patched_tune(callback.failure_policy, concurrency.max_pending):
        tune.run(
            tune.with_parameters(TrialTrainable, factory=factory, resources=runner_resources),
            name="sweep",
            storage_path=str(job.sweep_run.run_dir.tune),
            search_alg=_searcher(job, concurrency),
            scheduler=_scheduler(job),
            num_samples=-1,  # until the queue has no more
            resources_per_trial=tune.PlacementGroupFactory(bundles(resources), strategy=folder.strategy),
            reuse_actors=True,
            raise_on_failed_trial=False,
            callbacks=[callback],
            stop=StopOnRequest(lambda: callback.stopping),
            verbose=0,
        )


def _searcher(job: TuneJob, concurrency: Concurrency) -> Any:
    """Tune's searcher: the queue, as far as trials may be under way. A trial that races needs its rival's results."""
    from sde_ray.sweep.tune_search import QueueSearcher

    queue, races = job.queue, job.search and bool(job.sweep_run.config.search.racing)
    return QueueSearcher(
        queue.next_trial,
        lambda: queue.blocked,
        lambda trial: trainable_config(job, trial),
        lambda: concurrency.limit(races or queue.depends_on_results),
    )


def trainable_config(job: TuneJob, trial: TrialConfig) -> dict[str, Any]:
    """What the process that runs a trial is told of it; see `TrialTrainable`."""
    sweep_run, folder = job.sweep_run, job.sweep_run.run_dir.folder
    asha = sweep_run.config.search.asha if job.search else None
    rival = ""
    if job.search:
        rival = opponent_key(sweep_run.config, job.queue, sweep_run.results.values(), job.score, trial)
    return {
        "trial": trial,
        "folder": folder.trial(trial.key),
        "metric": sweep_run.metric(trial.task),
        "split": job.split,
        "factor": asha.reduction_factor if asha else 2.0,
        "rival": folder.trial(rival) if rival else "",
    }


def _scheduler(job: TuneJob) -> Any:
    """Tune's scheduler: the search decides at each rung, or ASHA does; None: every trial runs to its end."""
    from sde_ray.sweep.tune_search import CallbackScheduler, GroupedASHAScheduler

    asha = job.sweep_run.config.search.asha
    if isinstance(job.queue, AdaptiveQueue):
        return CallbackScheduler(job.queue.should_continue)
    if asha and job.search:
        earlier = _earlier_rungs(job.sweep_run.plan, job.sweep_run.results, job.score)
        return GroupedASHAScheduler(asha, earlier)
    return None


def _earlier_rungs(
    plan: Plan, results: Mapping[str, TrialResult], score: Score
) -> list[tuple[TrialConfig, list[float]]]:
    """The scores at each rung of trials that an earlier run has ended."""
    earlier = []
    for trial in plan.trials:
        result = results.get(trial.key)
        if result is not None and result.status != "failed":
            rungs = [score(TrialResult(trial.key, result.config, "pruned", rung.scores)) for rung in result.rungs]
            earlier.append((trial, [value for value in rungs if value is not None]))
    return earlier
