"""Validation by paired comparison: is the assembled design really better, on fresh seeds and test items?

    verdict = judge_validation(strategy, trials, results_by_key, folder / "trials")
    verdict.summary  "Better than baseline (+0.121 [+0.080, +0.163]) ... No difference shown against best seen ..."

`trials` are those of `pipeline/validation_trials.py`: {"assembled": [TrialConfig, ...], "baseline": ...}, on seeds and
items that no selection has seen.

Options that win one by one may not add up, and the best of many trials was partly lucky (selection bias): so the
assembled design is compared with the best design seen, the baseline and the paper's designs, with each on the seeds
that the two share. "Better" is said only of two seeds or more, where the 95% confidence interval of the paired
difference lies above 0 and Holm's correction over the controls agrees at the level of this look. A verdict without a
winner is a result, too.

Only here is the `test` split read. Its scores have split names that selection refuses (`strategy.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from sde_ray.analysis.dropped_seeds import dropped_seeds
from sde_ray.analysis.effects import scored_results
from sde_ray.analysis.looks import Look, next_look
from sde_ray.analysis.paired import Key, ScoreTable, tabulate
from sde_ray.analysis.seed_noise import Replicates, replicates_of
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import (
    ASSEMBLED,
    NO_SCORE,
    SAME_DESIGN,
    Comparison,
    Cost,
    Verdict,
    comparison_claim,
    make_verdict,
)
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import completed, design_of
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, read_items_by_trial
from sde_ray.metrics import metric_bounds
from sde_ray.search.scale import Scale, candidate_scales
from sde_ray.types import Design, TrialResult

SPLITS = ("test", "test_ood")
ITEM_DRAWS = 2000

Trials = Mapping[str, Sequence[TrialConfig]]


def judge_validation(
    strategy: Strategy,
    trials: Trials,
    results: Mapping[str, TrialResult],
    folder: Path | None = None,
    swept: Sequence[TrialResult] = (),
    earlier: Sequence[Look] = (),
    repeated: Mapping[str, Trials] = MappingProxyType({}),
) -> Verdict:
    """Paired comparison of the assembled design with every control, on the test splits.

    Args:
        strategy: the assembled design and the metric that decides.
        trials: by contender, as `validation_trials` made them.
        results: by trial key; trials that are missing or did not finish are left out.
        folder: holds the trials' folders, whose completions give the noise of the items and narrow the intervals.
        swept: results of the sweep; the replicates among them tell of the noise of training.
        earlier: the looks at the test split before, from the last verdict.
        repeated: the same trials at further values of nuisance axes, by the value; each is a family of its own.

    Raises:
        UserError: when no trial of the assembled design has finished.
    """
    every = (trials, *repeated.values())
    keys = {trial.key for one in every for contender in one.values() for trial in contender}
    chosen = [result for key, result in results.items() if key in keys]
    items = (
        {split: read_items_by_trial(chosen, folder, split, strategy.objective) for split in SPLITS} if folder else {}
    )
    return judge_items(strategy, trials, results, items, swept, earlier, repeated)


def judge_items(
    strategy: Strategy,
    trials: Trials,
    results: Mapping[str, TrialResult],
    items: Mapping[str, Mapping[str, ItemCounts]],
    swept: Sequence[TrialResult] = (),
    earlier: Sequence[Look] = (),
    repeated: Mapping[str, Trials] = MappingProxyType({}),
) -> Verdict:
    """The same with the items already read: split -> trial key -> counts by item."""
    finished = {key: result for key, result in results.items() if result.status == "finished"}
    look = next_look(trials, earlier)
    rows: list[Comparison] = []
    costs = {name: _cost([finished[t.key] for t in own if t.key in finished]) for name, own in trials.items()}
    for split in SPLITS:
        rows += _comparisons(strategy, trials, finished, items.get(split, {}), split, swept, look.level)
    if not any(row.assembled is not None for row in rows):
        raise UserError("The final comparison has no finished trial of the assembled design. Run `sde-ray validate`.")
    looks = [*(one for one in earlier if one != look), look]
    rows = [replace(row, cost=costs[row.control]) for row in rows]
    dropped = dropped_seeds(trials, results, strategy.objective, "test")
    at_values = [
        replace(row, at=at)
        for at, own in repeated.items()
        for split in SPLITS
        for row in _comparisons(strategy, own, finished, items.get(split, {}), split, swept, look.level)
    ]
    return make_verdict(strategy, rows, looks, dropped, costs[ASSEMBLED], at_values)


def _cost(results: Sequence[TrialResult]) -> Cost:
    """Mean output tokens and format adherence of finished trials."""
    tokens = [result.tokens["output"] for result in results if "output" in result.tokens]
    adherence = [value for r in results if (value := r.scores.get("test", {}).get("format_adherence")) is not None]
    return Cost(fmean(tokens) if tokens else None, fmean(adherence) if adherence else None)


def metric_scale(metric: str) -> Scale:
    """The scale on which the noise of training is alike at all levels: a logit where the metric has bounds."""
    return candidate_scales(metric_bounds(metric))[-1]


def sweep_replicates(swept: Sequence[TrialResult], strategy: Strategy, sizes: Sequence[int]) -> Replicates | None:
    """What a sweep's replicates tell of the noise of training; None where it has none of these training sizes.

    Only finished trials of the strategy's task and model count, by their score on the dev split.
    """
    contest = (strategy.task, strategy.model)
    dev = [
        result
        for result in swept
        if "dev" in result.config["splits"]
        and (result.config["task"], result.config["model"]) == contest
        and strategy.objective in result.scores.get("dev", {})
    ]
    scores: dict[tuple[int, Design], list[float]] = {}
    for result in scored_results(completed(dev), strategy.objective) if dev else []:
        size = int(result.config["train_size"])
        scores.setdefault((size, design_of(result)), []).append(result.scores["dev"][strategy.objective])
    by_size = [
        replicates_of({d: v for (s, d), v in scores.items() if s == size}, metric_scale(strategy.objective))
        for size in sizes
    ]
    if not by_size or not all(one.total_freedom for one in by_size):
        return None
    variances = [variance for one in by_size for variance in one.variances]
    return Replicates(tuple(variances), tuple(f for one in by_size for f in one.freedom)).of_means(len(sizes))


def _comparisons(
    strategy: Strategy,
    trials: Trials,
    finished: Mapping[str, TrialResult],
    items: Mapping[str, ItemCounts],
    split: str,
    swept: Sequence[TrialResult],
    level: float,
) -> list[Comparison]:
    """All comparisons on a split: over all sizes, then by size where there are several."""
    metric = strategy.objective
    cells = [(name, trial) for name, contender in trials.items() for trial in contender]
    scores: dict[Key, float] = {}
    counts: dict[Key, ItemCounts] = {}
    for name, trial in cells:
        key = (name, trial.seed, trial.train_size)
        if trial.key in finished and metric in finished[trial.key].scores.get(split, {}):
            scores[key] = finished[trial.key].scores[split][metric]
        if trial.key in items:
            counts[key] = items[trial.key]
    designs = {name: contender[0].design for name, contender in trials.items() if contender}
    sizes = sorted({trial.train_size for _, trial in cells})
    families: list[tuple[int | None, list[int]]] = [(None, sizes)]
    families += [(size, [size]) for size in sizes] if len(sizes) > 1 else []
    rows = []
    for size, chosen in families:
        replicates = sweep_replicates(swept, strategy, chosen) if split == "test" else None
        table = tabulate(scores, counts, designs, ASSEMBLED, ITEM_DRAWS, chosen, metric_scale(metric), replicates)
        num_items = sum(map(len, next(iter(items.values())).ids)) if table.resampled else 0
        rows += _family(table, designs, split, size, num_items, level) if table.scores else []
    return rows


def _family(
    table: ScoreTable, designs: Mapping[str, Design], split: str, size: int | None, num_items: int, level: float
) -> list[Comparison]:
    """One row a control; a design that has several names is compared once."""
    names = table.representatives()
    differences = table.compare(list(names.values()))
    rows = []
    for name, design in designs.items():
        if name == ASSEMBLED:
            continue
        if name not in table.scores:
            overall = float(table.scores[ASSEMBLED].mean())
            rows.append(Comparison(name, design, split, size, overall, None, None, 0, 0, NO_SCORE))
            continue
        paired, (assembled, score) = differences.get(names[design]), table.means(name)
        claim = SAME_DESIGN if design == designs[ASSEMBLED] else comparison_claim(paired, level)
        items = num_items if name in (table.resampled or {}) else 0
        seeds = len(table.shared_seeds(name))
        rows.append(Comparison(name, design, split, size, assembled, score, paired, seeds, items, claim))
    return rows
