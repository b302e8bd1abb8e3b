"""The four questions of the memory study, each with intervals over items and seeds, and a verdict.

    findings(trials, cells_by_model)
    -> [Finding("Is 60 enough?", "240 samples are better than 60: +0.06 [+0.03, +0.09]. ...", (Row(...), ...)), ...]

Is the smallest size enough? Which level teaches best? Does training on a level help that level most? Is it the same for
every model? Each is answered over all items, as published, and within relations. Nothing is called better without an
interval that holds the noise of training (law 9); comparisons of one question are one family (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sde_ray.analysis.comparison import BETTER, WORSE, comparison_claim
from sde_ray.analysis.paired import PairedDifference, compare, holm
from sde_ray.pipeline.memory_study.cells import Array, Cells

MARGIN = 0.02  # of accuracy; a gain below it changes no decision
ALL, WITHIN = "all items", "within relations"


@dataclass(frozen=True)
class StudyTrial:
    """A trained trial: `level` of its training facts ("0" to "4", "mixed", "divided", "any"), right items by id."""

    model: str
    level: str
    train_size: int
    seed: int
    correct: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One comparison. `claim` is of the first against the second, with the noise of training (analysis.comparison)."""

    stratum: str
    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    seeds: int
    claim: str


@dataclass(frozen=True)
class Finding:
    """A question, its verdict in a sentence, and the comparisons behind it."""

    question: str
    verdict: str
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Run = tuple[str, int, int]  # level, training size, seed
Table = Mapping[Run, Array]  # accuracy by cell [1 + draws, cells]


def findings(trials: Sequence[StudyTrial], cells: Mapping[str, Cells]) -> list[Finding]:
    """Answer the four questions for each model, the last one for all together; `cells` by model."""
    answers: list[Finding] = []
    tables = {
        model: {(one.level, one.train_size, one.seed): of.accuracy(one.correct) for one in trials if one.model == model}
        for model, of in cells.items()
    }
    for model, table in tables.items():
        suffix = f" ({model})" if len(tables) > 1 else ""
        for finding in (is_smallest_enough, which_level, helps_its_own):
            answer = finding(table, cells[model])
            answers.append(replace(answer, question=answer.question + suffix))
    return [*answers, same_for_every_model(tables, cells)]


# ---- the questions ---------------------------------------------------------------------------------------------------


def is_smallest_enough(table: Table, cells: Cells) -> Finding:
    """Every larger size against the smallest one, over the levels trained on that have all sizes."""
    sizes = sorted({size for _, size, _ in table})
    question = f"Is {sizes[0]} enough?" if sizes else "Is the smallest size enough?"
    if len(sizes) < 2:
        return Finding(question, "Not known: all trials have one training size.", ())
    levels = _complete(table, lambda run: run[0], lambda run: run[1], sizes)
    names = {str(size): size for size in sizes}
    rows: list[Row] = []
    for stratum, weights in _weights(cells):
        scores = {
            name: {seed: [_score(table, (level, size, seed), weights) for level in levels] for seed in _seeds(table)}
            for name, size in names.items()
        }
        rows += _judged([_swapped(pair) for pair in _pairs(stratum, scores, str(sizes[0]))])
    return Finding(question, _enough(rows, sizes[0]), tuple(rows))


def which_level(table: Table, cells: Cells) -> Finding:
    """Each pair of levels trained on, over the sizes that all of them have."""
    question = "Which level teaches best?"
    levels = sorted({level for level, _, _ in table if level != "any"})
    if len(levels) < 2:
        return Finding(question, "Not known: trials were not trained on facts of several levels.", ())
    sizes = _complete(table, lambda run: run[1], lambda run: run[0], levels)
    rows = []
    for stratum, weights in _weights(cells):
        scores = {
            level: {seed: [_score(table, (level, size, seed), weights) for size in sizes] for seed in _seeds(table)}
            for level in levels
        }
        rows += _judged(
            [pair for n, level in enumerate(levels[:-1]) for pair in _pairs(stratum, _only(scores, levels[n:]), level)]
        )
    return Finding(question, _best(rows, levels), tuple(rows))


def helps_its_own(table: Table, cells: Cells) -> Finding:
    """Items of the level trained on against items of all other levels; what either is by itself cancels."""
    question = "Does training on a level help that level most?"
    levels = [level for level in cells.levels if any(run[0] == str(level) for run in table)]
    if len(levels) < 2:
        return Finding(question, "Not known: fewer than two levels were both trained on and asked.", ())
    sizes = _complete(table, lambda run: run[1], lambda run: run[0], [str(level) for level in levels])
    rows = []
    for stratum, within in ((ALL, False), (WITHIN, True)):
        weights = dict(zip(("its own level", "other levels"), cells.own_level(levels, within), strict=True))
        if not any(weights["other levels"][level].any() for level in levels):
            continue
        scores = {
            name: {
                seed: [_sum(_score(table, (str(level), size, seed), of[level]) for level in levels) for size in sizes]
                for seed in _seeds(table)
            }
            for name, of in weights.items()
        }
        rows += _judged(_pairs(stratum, scores, "its own level"))
    return Finding(question, "; ".join(_diagonal(row) for row in rows) + ".", tuple(rows))


def same_for_every_model(tables: Mapping[str, Table], cells: Mapping[str, Cells]) -> Finding:
    """How far each level is above the mean of all levels trained on, one model against another."""
    question = "Is it the same for every model?"
    models = list(tables)
    shared = set.intersection(*({run[0] for run in table} for table in tables.values())) if tables else set()
    levels = sorted(shared - {"any"})
    if len(models) < 2 or len(levels) < 2:
        what = "one model was tried" if len(models) < 2 else "the models share fewer than two levels trained on"
        return Finding(question, f"Not known: {what}.", ())
    rows: list[Row] = []
    for stratum in (ALL, WITHIN):
        pairs: list[Pair] = []
        for level in levels:
            scores = {
                model: _lead(tables[model], dict(_weights(cells[model]))[stratum], level, levels) for model in models
            }
            for n, model in enumerate(models[:-1]):
                found = _pairs(stratum, _only(scores, models[n:]), model)
                pairs += [(stratum, f"{_level(level)}: {first}", second, paired) for _, first, second, paired in found]
        rows += _judged(pairs)
    different = [row for row in rows if row.claim in (BETTER, WORSE)]
    if not different:
        return Finding(question, "No difference between the models is shown.", tuple(rows))
    told = "; ".join(f"{row.first} against {row.second} {_interval(row)} ({row.stratum})" for row in different)
    return Finding(question, f"No: how much a level helps depends on the model: {told}.", tuple(rows))


# ---- scores ----------------------------------------------------------------------------------------------------------

Scores = Mapping[str, Mapping[int, Sequence[Array | None]]]  # by contender and seed, one a variant


def _weights(cells: Cells) -> list[tuple[str, Array]]:
    return [(ALL, cells.over_levels()), (WITHIN, cells.within_relations())]


def _score(table: Table, run: Run, weights: Array) -> Array | None:
    return table[run] @ weights if run in table else None


def _sum(parts: Iterable[Array | None]) -> Array | None:
    kept = list(parts)
    return (
        None if any(part is None for part in kept) else np.asarray(np.sum([p for p in kept if p is not None], axis=0))
    )


def _lead(table: Table, weights: Array, level: str, levels: Sequence[str]) -> dict[int, list[Array | None]]:
    """A level's score minus the mean over all levels, by seed and size."""
    sizes = _complete(table, lambda run: run[1], lambda run: run[0], levels)
    lead: dict[int, list[Array | None]] = {}
    for seed in _seeds(table):
        lead[seed] = []
        for size in sizes:
            total = _sum(_score(table, (one, size, seed), weights) for one in levels)
            own = _score(table, (level, size, seed), weights)
            lead[seed].append(None if total is None or own is None else own - total / len(levels))
    return lead


def _seeds(table: Table) -> list[int]:
    return sorted({seed for _, _, seed in table})


def _complete(table: Table, key: Callable[[Run], Any], other: Callable[[Run], Any], wanted: Sequence[Any]) -> list[Any]:
    """The values of one part of a run that occur with all wanted values of another part."""
    values = sorted({key(run) for run in table}, key=str)
    return [value for value in values if {other(run) for run in table if key(run) == value} >= set(wanted)]


def _only(scores: Scores, names: Sequence[str]) -> dict[str, Mapping[int, Sequence[Array | None]]]:
    return {name: scores[name] for name in names}


# ---- comparisons -----------------------------------------------------------------------------------------------------

Pair = tuple[str, str, str, PairedDifference]  # stratum, first, second, first minus second


def _pairs(stratum: str, scores: Scores, first: str) -> list[Pair]:
    """`first` minus every other contender, on the seeds for which `first` is complete."""
    seeds = [seed for seed, parts in scores[first].items() if parts and all(part is not None for part in parts)]
    if not seeds:
        return []
    values = {
        name: np.stack([_stacked(by_seed.get(seed), scores[first][seed]) for seed in seeds], axis=1)
        for name, by_seed in scores.items()
    }
    values = {name: value for name, value in values.items() if np.isfinite(value[0].mean(axis=1)).any()}
    resampled = {name: value[1:] for name, value in values.items()}
    differences = compare({name: value[0] for name, value in values.items()}, resampled, first)
    return [(stratum, first, name, paired) for name, paired in differences.items()]


def _stacked(parts: Sequence[Array | None] | None, like: Sequence[Array | None]) -> Array:
    """Scores of one seed [1 + draws, variants]; NaN where the seed is not complete."""
    if parts is None or any(part is None for part in parts):
        length = len(next(part for part in like if part is not None))
        return np.full((length, len(like)), np.nan)
    return np.stack([part for part in parts if part is not None], axis=1)


def _swapped(pair: Pair) -> Pair:
    """Second minus first."""
    stratum, first, second, paired = pair
    low, high = (None if bound is None else -bound for bound in (paired.high, paired.low))
    return stratum, second, first, replace(paired, difference=-paired.difference, low=low, high=high)


def _judged(pairs: Sequence[Pair]) -> list[Row]:
    """All pairs as one family of tests (Holm), so that all claims of a question hold at once."""
    adjusted = holm(dict(enumerate(paired for *_, paired in pairs)))
    rows = []
    for n, (stratum, first, second, _) in enumerate(pairs):
        one = adjusted[n]
        claim, p_value = comparison_claim(one), one.adjusted_p_value
        rows.append(Row(stratum, first, second, one.difference, one.low, one.high, p_value, one.seeds, claim))
    return rows


# ---- words -----------------------------------------------------------------------------------------------------------


def _interval(row: Row) -> str:
    shown = "no interval" if row.low is None or row.high is None else f"{row.low:+.3f} .. {row.high:+.3f}"
    return f"{row.difference:+.3f} [{shown}]"


def _enough(rows: Sequence[Row], smallest: int) -> str:
    rows = [row for row in rows if row.stratum == ALL]
    better = [row for row in rows if row.claim == BETTER]
    if better:
        told = "; ".join(f"{row.first} samples are better, {_interval(row)}" for row in better)
        return f"No: {told}."
    told = "; ".join(f"{row.first} against {smallest} {_interval(row)}" for row in rows)
    if rows and all(row.seeds > 1 and row.high is not None and row.high < MARGIN for row in rows):
        return f"Yes: more samples do not gain {MARGIN:g} or more: {told}."
    return f"Not shown either way: {told or 'no seed has every size'}."


def _best(rows: Sequence[Row], levels: Sequence[str]) -> str:
    told = []
    for stratum in (ALL, WITHIN):
        some = [row for row in rows if row.stratum == stratum]
        beats = {level: {row.second for row in some if row.first == level and row.claim == BETTER} for level in levels}
        for row in some:
            if row.claim == WORSE:
                beats[row.second].add(row.first)
        best = next((level for level in levels if len(beats[level]) == len(levels) - 1), None)
        pairs = [f"{_level(one)} above {', '.join(map(_level, sorted(less)))}" for one, less in beats.items() if less]
        if best is not None:
            told.append(f"{stratum}: {_level(best)}, above every other")
        else:
            told.append(f"{stratum}: no level is shown to be best" + (f" ({'; '.join(pairs)})" if pairs else ""))
    return "; ".join(told) + "."


def _level(level: str) -> str:
    return f"D{level}" if level.isdigit() else level


def _diagonal(row: Row) -> str:
    says = {BETTER: "yes", WORSE: "no, it helps the others more"}.get(row.claim, row.claim)
    return f"{row.stratum}: {says}, {_interval(row)}"
