"""A sweep: the plan's trials through Ray Tune on warm workers, each result in the ledger as it ends.

    outcome = run_sweep(load_config("sweeps/quickstart.yaml"))
    outcome.results                      # every trial of the plan that the ledger has, from earlier runs too

Finished = the ledger has it: the same command again runs only what is missing, and failed trials once more. A trial
that was on its way goes on from its last rung (`checkpoint.py`).
"""

from __future__ import annotations

import math
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.config.load import SweepConfig, open_tasks, write_sweep
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.storage.layout import LEDGER, TRIALS
from sde_ray.storage.lease import lease
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.adaptive_queue import Asked, make_trial_queue
from sde_ray.sweep.cluster.preflight import check_nodes
from sde_ray.sweep.cluster.ray_session import bundles, ray_session
from sde_ray.sweep.plan import Plan, plan
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.queue import Score, TrialQueue
from sde_ray.sweep.resume import cost, known, refuse_foreign
from sde_ray.training.checkpoint import in_flight
from sde_ray.training.runner import RunnerFactory, RunnerResources
from sde_ray.types import TrialResult


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep has brought. `interrupted`: the user stopped it; the exit code is then 130."""

    results: tuple[TrialResult, ...]
    plan: Plan
    folder: Path
    interrupted: bool = False

    @property
    def message(self) -> str:
        """For an interrupted sweep: what is saved, and how to go on."""
        ended = sum(cost(self.plan.config, result) for result in self.results if result.status != "failed")
        return (
            f"Stopped. {ended:g} of {self.plan.count} trials are saved in {self.plan.config.run_dir.uri(LEDGER)}. "
            "Run the same command again to go on."
        )


def run_sweep(
    config: SweepConfig,
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run what the ledger lacks. `UserError` where nothing can run or every trial failed."""
    folder, store = config.run_dir.path.absolute(), config.run_dir.folder
    config.run_dir.refresh()
    results = Ledger(folder / LEDGER).results()
    made = plan(config, results)
    refuse_foreign(config, results)
    if runner_factory is None:
        from sde_ray.sweep.tokenizer_check import drop_unencodable

        made = drop_unencodable(made)
    with lease(folder, remote=store.remote):  # not under a driver that is at work
        write_sweep(config)
        store.push(*config.run_dir.config_files)
    return run_plan(config, made, runner_factory, tracker, progress)


def run_plan(
    config: SweepConfig,
    made: Plan,
    runner_factory: RunnerFactory | None = None,
    tracker: Any = None,
    progress: Progress | None = None,
) -> SweepOutcome:
    """Run what the ledger lacks of a plan made elsewhere, such as that of a final comparison."""
    folder, store = config.run_dir.path.absolute(), config.run_dir.folder
    with lease(folder, remote=store.remote) as held, store.driven(held.check) as ledger:
        earlier = ledger.results()
        score = scorer(config)
        agenda = make_trial_queue(made, score, earlier, in_flight(folder / TRIALS, made.trials, earlier))
        interrupted = False
        if agenda.left:
            progress = progress or Progress()
            before = [(result, score(result)) for result in agenda.earlier]
            progress.begin(made.count, before, lambda result: cost(config, result), len(agenda.in_flight))
            try:
                interrupted = _tune(config, made, agenda, ledger, runner_factory, tracker, progress)
            finally:
                progress.finish()
        results = ledger.results()
    own = tuple(known(made.trials, results).values())
    if not interrupted:
        _refuse_worthless(config, own, score)
    return SweepOutcome(own, made, folder, interrupted)


def _refuse_worthless(config: SweepConfig, results: Sequence[TrialResult], score: Score) -> None:
    """`UserError` where nothing can be learnt from what has ended."""
    if results and all(result.status == "failed" for result in results):
        raise UserError(f"All {len(results)} trials failed. The first error: {results[0].error}")
    ended = [result for result in results if result.status != "failed"]
    if ended and all(score(result) is None for result in ended):
        metrics = sorted({config.objective.metric or task.objective for task in open_tasks(config).values()})
        raise UserError(
            f"None of the {len(ended)} trials has a finite {' or '.join(metrics)} on {config.objective.split}, so none "
            "can be chosen. Lower train.learning_rate, set train.dtype: float32, or set another objective.metric."
        )


def scorer(config: SweepConfig) -> Score:
    """The objective's value in a result; None where it has none, or none that is a finite number."""
    metrics = {name: config.objective.metric or task.objective for name, task in open_tasks(config).items()}
    split = config.objective.split

    def score(result: TrialResult) -> float | None:
        value = result.scores.get(split, {}).get(metrics[str(result.config["task"])])
        return value if value is not None and math.isfinite(value) else None

    return score


def _tune(
    config: SweepConfig,
    made: Plan,
    agenda: TrialQueue,
    ledger: Ledger,
    factory: RunnerFactory | None,
    tracker: Any,
    progress: Progress,
) -> bool:
    """Let Ray Tune run the agenda; True if the user stopped it."""
    from sde_ray.sweep.callback import SweepCallback

    if factory is None:
        from sde_ray.training.trial_runner import make_runner

        factory = make_runner
    store = config.run_dir.folder
    with ray_session(config.resources) as at_once:
        check_nodes(config, store)
        recorder = SweepCallback(ledger, agenda, scorer(config), tracker, progress)
        with _interruptible(recorder) as interruption:
            try:
                _run_tune(config, made, agenda, recorder, factory, store, at_once)
            finally:
                shutil.rmtree(config.run_dir.tune, ignore_errors=True)
    if recorder.fault is not None:
        raise recorder.fault
    return interruption.is_set()


def _run_tune(
    config: SweepConfig,
    made: Plan,
    agenda: TrialQueue,
    recorder: Any,
    factory: RunnerFactory,
    store: LocalFolder,
    at_once: int,
) -> None:
    from ray import tune

    from sde_ray.sweep.trainable import TrialTrainable
    from sde_ray.sweep.tune_patches import patch_tune_oom_errors
    from sde_ray.sweep.tune_search import CallbackScheduler, GroupedASHAScheduler, QueueSearcher, StopOnRequest

    patch_tune_oom_errors()
    resources, asha = config.resources, config.search.asha
    place = RunnerResources(resources.num_workers, bundles(resources)[-1]["CPU"], resources.resources_per_worker.GPU)
    metrics = {name: config.objective.metric or task.objective for name, task in open_tasks(config).items()}

    def describe(trial: TrialConfig) -> dict[str, Any]:
        return {
            "trial": trial,
            "folder": store.trial(trial.key),
            "metric": metrics[trial.task],
            "split": config.objective.split,
            "factor": asha.reduction_factor if asha else 2.0,
            "rival": store.trial(rival) if (rival := _rival(config, agenda, recorder, trial)) else "",
        }

    scheduler: Any = None
    if isinstance(agenda, Asked):
        scheduler = CallbackScheduler(agenda.go_on)
    elif asha:
        scheduler = GroupedASHAScheduler(asha, _earlier_rungs(made, recorder.ledger, recorder.score))
    tune.run(
        tune.with_parameters(TrialTrainable, factory=factory, place=place),
        name="sweep",
        storage_path=str(config.run_dir.tune),
        search_alg=QueueSearcher(agenda.next, lambda: agenda.waiting, describe),
        scheduler=scheduler,
        num_samples=-1,  # until the agenda has no more
        max_concurrent_trials=_limit(config, at_once),
        resources_per_trial=tune.PlacementGroupFactory(bundles(resources), strategy=store.strategy),
        reuse_actors=True,
        max_failures=1,  # a process that dies is started once more
        raise_on_failed_trial=False,
        callbacks=[recorder],
        stop=StopOnRequest(lambda: recorder.stopping),
        verbose=0,
    )


def _rival(config: SweepConfig, agenda: TrialQueue, recorder: Any, trial: TrialConfig) -> str:
    """The key of the trial that this one races, or "". One on its way goes on against whom it has raced before."""
    if trial.key in agenda.in_flight:
        return agenda.in_flight[trial.key].rival
    leader = _leader(config, recorder, trial)
    return leader.key if leader else ""


def _leader(config: SweepConfig, recorder: Any, trial: TrialConfig) -> TrialResult | None:
    """Whom a trial races: the best of its kind so far, one that came furthest first. None where there is no race."""
    if not config.search.racing or config.objective.split != "dev":
        return None
    peers = [
        result for result in recorder.known.values() if _alike(result, trial) and not result.rungs[-1].stopped_early
    ]
    scored = [(len(peer.rungs), recorder.score(peer), peer) for peer in peers]
    ranked = [(rungs, score, peer.key, peer) for rungs, score, peer in scored if score is not None]
    return max(ranked)[-1] if ranked else None


def _alike(result: TrialResult, trial: TrialConfig) -> bool:
    own = trial.resolved()
    return bool(result.rungs) and all(result.config[name] == own[name] for name in ("task", "model", "train_size"))


def _limit(config: SweepConfig, at_once: int) -> int | None:
    wanted = config.resources.max_concurrent_trials
    return wanted if wanted is not None and wanted < at_once else None


def _earlier_rungs(made: Plan, ledger: Ledger, score: Score) -> list[tuple[TrialConfig, list[float]]]:
    results, earlier = ledger.results(), []
    for trial in made.trials:
        result = results.get(trial.key)
        if result is not None and result.status != "failed":
            rungs = [score(TrialResult(trial.key, result.config, "pruned", rung.scores)) for rung in result.rungs]
            earlier.append((trial, [value for value in rungs if value is not None]))
    return earlier


@contextmanager
def _interruptible(recorder: Any) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the sweep in order; the second one at once."""
    interrupted = threading.Event()

    def stop(number: int, frame: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        recorder.stopping = True

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
