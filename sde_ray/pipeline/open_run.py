"""A run as a notebook sees it: its trials, effects and predictions as pandas frames, its strategy, its verdict.

    run = open_run("runs/quickstart")         or a sweep's YAML file, or an address: "s3://bucket/runs/quickstart"
    run.effects()                             one row an option, with its interval and what may be said of it
    run.strategy.design                       the assembled design
    run.predict(["Great food, slow service."])

The commands of `sde-ray` read a run through the same functions (`analysis/study.py`, `pipeline/run.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sde_ray.analysis import frames, study
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict, verdict_table
from sde_ray.config.load import load_config
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.design.designs import paper_label
from sde_ray.errors import UserError, unknown
from sde_ray.models.predictor import Predictor, prediction_rows
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.context import Interrupted, PipelineContext, StudyConclusion
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.pipeline.preview import SamplePreview, preview
from sde_ray.sweep.phase import write_phase
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.base import Tracker
from sde_ray.training.runner import RunnerFactory
from sde_ray.types import TrialResult

if TYPE_CHECKING:
    import pandas as pd

Contest = tuple[str, str]  # task and model: what a strategy is assembled for
Value = TypeVar("Value")


def open_run(path: str | Path, sets: Sequence[str] = ()) -> Run:
    """Open a run that has begun or ended; nothing is trained.

    Args:
        path: the folder of a run, its address in a store ("s3://bucket/runs/quickstart"), or the YAML file of a sweep.
            A run's folder may have been moved or copied.
        sets: overrides of the configuration, as `--set` takes them: "eval_size=60".

    Returns:
        The run, with what its ledger has at this moment; `refresh` reads it again.

    Raises:
        UserError: where `path` is no run and no sweep, or its configuration has faults.
    """
    return Run(open_sweep(path, sets))


def run(
    sweep: SweepConfig | str | Path,
    sets: Sequence[str] = (),
    validate: bool = True,
    listener: PipelineListener | None = None,
    runner_factory: RunnerFactory | None = None,
) -> Run:
    """Run a sweep from its plan to the verdict, as `sde-ray run` does; what has finished is not trained again.

    Args:
        sweep: the YAML file of a sweep, or a configuration from `load_config`.
        sets: overrides of the YAML file, as `--set` takes them: "eval_size=60".
        validate: whether the assembled design meets its controls on fresh seeds and test items.
        listener: its methods are called as each step ends; by default only the progress of trials is shown, on stderr.
        runner_factory: trains the trials in place of the package's own engine (`sde_ray.training.runner.Runner`).

    Returns:
        The run, as `open_run` gives it.

    Raises:
        UserError: where the configuration has faults, or nothing can be trained or compared.
        KeyboardInterrupt: where Ctrl-C or SIGTERM has stopped it; the message says what is saved. The same call
            resumes.
    """
    if isinstance(sweep, SweepConfig) and sets:
        raise UserError("`sets` override a YAML file; a configuration is what it is: load_config(path, sets).")
    config = sweep if isinstance(sweep, SweepConfig) else load_config(sweep, sets)
    result = pipeline.run(config, listener or PipelineListener(), validate, runner_factory)
    if result.interrupted:
        raise KeyboardInterrupt(result.interrupted)
    return Run(config)


class Run:
    """A run's folder, read: frames of what was tried, and what it came to.

    A sweep over several tasks, models or training sizes has several *studies*; task, model and train_size are columns
    of every frame. What exists once for each task and model (`strategies`, `verdicts`) is a mapping by (task, model);
    `strategy` and `verdict` are for runs with one of each.

    Attributes:
        config: the configuration of the sweep.
        path: its folder on this machine; for a run in a store, the mirror of it.
    """

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        self._predictors: dict[tuple[Contest, bool], Predictor] = {}

    @property
    def path(self) -> Path:
        return self.config.run_dir.path

    # ---- what was tried ----------------------------------------------------------------------------------------------

    @cached_property
    def results(self) -> tuple[TrialResult, ...]:
        """The result of every trial that the ledger has; empty before the first one has ended."""
        return tuple(self.config.run_dir.results().values())

    @cached_property
    def studies(self) -> tuple[Study, ...]:
        """The search's trials by task, model and training size, with all that is computed of them.

        Raises UserError where no trial has ended.
        """
        return tuple(study.studies(self.config, self.results or self.config.run_dir.existing_results()))

    def refresh(self) -> Run:
        """Read the run's folder again, for trials that have ended since; returns the run."""
        self.config.run_dir.refresh()
        for name in ("results", "studies", "conclusions"):
            self.__dict__.pop(name, None)
        self._predictors.clear()
        return self

    def trials(self, by_slot: bool = False) -> pd.DataFrame:
        """One row a trial, those of the final comparison included; see `frames.trials_frame` for its columns.

        `by_slot`: metrics also for each slot.
        """
        return frames.trials_frame(self.results, by_slot)

    def leaderboard(self) -> pd.DataFrame:
        """One row a design of each study, best first; see `frames.leaderboard_frame` for its columns.

        Raises UserError where no trial has ended.
        """
        return frames.leaderboard_frame(self.studies)

    def effects(self) -> pd.DataFrame:
        """One row an option: what it does to the score; see `frames.effects_frame` for its columns.

        Raises UserError where no trial has ended.
        """
        return frames.effects_frame(self.studies)

    def interactions(self) -> pd.DataFrame:
        """One row a pair of options that do more, or less, together than apart; see `frames.interactions_frame`.

        Raises UserError where no trial has ended.
        """
        return frames.interactions_frame(self.studies)

    def predictions(self, split: str = "", trial: str = "") -> pd.DataFrame:
        """One row a kept completion; see `frames.predictions_frame` for its columns.

        Args:
            split: "dev", "dev_ood", "test" or "test_ood"; all of them by default.
            trial: the key of one trial; all of them by default.

        Raises:
            UserError: where the ledger has no such trial, or its trials no such split.
        """
        by_key = {result.key: result for result in self.results}
        if trial and trial not in by_key:
            raise UserError(f'"{trial}" is no trial of {self.path}. Their keys: run.trials()["key"].')
        splits = dict.fromkeys(name for result in self.results for name in result.scores)
        if split and splits and split not in splits:
            raise UserError(unknown("split of these trials", split, splits))
        chosen = [by_key[trial]] if trial else self.results
        return frames.predictions_frame(chosen, self.config.run_dir.trials, split)

    def samples(self, n: int = 3) -> list[SamplePreview]:
        """A training example as the first `n` designs of the sweep write it; see `preview`."""
        return preview(self.config, n=n)

    # ---- what it came to ---------------------------------------------------------------------------------------------

    @cached_property
    def conclusions(self) -> Mapping[Contest, StudyConclusion]:
        """What was assembled, and judged, by (task, model); empty before the sweep has ended."""
        if not self.results:
            return {}
        conclusions = pipeline.load_conclusions(self.config, self.studies)
        return {(each.strategy.task, each.strategy.model): each for each in conclusions}

    @property
    def strategies(self) -> Mapping[Contest, Strategy]:
        """The assembled design with its evidence, by (task, model)."""
        return {contest: conclusion.strategy for contest, conclusion in self.conclusions.items()}

    @property
    def verdicts(self) -> Mapping[Contest, Verdict]:
        """What the final comparison shows, by (task, model); without those that were not validated."""
        return {contest: each.verdict for contest, each in self.conclusions.items() if each.verdict is not None}

    @property
    def strategy(self) -> Strategy | None:
        """The assembled design with its evidence; None before it is assembled.

        Raises UserError where there are several: see `strategies`.
        """
        return self._only(self.strategies, "strategies")

    @property
    def verdict(self) -> Verdict | None:
        """What the final comparison shows (`.action`, `.summary`, `.recommended`, `.rows`); None before it has ended.

        Raises UserError where there are several: see `verdicts`.
        """
        return self._only(self.verdicts, "verdicts")

    def validation(self) -> pd.DataFrame:
        """One row a comparison of the assembled design with a control.

        Returns:
            task, model, control, split, train_size (None: all sizes together), assembled and score (the mean scores of
            both), seeds, items, claim, the paired difference with its interval and p-value, design and label of the
            control. Empty before the final comparison has ended.
        """
        import pandas as pd

        rows = [
            {"task": task, "model": model, **row}
            for (task, model), verdict in self.verdicts.items()
            for row in verdict_table(verdict)
        ]
        return pd.DataFrame(rows, columns=None if rows else ["task", "model", "control", "split", "claim"])

    @property
    def report_path(self) -> Path | None:
        """The page that tells all of it; None before it is written."""
        path = self.config.run_dir.report
        return path if path.is_file() else None

    def predict(
        self, texts: Sequence[str], task: str = "", model: str = "", trust_remote_code: bool = False
    ) -> pd.DataFrame:
        """Answer texts with the recommended adapter, in its own design. The base model is loaded once.

        Args:
            texts: what to answer.
            task, model: of which adapter, where the run has several.
            trust_remote_code: whether the base model may run code of its own.

        Returns:
            One row a text: text, answer ({slot: [value, ...]}), completion, faults ([kind, ...]).

        Raises:
            UserError: where the run has no adapter (it was not validated), or several and none is named.
        """
        import pandas as pd

        texts = [texts] if isinstance(texts, str) else list(texts)
        predictor = self._predictor(self._contest(task, model), trust_remote_code)
        return pd.DataFrame(
            prediction_rows(texts, predictor.answer(texts)), columns=["text", "answer", "completion", "faults"]
        )

    def _predictor(self, contest: Contest, trust_remote_code: bool) -> Predictor:
        name = contest, trust_remote_code
        if name not in self._predictors:
            run_dir = self.config.run_dir
            adapter = run_dir.uri(run_dir.adapter(*contest).name)
            self._predictors[name] = Predictor.load(adapter, trust_remote_code)
        return self._predictors[name]

    def _contest(self, task: str, model: str) -> Contest:
        """The one task and model that are meant."""
        contests = list(dict.fromkeys((each.group.task, each.group.model) for each in self.studies))
        chosen = [pair for pair in contests if task in ("", pair[0]) and model in ("", pair[1])]
        if len(chosen) != 1:
            names = "; ".join(f"task={task!r}, model={model!r}" for task, model in contests)
            raise UserError(f"{'Several adapters fit' if chosen else 'No adapter fits'}. Name one of: {names}.")
        return chosen[0]

    def _only(self, values: Mapping[Contest, Value], name: str) -> Value | None:
        if len(values) > 1:
            keys = ", ".join(f"run.{name}[{key!r}]" for key in values)
            raise UserError(f"This run has {len(values)} {name}, one for each task and model: {keys}.")
        return next(iter(values.values()), None)

    # ---- the steps after the sweep, again -------------------------------------------------------------------------

    def assemble(
        self,
        min_format_adherence: float | None = None,
        max_output_tokens: float | None = None,
        listener: PipelineListener | None = None,
        out: Path | None = None,
        force: bool = False,
    ) -> list[StudyConclusion]:
        """Assemble the best combination that the evidence carries, and save it: one strategy for each task and model.

        Args:
            min_format_adherence: least share of completions without a fault; that of the configuration by default.
            max_output_tokens: most output tokens of a completion, in the mean; that of the configuration by default.
            listener: its `on_strategy` is called with each.
            out: a file to write in place of the run's own strategy.
            force: write another design over one that was validated.

        Raises:
            UserError: where no trial has ended, no design meets the constraints, a validated strategy of another design
                is there, or `out` is one file for several strategies.
        """
        context = PipelineContext(SweepRun(self.config), listener or PipelineListener(), Tracker())
        constraints = pipeline.constraints_of(self.config, min_format_adherence, max_output_tokens)
        self.__dict__.pop("conclusions", None)
        chosen = pipeline.largest_studies(self.studies)
        if out is not None and len(chosen) > 1:
            raise UserError(f"--out is one file, and this run has {len(chosen)} strategies: leave it out.")
        return [pipeline.assemble(context, each, constraints, out, not force) for each in chosen]

    def validate(self, listener: PipelineListener | None = None) -> list[StudyConclusion]:
        """Train the assembled design and its controls on fresh seeds, compare them on test items, write the report.

        Trials of it that have finished are not trained again.

        Raises:
            UserError: where no trial has ended, or the configuration has no fresh seed.
            KeyboardInterrupt: where Ctrl-C or SIGTERM has stopped it; the message says what is saved.
        """
        studies, sweep_run = self.studies, SweepRun(self.config)
        try:
            with pipeline.tracked(sweep_run) as tracker:
                context = PipelineContext(sweep_run, listener or PipelineListener(), tracker)
                assembled = [pipeline.assemble(context, each) for each in pipeline.largest_studies(studies)]
                conclusions = [pipeline.validate(context, each) for each in assembled]
                pipeline.report(context, studies, conclusions)
                write_phase(self.config.run_dir, "finished")
        except Interrupted as stopped:
            raise KeyboardInterrupt(str(stopped)) from None
        self.refresh()
        return conclusions

    def report(self, listener: PipelineListener | None = None) -> Path:
        """Write the report again from what the run has kept; nothing is trained.

        Raises UserError where no trial has ended.
        """
        context = PipelineContext(SweepRun(self.config), listener or PipelineListener(), Tracker())
        return pipeline.report(context, self.studies, list(self.conclusions.values()))

    # ---- in a notebook -----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        counts = [f"{n} {status}" for status in ("finished", "pruned", "failed") if (n := self._count(status))]
        return f"Run({self.config.run_dir.uri()}: {', '.join(counts) or 'no trial has ended'})"

    def _count(self, status: str) -> int:
        return sum(result.status == status for result in self.results)

    def _repr_html_(self) -> str:
        from html import escape

        lines = [f"<b>{escape(self.config.name)}</b> {escape(repr(self))}"]
        for (task, model), strategy in self.strategies.items():
            summary = strategy.verdict or "Not validated."
            lines.append(
                f"{escape(task)}, {escape(model)}: <b>{escape(paper_label(strategy.design))}</b>. {escape(summary)}"
            )
        return "<br>".join(lines)
