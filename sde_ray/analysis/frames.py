"""Results as pandas frames: one function a frame, values in, no files but the kept completions.

    trials_frame(results)         one row a trial
    leaderboard_frame(studies)    one row a design of a study
    effects_frame(studies)        one row an option of a study, against its axis' default
    interactions_frame(studies)   one row a pair of options
    predictions_frame(results, folder)    one row a completion: gold, what was read of it, and whether it is right

A study is one task, model and training size: they are the first columns of every frame, so that several are rows among
rows. pandas is imported by the functions, not with this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.study import Study
from sde_ray.design.designs import design_of, paper_label
from sde_ray.design.render import parse_completion
from sde_ray.evaluation.batch_retries import MARK, parse_answers
from sde_ray.evaluation.predictions import Prediction, read_predictions
from sde_ray.storage import layout
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Answer, Design, Example, Task, TrialResult

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
STUDY = ("task", "model", "train_size")
TRIAL = ("key", "status", "phase", *STUDY, "seed")
LEADERBOARD = (*STUDY, "label", "score", "expected", "low", "high", "spread", "ood", "adherence", "tokens", "trials")
EFFECTS = (*STUDY, "axis", "option", "reference", "difference", "low", "high", "replicates", "claim", "interacts")
INTERACTIONS = (*STUDY, "axis", "option", "other_axis", "other_option", "difference", "low", "high", "clear")
PREDICTIONS = (*TRIAL, "split", "on_task", "id", "text", "gold", "completion", "answer", "faults", "score")


def trials_frame(results: Iterable[TrialResult], by_slot: bool = False) -> pd.DataFrame:
    """All trials of a ledger, those of the final comparison included.

    Args:
        results: the trials, as the ledger has them.
        by_slot: whether metrics are also given for each slot ("dev/f1/DNA").

    Returns:
        key, status (finished, pruned, failed), phase ("search", or "validation" for the final comparison), task, model,
        train_size, seed, one column an axis, label (the paper's name of the design), a score column for each
        split/metric ("dev/weighted_kappa", "dev/format_adherence"), tokens/<part>, general/<value>, seconds,
        peak_memory_mb, error.
    """
    return _frame(
        [_trial_row(result, by_slot) for result in results], TRIAL, last=("seconds", "peak_memory_mb", "error")
    )


def _trial_row(result: TrialResult, by_slot: bool) -> Row:
    scores = {
        f"{split}/{name}": value
        for split, split_scores in result.scores.items()
        for name, value in split_scores.items()
        if by_slot or "/" not in name
    }
    return {
        **_trial(result),
        "label": paper_label(design_of(result)),
        **scores,
        **{f"tokens/{part}": count for part, count in result.tokens.items()},
        **{f"general/{name}": value for name, value in result.general.items()},
        "seconds": result.seconds.get("total"),
        "peak_memory_mb": result.peak_memory_mb or None,
        "error": result.error,
    }


def _trial(result: TrialResult) -> Row:
    """What tells a trial from others."""
    config = result.config
    phase = "search" if "dev" in config["splits"] else "validation"
    named = {name: config[name] for name in (*STUDY, "seed")}
    own = {**dict(design_of(result).options), **named}  # a size that is an axis, too, is a number
    return {"key": result.key, "status": result.status, "phase": phase, **named, **own}


def leaderboard_frame(studies: Sequence[Study]) -> pd.DataFrame:
    """The designs of each study, best first.

    Returns:
        task, model, train_size, one column an axis, label, score (the mean over seeds), expected with low and high
        (what the response surface expects of the design and the 95% interval of that; no interval where the noise of
        training is not known), spread (range over seeds), ood (out-of-domain score), adherence (share of completions
        without a fault), tokens (of a completion), seconds, trials.
    """
    rows = []
    for study in studies:
        for ranked in study.ranked:
            expected = _expected(study, ranked.design)
            interval = {"expected": expected.value, "low": expected.low, "high": expected.high}
            named = {**asdict(study.group), **dict(ranked.design.options), "label": ranked.label, "score": ranked.score}
            rows.append({**named, **interval, **ranked.to_dict()})
    return _frame(rows, LEADERBOARD)


def _expected(study: Study, design: Design) -> Estimate:
    fitted = study.fitted
    assert fitted is not None, "a ranked design has a score"
    return fitted.prediction(design)


def effects_frame(studies: Sequence[Study]) -> pd.DataFrame:
    """What each option does to the score, against the default of its axis.

    Returns:
        task, model, train_size, axis, option, reference (the default), difference with low and high (95% interval, None
        where the noise is not known), replicates (trials with the option), claim (what may be said: "better", "worse",
        "perhaps better", "perhaps worse", "the same", "not shown"), interacts (options that change it), and the same
        out-of-domain: difference_ood, low_ood, high_ood, claim_ood.
    """
    return _frame([{**asdict(study.group), **row} for study in studies for row in study.effects], EFFECTS)


def interactions_frame(studies: Sequence[Study]) -> pd.DataFrame:
    """How much more two options bring together than the sum of both alone; strongest first.

    Returns:
        task, model, train_size, axis, option, other_axis, other_option, difference, low, high (its own 95% interval),
        clear (whether the interval that holds for all interactions at once excludes 0).
    """
    rows = []
    for study in studies:
        for interaction in study.interactions:
            pair = zip(
                ("axis", "option", "other_axis", "other_option"),
                _alternating(interaction.axes, interaction.options),
                strict=True,
            )
            interval = {name: getattr(interaction, name) for name in ("difference", "low", "high", "clear")}
            rows.append({**asdict(study.group), **dict(pair), **interval})
    return _frame(rows, INTERACTIONS)


def _alternating(axes: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for pair in zip(axes, options, strict=True) for name in pair)


def predictions_frame(results: Iterable[TrialResult], trials: Path, split: str = "") -> pd.DataFrame:
    """The kept completions, item by item; a trial without any has no rows.

    Args:
        results: the trials to show.
        trials: the folder of the trials' folders.
        split: one split only ("dev", "dev_ood", "test", "test_ood"); all of them by default.

    Returns:
        key, status, phase, task, model, train_size, seed, one column an axis, label, split, on_task (whose items: those
        of another task out-of-domain), id, text, gold, completion, answer (both {slot: [value, ...]}), faults
        ([kind, ...]), score (the share of slots, of those in gold or answer, on which both agree).
    """
    rows = [row for result in results for row in _prediction_rows(result, trials / result.key, split)]
    return _frame(rows, PREDICTIONS)


def _prediction_rows(result: TrialResult, folder: Path, split: str) -> list[Row]:
    try:
        predictions = [row for row in read_predictions(folder / layout.PREDICTIONS) if split in ("", row.split)]
    except (OSError, ValueError):
        return []  # never kept, or damaged: `sde-ray score` says which
    design, home = design_of(result), str(result.config["task"])
    trial = {**_trial(result), "label": paper_label(design)}
    definition, rows = result.config.get("definition"), []
    for name, on_split in dict.fromkeys((row.task or home, row.split) for row in predictions):
        task = trial_task(name, definition)
        examples = trial_examples(name, on_split.removesuffix("_ood"), definition)  # type: ignore[arg-type]
        by_id = {example.id: example for example in examples}
        of_task = [row for row in predictions if (row.task or home, row.split) == (name, on_split)]
        texts = {row.id: row.prediction for row in of_task}
        items = [row for row in of_task if row.id in by_id or row.id.rpartition(MARK)[0] not in by_id]  # no retries
        rows += [{**trial, **_prediction(task, design, by_id.get(row.id), row, texts)} for row in items]
    return rows


def _prediction(task: Task, design: Design, example: Example | None, row: Prediction, texts: Mapping[str, str]) -> Row:
    """A completion beside the example that it answers; None where the data have changed since."""
    parsed = parse_answers(texts, example, task, design) if example else parse_completion(row.prediction, task, design)
    gold = example.answer if example else None
    return {
        "split": row.split,
        "on_task": task.name,
        "id": row.id,
        "text": example.text if example else None,
        "gold": None if gold is None else plain_answer(gold),
        "completion": row.prediction,
        "answer": plain_answer(parsed.answer),
        "faults": [fault.kind for fault in parsed.faults],
        "score": None if gold is None else agreement(gold, parsed.answer),
    }


def plain_answer(answer: Answer) -> dict[str, list[str]]:
    """An answer as plain lists, for JSON and frames."""
    return {slot: list(values) for slot, values in answer.items()}


def agreement(gold: Answer, answer: Answer) -> float:
    """The share of slots, of those that either names, on which both have the same values in any order."""
    slots = {*gold, *answer}
    same = sum(sorted(gold.get(slot, ())) == sorted(answer.get(slot, ())) for slot in slots)
    return same / len(slots) if slots else 1.0


def _frame(rows: Sequence[Row], columns: Sequence[str], last: Sequence[str] = ()) -> pd.DataFrame:
    """The rows as a frame; `columns` are those that it has also without a row, `last` come after all others."""
    import pandas as pd

    names = dict.fromkeys(name for row in rows for name in row) if rows else dict.fromkeys((*columns, *last))
    return pd.DataFrame(list(rows), columns=[*(name for name in names if name not in last), *last])
