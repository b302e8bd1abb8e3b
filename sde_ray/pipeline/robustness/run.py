"""Robustness study, top to bottom: trials over training sizes, then their adapters under other conditions.

    study = prepare(Path("runs/quickstart/strategy.yaml"), sizes=(40, 80, 160))
    study.trials                      what must be trained: fresh seeds, the test split; shared with `sde-ray validate`
    estimate_cost(study)              what of it is missing, and how long it takes
    output = run_study(study, config)  trains, decodes, judges: output.result, and the files that it wrote

Sizes are trained; decoding seeds and wordings need no training, as the adapters of the largest size answer again. A
contender whose design has no instruction cannot be asked in other words, so it is left out there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis.dropped_seeds import dropped_seeds, dropped_sentence
from sde_ray.analysis.paired import Key, ScoreTable, tabulate
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.validation import metric_scale
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.config.load import open_tasks
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import read_items
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.context import Interrupted
from sde_ray.pipeline.robustness.conditions import ITEM_DRAWS, ConditionVerdict, judge_condition, summarize
from sde_ray.pipeline.robustness.decoding import CompletionCache, Condition, Decoding, check_variants, score_completions
from sde_ray.pipeline.robustness.figure import curves
from sde_ray.pipeline.robustness.learning_curve import Saving, savings
from sde_ray.pipeline.validation_trials import validation_trials
from sde_ray.storage.files import write_atomic
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.storage.layout import SWEEP, TRIALS
from sde_ray.storage.remote import fetch_file
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.storage.uri import is_uri
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.types import Design, TrialResult

CONTROLS = ("baseline", "es-sde", "ew-sde", "heuristic")
DECODING_SEEDS = (1, 2, 3, 4, 5)  # PAPER.md 1.15
SPLIT = "test"


@dataclass(frozen=True)
class RobustnessStudy:
    """A planned study. `trials` by contender, over all sizes and seeds; `run_dir`: the sweep's."""

    strategy: Strategy
    config: SweepConfig
    trials: Mapping[str, Sequence[TrialConfig]]
    sizes: tuple[int, ...]
    decoding_seeds: tuple[int, ...]
    wordings: tuple[int, ...]
    run_dir: RunDirectory

    @property
    def folder(self) -> Path:
        return self.run_dir.path

    @property
    def suffix(self) -> str:
        """What ends the names of the tables."""
        return self.run_dir.suffix(self.strategy.task, self.strategy.model)

    @property
    def unique_trials(self) -> list[TrialConfig]:
        """Every trial once."""
        return list({trial.key: trial for trials in self.trials.values() for trial in trials}.values())

    @property
    def designs(self) -> dict[str, Design]:
        return {name: trials[0].design for name, trials in self.trials.items()}

    def largest(self) -> list[tuple[str, TrialConfig]]:
        """The contenders' trials of the largest size."""
        return [
            (name, trial)
            for name, trials in self.trials.items()
            for trial in trials
            if trial.train_size == self.sizes[-1]
        ]


@dataclass(frozen=True)
class RobustnessResult:
    """The verdict on every condition, the samples that are saved, a summary, and the learning curves as SVG."""

    sizes: tuple[ConditionVerdict, ...]
    others: tuple[ConditionVerdict, ...]
    savings: tuple[Saving, ...]
    summary: str
    figure: str

    @property
    def conditions(self) -> tuple[ConditionVerdict, ...]:
        return (*self.sizes, *self.others)

    def rows(self) -> list[dict[str, Any]]:
        """A flat row a condition and contender."""
        return [row for condition in self.conditions for row in condition.to_dict()]

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        verdicts = [
            {"condition": part.condition, "holds": part.holds, "summary": part.summary} for part in self.conditions
        ]
        return {
            "summary": self.summary,
            "verdicts": verdicts,
            "savings": [{**part.to_dict(), "summary": part.summary} for part in self.savings],
            "rows": self.rows(),
        }


def prepare(
    path: str | Path,
    sweep: str | Path | None = None,
    sets: Sequence[str] = (),
    sizes: Sequence[int] = (),
    decoding_seeds: Sequence[int] = DECODING_SEEDS,
    wordings: Sequence[int] | None = None,
) -> RobustnessStudy:
    """Plan the robustness study of a strategy.

    Args:
        path: its strategy.yaml, a path or a URI.
        sweep: its sweep, where the strategy is not in the sweep's folder.
        sets: overrides of the sweep's YAML.
        sizes: training sizes; by default a quarter, a half, the whole and, with enough examples, the double.
        decoding_seeds: of sampled decoding.
        wordings: instruction wordings by their index; by default all.

    Raises:
        UserError: when the strategy is of another task, or a size or a wording does not exist.
    """
    config = open_sweep(sweep or _sweep_of(path), sets)
    strategy = strategies.load(fetch_file(str(path)))
    tasks = open_tasks(config)
    if strategy.task not in tasks:
        raise UserError(
            f'"{path}" is a strategy for the task {strategy.task}, but the sweep "{config.name}" is on '
            f"{', '.join(tasks)}. Give the strategy of this sweep, or its own sweep with --sweep."
        )
    if strategy.model not in config.model:
        raise UserError(
            f'"{path}" is a strategy for the model {strategy.model}, but the sweep "{config.name}" is on '
            f"{', '.join(config.model)}. Give the strategy of this sweep, or its own sweep with --sweep."
        )
    task = tasks[strategy.task]
    chosen_sizes = tuple(sorted(set(sizes))) or _sizes(max(config.train_sizes), len(task.load("train")))
    available = len(task.load("train"))
    if chosen_sizes[0] < 1 or chosen_sizes[-1] > available:
        raise UserError(
            f"--sizes {list(chosen_sizes)}: {task.name} has {available} training examples. Choose of 1 to that."
        )
    chosen_wordings = tuple(range(len(task.instructions))) if wordings is None else tuple(wordings)
    check_variants(task, chosen_wordings)
    final = config.validation.model_copy(update={"train_sizes": chosen_sizes, "controls": CONTROLS})
    run_dir = config.run_dir
    config = config.model_copy(update={"validation": final, "model": (strategy.model,)})
    results = tuple(config.run_dir.results().values())
    trials = validation_trials(strategy, config, results)
    return RobustnessStudy(strategy, config, trials, chosen_sizes, tuple(decoding_seeds), chosen_wordings, run_dir)


def _sweep_of(path: str | Path) -> str | Path:
    if is_uri(path):
        return str(path).rpartition("/")[0]
    path = Path(path)
    if not (path.parent / SWEEP).is_file():
        raise UserError(f'"{path}" does not lie in the folder of a sweep. Name its sweep with --sweep SWEEP.yaml.')
    return path.parent


def _sizes(largest: int, available: int) -> tuple[int, ...]:
    """A quarter, a half, the whole and, where there are so many examples, the double of the sweep's size."""
    sizes = {max(1, largest // 4), max(1, largest // 2), largest}
    return tuple(sorted(sizes | ({2 * largest} if 2 * largest <= available else set())))


@dataclass(frozen=True)
class RobustnessCost:
    """What of a study is missing. `seconds`: for training, None until a trial has ended."""

    trials: int
    missing_trials: int
    seconds: float | None
    missing_decodings: int


def estimate_cost(study: RobustnessStudy) -> RobustnessCost:
    """Estimate what `run_study` would do, from the run's ledger and from what is decoded already."""
    results = study.config.run_dir.results()
    missing = [
        trial
        for trial in study.unique_trials
        if results.get(trial.key) is None or results[trial.key].status != "finished"
    ]
    seconds = [result.seconds["total"] for result in results.values() if "total" in result.seconds]
    return RobustnessCost(
        trials=len(study.unique_trials),
        missing_trials=len(missing),
        seconds=sum(seconds) / len(seconds) * len(missing) if seconds else None,
        missing_decodings=len(completion_cache(study).missing(decodings(study))),
    )


@dataclass(frozen=True)
class RobustnessOutput:
    """The result of a study, and the files that hold it."""

    result: RobustnessResult
    paths: tuple[Path, ...]


def run_study(
    study: RobustnessStudy,
    config: SweepConfig,
    progress: Progress | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> RobustnessOutput:
    """Train what the ledger lacks, decode, judge, save, and log to MLflow. The same call resumes.

    Args:
        study: from `prepare`.
        config: the sweep's, as it ran: that is what its run in MLflow shows.
        progress: shows the trials.
        on_progress: called with (done, total) after each decoding.

    Raises:
        Interrupted: when Ctrl-C or SIGTERM stops the training; the message says what is saved.
    """
    from sde_ray.sweep.run import run_trials

    sweep_run = SweepRun(config)
    with pipeline.tracked(sweep_run, "robustness") as tracker:
        ended = run_trials(sweep_run, study.unique_trials, None, tracker, progress)
        if ended.interrupted:
            raise Interrupted(ended.message)
        result = conclude(study, {one.key: one for one in ended.results}, on_progress)
        paths = save(study, result)
        tracker.log_table(f"robustness{study.suffix}", result.rows())
        tracker.log_files(paths)
    page = pipeline.refresh_report(config)
    return RobustnessOutput(result, (*paths, *([page] if page else [])))


def completion_cache(study: RobustnessStudy) -> CompletionCache:
    """What a study has decoded already."""
    return CompletionCache(JsonlCache(study.run_dir.robustness_cache))


def decodings(study: RobustnessStudy) -> list[Decoding]:
    """The decodings beyond the trials' own evaluation, with the folders of the adapters."""
    conditions = [Condition(sampling_seed=seed) for seed in study.decoding_seeds]
    conditions += [Condition(instruction_variant=wording) for wording in study.wordings]
    largest = {trial.key: trial for _, trial in study.largest()}
    return [
        (trial, study.run_dir.trial(trial.key), condition)
        for trial in largest.values()
        for condition in conditions
        if condition.instruction_variant is None
        or (condition.instruction_variant != trial.instruction_variant and trial.design["instruction"] != "none")
    ]


def conclude(
    study: RobustnessStudy,
    results: Mapping[str, TrialResult],
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> RobustnessResult:
    """Paired comparisons on every condition. `results` by trial key; trials that are missing are left out."""
    finished = {key: result for key, result in results.items() if result.status == "finished"}
    tables = _trained_tables(study, finished)
    curve = tuple(judge_condition(f"{size} samples", tables[(size,)]) for size in study.sizes)
    metric = study.strategy.objective
    others = tuple(_other_conditions(study, finished, metric, on_progress))
    saved = tuple(savings(tables[study.sizes], study.sizes))
    conditions = (*curve, *others)
    dropped = dropped_sentence(dropped_seeds(study.trials, results, metric, SPLIT))
    summary = " ".join(part for part in (summarize(conditions), dropped) if part)
    return RobustnessResult(curve, others, saved, summary, curves(study.sizes, curve, metric))


def _trained_tables(study: RobustnessStudy, finished: Mapping[str, TrialResult]) -> dict[tuple[int, ...], ScoreTable]:
    """The scores of the trials' own evaluation, by training sizes: of each size alone, and of all together.

    A trial that failed at one size is missing at that size alone, and in the table of all sizes.
    """
    values: dict[Key, float] = {}
    items: dict[Key, Any] = {}
    metric = study.strategy.objective
    for name, trials in study.trials.items():
        for trial in trials:
            scores = finished[trial.key].scores.get(SPLIT, {}) if trial.key in finished else {}
            if metric in scores:
                key = (name, trial.seed, trial.train_size)
                values[key] = scores[metric]
                counts = read_items(finished[trial.key], study.run_dir.trial(trial.key), SPLIT, metric)
                if counts is not None:
                    items[key] = counts
    chosen = {study.sizes, *((size,) for size in study.sizes)}
    return {sizes: _tabulate(study, values, items, sizes) for sizes in chosen}


def _tabulate(
    study: RobustnessStudy, values: Mapping[Key, float], items: Mapping[Key, Any], variants: Sequence[Any] | None
) -> ScoreTable:
    scale = metric_scale(study.strategy.objective)
    return tabulate(values, items, study.designs, ASSEMBLED, ITEM_DRAWS, variants, scale)


def _other_conditions(
    study: RobustnessStudy, finished: Mapping[str, TrialResult], metric: str, on_progress: Callable[[int, int], None]
) -> list[ConditionVerdict]:
    """The adapters of the largest size under sampled decoding and with other instruction wordings."""
    cache, store = completion_cache(study), study.run_dir.folder
    store.mark_dirty(study.run_dir.robustness_cache)
    todo_decodings = [decoding for decoding in decodings(study) if decoding[0].key in finished]
    for trial, _, _ in cache.missing(todo_decodings):
        store.download(f"{TRIALS}/{trial.key}")
    cache.fill(todo_decodings, study.config.resources, on_progress)
    scored = {
        (trial.key, condition): score_completions(trial, cache.completions(trial, condition), metric)
        for trial, _, condition in todo_decodings
    }
    sampled = [Condition(sampling_seed=seed) for seed in study.decoding_seeds]
    conditions = [judge_condition("sampled decoding", _decoded_table(study, scored, sampled))] if sampled else []
    trained = study.config.instruction_variant
    for wording in study.wordings:
        if wording != trained:
            table = _decoded_table(study, scored, [Condition(instruction_variant=wording)])
            conditions.append(judge_condition(f"trained on wording {trained}, asked in wording {wording}", table))
    return conditions


def _decoded_table(
    study: RobustnessStudy, scored: Mapping[tuple[str, Condition], tuple[float, Any]], variants: Sequence[Condition]
) -> ScoreTable:
    values: dict[Key, float] = {}
    items: dict[Key, Any] = {}
    for name, trial in study.largest():
        for condition in variants:
            if (trial.key, condition) in scored:
                key = (name, trial.seed, condition)
                values[key], items[key] = scored[trial.key, condition]
    return _tabulate(study, values, items, None)


def save(study: RobustnessStudy, result: RobustnessResult) -> list[Path]:
    """Write robustness.json and, where there is a curve, robustness.svg; each whole or not at all."""
    path = study.run_dir.robustness(study.strategy.task, study.strategy.model)
    texts = {path: json.dumps(result.to_dict(), ensure_ascii=False, indent=1) + "\n"}
    texts |= {path.with_suffix(".svg"): result.figure} if result.figure else {}
    for path, text in texts.items():
        write_atomic(path, text)
    paths = list(texts)
    study.run_dir.folder.upload(*paths, study.run_dir.robustness_cache)
    return paths
