"""Trial runner: one trial, start to end.

    examples ─render─▶ samples ─train─▶ adapter ─generate─▶ completions ─parse─▶ scores

    runner = make_runner(RunnerResources())
    runner.start(config, folder); runner.train_rung(0); result = runner.finish()

What ran is on disk before it runs: `config.json`, then the raw completions (`predictions.jsonl`), then `scores.json`.
The runner renders, parses and scores in the calling process; the workers only see samples and prompts. So one warm
group of workers runs any trial, whatever its task or design.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

from sde_ray import data, metrics
from sde_ray.config.trial import TrialConfig
from sde_ray.design.answer_end import AnswerEnd
from sde_ray.design.asking import ask_in
from sde_ray.errors import UserError
from sde_ray.evaluation.batch_retries import ask_again, parse_answers
from sde_ray.evaluation.general_set import forgetting, open_general_set
from sde_ray.evaluation.predictions import Prediction, write_predictions
from sde_ray.evaluation.racing import Opponent, slices
from sde_ray.models.predictor import write_card
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import ADAPTER, CONFIG, PREDICTIONS, SCORES, predictions_name
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.training import checkpoint
from sde_ray.training.checkpoint import CheckpointError
from sde_ray.training.curation import methods_of
from sde_ray.training.evaluated_items import Answered, Evaluation, ask, evaluations
from sde_ray.training.preparation import Preparation
from sde_ray.training.runner import ResumeState, Runner, RunnerResources, WorkerDiedError
from sde_ray.training.seat_group import SeatGroup
from sde_ray.training.trial_state import PART_S, TrialState
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example, RungResult, Scores, Status, TrialResult

SHARE_BEFORE_DECODING = 0.1  # of the interval between checkpoints, after which the trial is saved before it decodes


def make_runner(resources: RunnerResources, packs: Any = None) -> Runner:
    """A runner whose workers are Ray actors if Ray is running or several are needed, else in this process.

    `packs`: the actor that gives a trial a seat in a process that it shares with others (`sweep.cluster.packs`).
    """
    import ray

    if packs is not None:
        return TrialRunner(SeatGroup(resources, packs))
    if resources.num_workers > 1 and not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    return TrialRunner(WorkerGroup(resources, in_process=not ray.is_initialized()))


class TrialRunner:
    """Runs one trial at a time on a worker group that outlives it (see `Runner`)."""

    def __init__(self, workers: WorkerGroup) -> None:
        self.workers = workers
        self._trial: TrialState | None = None

    def start(self, config: TrialConfig, folder: Path) -> ResumeState:
        self._trial = trial = TrialState(config, folder)
        if config.num_workers != self.workers.resources.num_workers:
            raise UserError(
                f"The trial wants {config.num_workers} workers, its runner has {self.workers.resources.num_workers}. "
                "Set resources.num_workers."
            )
        _write_json(folder / CONFIG, {"key": config.key, **config.resolved()})
        started = time.perf_counter()
        task = trial_task(config.task, config.definition)
        train = trial_examples(config.task, "train", config.definition)
        examples = data.draw(train, config.train_size, config.seed)
        trial.asking = ask_in(task, config.design, examples, config.instruction_variant)
        samples = [sample for example in examples for sample in trial.asking.samples(example)]
        if not samples:
            raise UserError("negatives: none of the trial's samples has an answer. Keep a share of those without one.")
        trial.add_seconds("write", started)
        curated = self._curate(trial, examples)
        trial.info = self.workers.call("start_trial", config, *(curated or [samples]))[0]
        trial.seconds |= trial.info.seconds
        trial.tokens |= trial.info.tokens
        trial.environment |= trial.info.environment
        resumed = self._resume(trial)
        trial.log.start(trial.steps_since(0))
        trial.add_seconds("setup", started)
        return resumed

    def _curate(self, trial: TrialState, drawn: list[Example]) -> list[Any]:
        """The samples of a trial with data or training axes, with what else its workers need; empty for a plain one."""
        methods = methods_of(trial.config)
        if not methods:
            return []
        started = time.perf_counter()
        preparation = Preparation(trial.config, trial.folder, self.workers, drawn, methods)
        samples = preparation.run()
        trial.curation |= preparation.counts
        trial.add_seconds("curate", started)
        return [samples, preparation.render(drawn), {method.axis: method.prepared for method in methods}]

    def _resume(self, trial: TrialState) -> ResumeState:
        """Resume from the checkpoint of this very trial, if its folder has a usable one."""
        try:
            saved = checkpoint.read(trial.folder, trial.config.key)
            if saved is None:
                return ResumeState()
            files = [(trial.folder / name, digest) for name, digest in saved.worker_files.items()]
            if len(files) != self.workers.resources.num_workers:
                raise CheckpointError(
                    f"{len(files)} workers have left it, here are {self.workers.resources.num_workers}"
                )
            for reason in filter(None, self.workers.map("load_state", files)):
                raise CheckpointError(reason)
        except CheckpointError as error:
            checkpoint.remove(trial.folder)
            return ResumeState(note=f"The trial starts from its beginning, not from its checkpoint: {error}.")
        self.workers.call("restore_state")
        trial.resume_from(saved)
        return ResumeState(saved.rungs, saved.promoted_rungs)

    def train_rung(
        self, index: int, rival: Opponent | None = None, on_checkpoint: Callable[[], None] | None = None
    ) -> RungResult:
        trial = self._running()
        config = trial.config
        if trial.checkpoint and not trial.checkpoint.promoted:
            trial.checkpoint = checkpoint.write(trial.folder, replace(trial.checkpoint, promoted=True))
        until = max(1, round(config.rungs[index] * trial.info.steps))
        for due in self._train_in_parts(until):
            if due and self._save_checkpoint(rival, within_rung=True) and on_checkpoint:
                on_checkpoint()
            if trial.must_leave and trial.is_saved:
                raise WorkerDiedError("The trial leaves a node that will be taken away.", preempted=True)
        last = index + 1 == len(config.rungs)
        scores, stopped_early = self._score(predictions_name(None if last else index), rival)
        done = RungResult(index, min(until * config.train.train_batch_size, config.train_size), scores, stopped_early)
        trial.rungs.append(done)
        _write_json(trial.folder / SCORES, {"rung": index, "scores": scores, "faults": trial.faults})
        if not last and not stopped_early:
            self._save_checkpoint(rival)
        return done

    def _train_in_parts(self, until: int) -> Iterator[bool]:
        """Train up to step `until`. Yields after each part and at the end: is a checkpoint due?

        What is not saved before decoding is lost with it, so less than the whole interval suffices then.
        """
        trial, interval = self._running(), self.workers.resources.checkpoint_interval_s or inf
        while len(trial.losses) < until:
            if trial.losses:
                self._train(self._end_of_part(until), "train")
            else:
                self._train(1, "first_step")
            share = 1.0 if len(trial.losses) < until else SHARE_BEFORE_DECODING
            yield self._must_leave() or trial.seconds_unsaved() >= interval * share

    def _must_leave(self) -> bool:
        """Whether a node of the trial will be taken away; looks every `PART_S` seconds, so never in a short trial."""
        trial, now = self._running(), time.perf_counter()
        if now - trial.looked_at >= PART_S:
            trial.looked_at, trial.must_leave = now, self.workers.draining
        return trial.must_leave

    def _end_of_part(self, until: int) -> int:
        """The step to train to. One worker looks at the clock itself; several stop together, at the pace so far."""
        trial = self._running()
        if self.workers.resources.num_workers == 1:
            return until
        return min(until, len(trial.losses) + max(1, int(PART_S / trial.seconds_per_step)))

    def _save_checkpoint(self, rival: Opponent | None, within_rung: bool = False) -> bool:
        """Write a checkpoint. If that fails, a warning says so, and the trial continues with the one before, if any."""
        trial = self._running()
        started = time.perf_counter()
        progress = len(trial.rungs), len(trial.losses)
        names = [checkpoint.worker_file(progress, rank) for rank in range(self.workers.resources.num_workers)]
        written = self.workers.map("save_state", [(trial.folder / name,) for name in names])
        trial.add_seconds("checkpoint", started)
        digests = dict(zip(names, (digest for digest, _ in written), strict=True))
        failure = next((reason for _, reason in written if reason), "")
        try:
            if not failure:
                trial.checkpoint = checkpoint.write(trial.folder, trial.to_checkpoint(digests, rival, within_rung))
        except OSError as error:
            failure = f"{error.filename}: {error.strerror}"
        trial.saved_at = time.perf_counter()
        if failure:
            for name in names:
                (trial.folder / name).unlink(missing_ok=True)
            trial.warn(f"No checkpoint of the trial {trial.config.key} is kept: {failure}.")
        return not failure

    def finish(self, status: Status = "finished", error: str = "") -> TrialResult:
        trial = self._running()
        self._trial = None
        peak = 0.0
        try:
            if status == "finished" and trial.config.general:
                started = time.perf_counter()
                values = self.workers.call("general_values", trial.config.general)[0]
                trial.general = forgetting(open_general_set(trial.config.general), *values)
                trial.add_seconds("general", started)
            if status != "failed":
                self.workers.call("save", trial.folder / ADAPTER)
                if trial.config.curated:
                    trial.curation |= self.workers.call("counts")[0]
                trial.out_of_memory = max(self.workers.call("out_of_memory"))
                trial.skipped_steps = max(self.workers.call("skipped_steps"))
                write_card(
                    trial.folder / ADAPTER,
                    trial.config,
                    trial.info.max_new_tokens,
                    trial.info.chat_frame,
                    trial.asking.demonstrations,
                )
            if self.workers.running:
                peak = max(self.workers.call("end_trial"))
        except Exception as failure:  # still the trial boundary: an adapter that cannot be saved fails its trial only
            status, error = "failed", error or f"{type(failure).__name__}: {failure}"
            self.workers.close()
        return trial.result(status, error, peak)

    def close(self) -> None:
        self.workers.close()

    def _running(self) -> TrialState:
        assert self._trial is not None, "start() comes first"
        return self._trial

    def _train(self, until: int, phase: str) -> None:
        trial = self._running()
        started = time.perf_counter()
        parts = self.workers.call("train", until, PART_S)
        losses = [sum(part) for part in zip(*parts, strict=True)]
        trial.losses += losses
        trial.log.append(trial.steps_since(len(trial.losses) - len(losses)))
        trial.add_seconds(phase, started)
        trial.seconds_per_step = (time.perf_counter() - started) / len(losses)
        step = next((n for n, loss in enumerate(trial.losses, 1) if not isfinite(loss)), None)
        if step is not None:
            raise UserError(
                f"The loss of step {step} is not finite. Lower "
                f"train.learning_rate (now {trial.config.train.learning_rate:g}) or "
                "set train.dtype to float32."
            )

    def _score(self, name: str, rival: Opponent | None) -> tuple[dict[str, Scores], str]:
        """Decode and score all splits of the trial. Returns scores by split, and why the trial was stopped early."""
        trial = self._running()
        started = time.perf_counter()
        answered, num_tokens, stopped_early = self._decode_with_racing(list(evaluations(trial.config)), name, rival)
        parts, config = [(part.task, part.examples, texts) for part, texts in answered], trial.config
        completions, retried = ask_again(
            parts, config.design, config.instruction_variant, self._decode, trial.asking.after_demonstrations
        )
        items = max(1, sum(len(texts) for _, texts in answered))
        trial.tokens |= {"output": (num_tokens + retried) / items, **({"retries": retried / items} if retried else {})}
        trial.add_seconds("decode", started)
        by_split: dict[str, list[Scores]] = {}
        predictions = [
            Prediction(name, part.split, text, part.name)
            for (part, _), texts in zip(answered, completions, strict=True)
            for name, text in texts.items()
        ]
        for path in dict.fromkeys((name, PREDICTIONS)):
            write_predictions(trial.folder / path, predictions)
        trial.faults.clear()
        for (part, _), by_id in zip(answered, completions, strict=True):
            parsed = [parse_answers(by_id, example, part.task, trial.config.design) for example in part.examples]
            by_split.setdefault(part.split, []).append(metrics.score(part.task, part.examples, parsed))
            trial.count_faults(part.split, parsed)
        return {split: metrics.mean_over_tasks(scores) for split, scores in by_split.items()}, stopped_early

    def _decode_with_racing(
        self, parts: list[Evaluation], name: str, rival: Opponent | None
    ) -> tuple[list[Answered], int, str]:
        """Decode every part, together: longer batches of like length. Returns completions, new tokens, why it stopped.

        With racing the own part is decoded in slices, rival or not: no completion but a near tie may depend on that.
        """
        config = self._running().config
        home, looks = parts[0], config.interim_looks
        questions = [question for part in parts for question in part.questions(self._running().asking)]
        early, count = list[str](), 0
        for interval in slices(len(home.examples), looks)[:-1] if looks else ():
            texts, num_tokens = ask(questions[interval], self._decode)
            early, count = early + texts, count + num_tokens
            examples = home.examples[: len(early)]
            reason = rival.reason_to_stop(name, home.task, config.design, examples, early, len(looks)) if rival else ""
            if reason:
                return [(Evaluation(home.split, home.name, home.task, examples), early)], count, reason
        texts, num_tokens = ask(questions[len(early) :], self._decode)
        left = iter(early + texts)
        return [(part, [next(left) for _ in part.examples]) for part in parts], count + num_tokens, ""

    def _decode(self, prompts: list[Any], ends: Sequence[AnswerEnd | None] = ()) -> tuple[list[str], int]:
        """Decode prompts on all workers. Returns completions in the prompts' order, and the number of new tokens."""
        count = self.workers.resources.num_workers
        results = self.workers.map("generate", [(prompts[rank::count], ends[rank::count]) for rank in range(count)])
        completions = [""] * len(prompts)
        for rank, (texts, _) in enumerate(results):
            completions[rank::count] = texts
        return completions, sum(num_tokens for _, num_tokens in results)


def _write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
