"""The final comparison: is the assembled design really better, on fresh seeds and items that no selection has seen?

    trials = validation_trials(strategy, config, results)       {"assembled": [TrialConfig, ...], "baseline": ...}
    verdict = judge(strategy, trials, results_by_key, folder / "trials")
    verdict.words    "Better than baseline (+0.121 [+0.080, +0.163]) ... No difference shown against best seen ..."

Options that win one by one may not add up, and the best of many trials was partly lucky: so the assembled design meets
the best design seen, the baseline and the paper's designs. "Better" is said only where the 95% interval of the paired
difference lies above 0 and Holm's correction over the controls agrees. A verdict without a winner is a result, too.

Only here is the `test` split read. Its scores stand under split names that selection refuses (`strategy.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.leaderboard import rank
from sde_ray.analysis.paired import compare
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import ASSEMBLED, BEST_SEEN, Comparison, Verdict, claim_of, verdict_of
from sde_ray.config.load import SweepConfig, open_tasks
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import parse_design, space
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, bootstrap_weights, read_all
from sde_ray.sweep.plan import fingerprint_all, make_trial
from sde_ray.types import Design, Task, TrialResult

SPLITS = ("test", "test_ood")
ITEM_DRAWS = 2000

Trials = Mapping[str, Sequence[TrialConfig]]


# ---- what to run ---------------------------------------------------------------------------------------------------


def contenders(strategy: Strategy, config: SweepConfig, results: Sequence[TrialResult]) -> dict[str, Design]:
    """Who is compared. `results` are those of the sweep, on the strategy's task and model."""
    task = open_tasks(config)[strategy.task]
    place = (strategy.task, strategy.model)
    own = [r for r in _selecting(results) if (r.config["task"], r.config["model"]) == place]
    largest = [r for r in own if r.config["train_size"] == max(r.config["train_size"] for r in own)]
    seen = rank(largest, strategy.objective, config.objective.split)
    found = {ASSEMBLED: strategy.design, **({BEST_SEEN: seen[0].design} if seen else {})}
    for given in config.validation.controls:
        name = given if isinstance(given, str) else parse_design(given).slug
        found[name] = _fitted(parse_design(given), task)
    return found


def _selecting(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The sweep's own results: those of an earlier final comparison stand in the same ledger and choose nothing."""
    return [result for result in results if "test" not in result.config["splits"]]


def _fitted(design: Design, task: Task) -> Design:
    """The design with the axes that cannot change this task's samples at their default."""
    still = space(task, any(example.rationale for example in task.load("train")))
    pinned = {axis: still.axes[axis][0] for axis, _ in design.options if axis in still.pinned}
    return design.replace(**pinned)


def validation_trials(
    strategy: Strategy, config: SweepConfig, results: Sequence[TrialResult]
) -> dict[str, list[TrialConfig]]:
    """The trials of each contender. One design under two names has the same trials (equal keys): run each key once."""
    used = sorted({int(r.config["seed"]) for r in _selecting(results)} & set(config.validation.seeds))
    if used:
        raise UserError(f"validation.seeds {used} were used by the sweep. The final comparison needs fresh ones.")
    if not config.validation.seeds:
        raise UserError("validation.seeds is empty. Give at least one seed that the sweep has not used; three or more.")
    task = open_tasks(config)[strategy.task]
    sizes = config.validation.train_sizes or config.train_sizes
    data = fingerprint_all(config, task)
    return {
        name: [
            make_trial(
                config, task, strategy.model, design, seed, size, config.validation.test_size, data, ("test",), (1.0,)
            )
            for size in sizes
            for seed in config.validation.seeds
        ]
        for name, design in contenders(strategy, config, results).items()
    }


# ---- what it shows -------------------------------------------------------------------------------------------------


def judge(
    strategy: Strategy, trials: Trials, results: Mapping[str, TrialResult], folder: Path | None = None
) -> Verdict:
    """Compare. `results` by trial key; `folder` holds the trials' folders, whose completions narrow the intervals."""
    wanted = {trial.key for own in trials.values() for trial in own}
    own = [result for key, result in results.items() if key in wanted]
    items = {split: read_all(own, folder, split, strategy.objective) for split in SPLITS} if folder else {}
    return judge_items(strategy, trials, results, items)


def judge_items(
    strategy: Strategy,
    trials: Trials,
    results: Mapping[str, TrialResult],
    items: Mapping[str, Mapping[str, ItemCounts]],
) -> Verdict:
    """Compare, with the items already read: split -> trial key -> items."""
    ended = {key: result for key, result in results.items() if result.status == "finished"}
    rows: list[Comparison] = []
    for split in SPLITS:
        rows += _rows(trials, ended, items.get(split, {}), split, strategy.objective)
    if not any(row.assembled is not None for row in rows):
        raise UserError("The final comparison has no finished trial of the assembled design. Run `sde-ray validate`.")
    return verdict_of(strategy, rows)


def _rows(
    trials: Trials, ended: Mapping[str, TrialResult], items: Mapping[str, ItemCounts], split: str, metric: str
) -> list[Comparison]:
    """All comparisons on a split: over all sizes, then by size where there are several."""
    sizes = sorted({trial.train_size for own in trials.values() for trial in own})
    families: list[tuple[int | None, list[int]]] = [(None, sizes)]
    families += [(size, [size]) for size in sizes] if len(sizes) > 1 else []
    rows = []
    for size, chosen in families:
        cells = _Cells(trials, ended, split, metric, chosen)
        if ASSEMBLED in cells.names:
            rows += _family(cells, items, trials, split, size)
    return rows


class _Cells:
    """Which contenders and seeds have a score for every chosen size. A contender without any is left out."""

    def __init__(
        self, trials: Trials, ended: Mapping[str, TrialResult], split: str, metric: str, sizes: Sequence[int]
    ) -> None:
        self.sizes = sizes
        self.keys = {(name, t.seed, t.train_size): t.key for name, own in trials.items() for t in own}
        self.values: dict[str, float] = {}
        for key in set(self.keys.values()) & ended.keys():
            value = ended[key].scores.get(split, {}).get(metric, math.nan)
            if math.isfinite(value):
                self.values[key] = value
        complete = {name: self._seeds(name) for name in trials}
        base = complete.get(ASSEMBLED, set())
        self.names = [name for name in trials if complete[name] & base]
        self.seeds = sorted(base.intersection(*(complete[name] for name in self.names))) if self.names else []
        if not self.seeds:
            self.names = []

    def _seeds(self, name: str) -> set[int]:
        seeds = {seed for other, seed, _ in self.keys if other == name}
        return {seed for seed in seeds if all(self.keys.get((name, seed, z)) in self.values for z in self.sizes)}

    def scores(self, name: str) -> npt.NDArray[np.float64]:
        return np.array([[self.values[self.keys[name, seed, size]] for size in self.sizes] for seed in self.seeds])

    def resampled(self, items: Mapping[str, ItemCounts]) -> dict[str, npt.NDArray[np.float64]] | None:
        """Scores under draws of the items (draws, seeds, sizes) by contender; None where items are not shared."""
        keys = {self.keys[name, seed, size] for name in self.names for seed in self.seeds for size in self.sizes}
        known = [items[key] for key in keys if key in items]
        if len(known) < len(keys) or not known or any(one.ids != known[0].ids for one in known):
            return None
        weights = bootstrap_weights(known[0].ids, ITEM_DRAWS, np.random.default_rng(0))
        drawn = {key: items[key].scores(weights) for key in keys}
        return {
            name: np.stack(
                [np.stack([drawn[self.keys[name, seed, size]] for size in self.sizes], -1) for seed in self.seeds], 1
            )
            for name in self.names
        }


def _family(
    cells: _Cells, items: Mapping[str, ItemCounts], trials: Trials, split: str, size: int | None
) -> list[Comparison]:
    """One row a control; a design that stands under several names is compared once."""
    designs = {name: own[0].design for name, own in trials.items() if own}
    distinct = {designs[name]: name for name in reversed(cells.names)}  # the first name of a design stays
    distinct[designs[ASSEMBLED]] = ASSEMBLED
    scores = {name: cells.scores(name) for name in distinct.values()}
    resampled = cells.resampled(items)
    found = compare(scores, {n: resampled[n] for n in scores} if resampled else None, ASSEMBLED)
    own_items = next(iter(items.values()), None) if resampled else None
    count = sum(map(len, own_items.ids)) if own_items else 0
    rows = []
    for name in (name for name in designs if name != ASSEMBLED):
        there = name in cells.names
        paired = found.get(distinct[designs[name]]) if there else None
        claim = "same design" if designs[name] == designs[ASSEMBLED] else claim_of(paired)
        mean = float(cells.scores(name).mean()) if there else None
        ours = float(scores[ASSEMBLED].mean())
        rows.append(Comparison(name, designs[name], split, size, ours, mean, paired, len(cells.seeds), count, claim))
    return rows
