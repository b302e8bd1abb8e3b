"""The report's section on where a design is right and wrong: scores by slot and confusion matrices, from what was kept.

    write_by_slot(study, design, final)      the recommended design, with the baseline beside it

Of the final comparison's test items where it has run, else of the dev items. Scores are those of the results; the
matrices are counted again from the completions in `predictions.jsonl`, for tasks with closed labels; so are the fields
of records (`by_field.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.report.by_field import FieldCounts, add_counts, count_fields, write_fields
from sde_ray.analysis.report.html import Html, joined, table, tag
from sde_ray.analysis.study import Study
from sde_ray.design.designs import NAMED, at_amounts_of, design_of, essential
from sde_ray.errors import UserError
from sde_ray.evaluation.batch_retries import parse_answers
from sde_ray.evaluation.predictions import completions_by_task
from sde_ray.metrics import confusion
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Design, Task, TrialResult

Cells = npt.NDArray[np.float64]
SHADES = 5
MAX_LABELS = 12  # of a matrix that is shown; a larger one is no picture any more


@dataclass(frozen=True)
class DesignAnswers:
    """What a design's finished trials answered on a split: `cells` [slot, gold, answer], counts over all trials.

    `cells` is None where the task has no closed labels, `fields` where it has no records, both where nothing was kept.
    """

    name: str
    results: Sequence[TrialResult]
    split: str
    items: int
    cells: Cells | None
    fields: FieldCounts | None = None


def write_by_slot(study: Study, name: str, design: Design, final: Sequence[TrialResult]) -> Html | None:
    """The section; None where there is neither a score by slot nor a matrix.

    Args:
        study: the sweep's trials, on the dev items.
        name: what the recommended design is called.
        design: it.
        final: the trials of the final comparison, on the test items; empty where it has not run.
    """
    try:
        task = trial_task(study.group.task, study.results[0].config.get("definition"))
        columns = [answers_of(study, task, title, one, final) for title, one in _shown(name, design).items()]
    except (UserError, OSError, ValueError, LookupError):
        return None  # the task or its data are not here: the page does without
    columns = [one for one in columns if one.results]
    fields = write_fields(task, {one.name: one.fields for one in columns if one.fields is not None})
    parts = [part for part in (_scores(study, task, columns), fields, _matrices(task, columns)) if part is not None]
    if not columns or not parts:
        return None
    first = columns[0]
    where = "test items of the final comparison" if first.split == "test" else "dev items"
    note = f"On {first.items} {where}, over {_trials(first)}; each slot alone."
    return joined([tag("h3", "Where it is right and wrong"), tag("p", note, class_="quiet"), *parts])


def _shown(name: str, design: Design) -> dict[str, Design]:
    baseline = at_amounts_of(NAMED["baseline"], design)
    same = dict(baseline.options) == dict(design.options)
    return {name: design} if same else {name: design, "baseline": baseline}


def answers_of(study: Study, task: Task, name: str, design: Design, final: Sequence[TrialResult]) -> DesignAnswers:
    """The answers of a design: on test items where the final comparison has some, else on dev items."""
    for split, results in (("test", final), (study.split.removesuffix("_ood"), study.results)):
        ended = [one for one in results if one.status == "finished" and split in one.scores]
        own = [one for one in ended if essential(design_of(one)) == essential(design)]
        if own:
            counts = [_count(study, task, design, one, split) for one in own]
            kept = [cells for cells, _, _ in counts if cells is not None]
            fields = [one for _, one, _ in counts if one is not None]
            items = max((number for _, _, number in counts), default=0) or int(own[0].config["eval_size"])
            cells = sum(kept[1:], kept[0]) if kept else None
            return DesignAnswers(name, own, split, items, cells, add_counts(fields) if fields else None)
    return DesignAnswers(name, (), study.split, 0, None)


def _count(
    study: Study, task: Task, design: Design, result: TrialResult, split: str
) -> tuple[Cells | None, FieldCounts | None, int]:
    """The confusion matrices or the fields of a trial, and its number of items; None where nothing was kept."""
    path = RunDirectory.at(study.folder).predictions(result.key)
    own = str(result.config["task"])
    if not path.is_file():
        return None, None, 0
    completions = completions_by_task(path, own).get((split, own), {})
    examples = trial_examples(own, split, result.config.get("definition"))  # type: ignore[arg-type]
    examples = [example for example in examples if example.id in completions]
    if task.kind not in ("label", "record") or task.multilabel or not examples:
        return None, None, len(examples)
    parsed = [parse_answers(completions, example, task, design) for example in examples]
    if task.kind == "record":
        return None, count_fields(task, examples, parsed), len(examples)
    return confusion(task, examples, parsed), None, len(examples)


# ---- scores --------------------------------------------------------------------------------------------------------


def _scores(study: Study, task: Task, columns: Sequence[DesignAnswers]) -> Html | None:
    """A row a slot: how often gold mentions it, and its score in each design."""
    metric = _slot_metric(study.objective, columns)
    slots = [slot for slot in task.slots if metric and _score(columns[0], f"{metric}/{slot}") is not None]
    if len(slots) < 2:
        return None
    rows = []
    for slot in slots:
        row = {"slot": slot, **{one.name: _score(one, f"{metric}/{slot}") for one in columns}}
        if columns[0].cells is not None:
            cells = columns[0].cells[task.slots.index(slot)]
            row["mentioned"] = f"{cells[:-1].sum() / len(columns[0].results):.0f}"
        rows.append(row)
    shown = {"slot": "slot", **({"mentioned in gold": "mentioned"} if "mentioned" in rows[0] else {})}
    shown |= {one.name: one.name for one in columns}
    return table(shown, rows, f"{metric} of each slot")


def _slot_metric(objective: str, columns: Sequence[DesignAnswers]) -> str:
    """The metric that is shown by slot: the objective where it has slots, else the first that has."""
    names = [name for one in columns[:1] for name in one.results[0].scores.get(one.split, {}) if "/" in name]
    pooled = dict.fromkeys(name.partition("/")[0] for name in names)
    wanted = objective.removesuffix("_strict").removeprefix("macro_")
    return next((name for name in (objective, wanted, *pooled) if name in pooled), "")


def _score(column: DesignAnswers, name: str) -> float | None:
    values = [one.scores[column.split][name] for one in column.results if name in one.scores.get(column.split, {})]
    return fmean(values) if values else None


# ---- matrices ------------------------------------------------------------------------------------------------------


def _matrices(task: Task, columns: Sequence[DesignAnswers]) -> Html | None:
    """Confusion matrices side by side: of all slots together where they share their labels, and of each slot."""
    shown = [one for one in columns if one.cells is not None]
    labels = {slot: [*task.labels_of(slot), task.placeholder] for slot in task.slots}
    if not shown or max(map(len, labels.values())) > MAX_LABELS:
        return None
    shared, pages = not task.slot_labels, []
    if shared or len(task.slots) == 1:
        pages.append(_pair("all slots together" if len(task.slots) > 1 else task.slots[0],
                           labels[task.slots[0]], {one.name: _pooled(one) for one in shown}))  # fmt: skip
    if len(task.slots) > 1:
        single = [_pair(slot, labels[slot], {one.name: _of_slot(one, n, len(labels[slot])) for one in shown})
                  for n, slot in enumerate(task.slots)]  # fmt: skip
        pages += [tag("details", tag("summary", "Slot by slot"), *single)] if shared else single
    note = (
        "Confusion matrices: a row is what gold says, a column what was answered, in counts over all trials. Correct "
        "answers are on the diagonal; the darker, the larger the share of its row."
    )
    constant = [words for one in shown for words in _constant(task, labels, one)]
    return joined([tag("p", note, class_="quiet"), *(tag("p", words, class_="worse") for words in constant), *pages])


def _pooled(column: DesignAnswers) -> Cells:
    assert column.cells is not None
    return np.asarray(column.cells.sum(axis=0))


def _of_slot(column: DesignAnswers, slot: int, size: int) -> Cells:
    """The matrix of one slot, without the classes that only longer lists of labels have."""
    assert column.cells is not None
    keep = [*range(size - 1), column.cells.shape[1] - 1]
    return np.asarray(column.cells[slot][np.ix_(keep, keep)])


def _pair(title: str, labels: Sequence[str], matrices: Mapping[str, Cells]) -> Html:
    figures = [tag("div", tag("p", f"{name}, {title}"), _matrix(labels, cells)) for name, cells in matrices.items()]
    return tag("div", *figures, class_="pair")


def _matrix(labels: Sequence[str], cells: Cells) -> Html:
    used = [n for n in range(len(labels)) if cells[n].sum() or cells[:, n].sum()]
    head = tag("tr", tag("th", "gold \\ answered", scope="col"), *(tag("th", labels[n], scope="col") for n in used))
    body = [
        tag("tr", tag("th", labels[row], scope="row"), *(_cell(cells, row, column) for column in used)) for row in used
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), class_="confusion"), class_="scroll")


def _cell(cells: Cells, row: int, column: int) -> Html:
    share = cells[row, column] / (cells[row].sum() or 1.0)
    shade = int(np.ceil(share * SHADES))
    kind = "right" if row == column else "wrong"
    return tag("td", f"{cells[row, column]:.0f}", class_=f"number {kind} shade{shade}", title=f"{share:.0%} of the row")


def _constant(task: Task, labels: Mapping[str, Sequence[str]], column: DesignAnswers) -> list[str]:
    """Slots for which a design always gives the same answer, though gold does not."""
    assert column.cells is not None
    alike: dict[str, list[str]] = {}
    for n, slot in enumerate(task.slots):
        cells = _of_slot(column, n, len(labels[slot]))
        answered = np.flatnonzero(cells.sum(axis=0))
        if len(answered) == 1 and np.count_nonzero(cells.sum(axis=1)) > 1:
            alike.setdefault(labels[slot][answered[0]], []).append(slot)
    return [
        f"The {column.name} design always answers “{label}” for {', '.join(slots)}: nothing was learned there."
        for label, slots in alike.items()
    ]


def _trials(column: DesignAnswers) -> str:
    count = len(column.results)
    return f"{count} trial{'s' if count > 1 else ''}"
