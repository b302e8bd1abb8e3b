"""Validation by paired comparison: is the assembled design really better, on fresh seeds and test items?

    verdict = judge_validation(strategy, trials, results_by_key, folder / "trials")
    verdict.summary  "Better than baseline (+0.121 [+0.080, +0.163]) ... No difference shown against best seen ..."

`trials` are those of `pipeline/validation_trials.py`: {"assembled": [TrialConfig, ...], "baseline": ...}, on seeds and
items that no selection has seen.

Options that win one by one may not add up, and the best of many trials was partly lucky (selection bias): so the
assembled design is compared with the best design seen, the baseline and the paper's designs. "Better" is said only
where the 95% confidence interval of the paired difference lies above 0 and Holm's correction over the controls agrees.
A verdict without a winner is a result, too.

Only here is the `test` split read. Its scores have split names that selection refuses (`strategy.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sde_ray.analysis.paired import Key, ScoreTable, tabulate
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import (
    ASSEMBLED,
    SAME_DESIGN,
    Comparison,
    Verdict,
    comparison_claim,
    make_verdict,
)
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, read_items_by_trial
from sde_ray.types import Design, TrialResult

SPLITS = ("test", "test_ood")
ITEM_DRAWS = 2000

Trials = Mapping[str, Sequence[TrialConfig]]


def judge_validation(
    strategy: Strategy, trials: Trials, results: Mapping[str, TrialResult], folder: Path | None = None
) -> Verdict:
    """Paired comparison of the assembled design with every control, on the test splits.

    Args:
        strategy: the assembled design and the metric that decides.
        trials: by contender, as `validation_trials` made them.
        results: by trial key; trials that are missing or did not finish are left out.
        folder: holds the trials' folders, whose completions give the noise of the items and narrow the intervals.

    Raises:
        UserError: when no trial of the assembled design has finished.
    """
    keys = {trial.key for contender in trials.values() for trial in contender}
    chosen = [result for key, result in results.items() if key in keys]
    items = (
        {split: read_items_by_trial(chosen, folder, split, strategy.objective) for split in SPLITS} if folder else {}
    )
    return judge_items(strategy, trials, results, items)


def judge_items(
    strategy: Strategy,
    trials: Trials,
    results: Mapping[str, TrialResult],
    items: Mapping[str, Mapping[str, ItemCounts]],
) -> Verdict:
    """The same with the items already read: split -> trial key -> counts by item."""
    finished = {key: result for key, result in results.items() if result.status == "finished"}
    rows: list[Comparison] = []
    for split in SPLITS:
        rows += _comparisons(trials, finished, items.get(split, {}), split, strategy.objective)
    if not any(row.assembled is not None for row in rows):
        raise UserError("The final comparison has no finished trial of the assembled design. Run `sde-ray validate`.")
    return make_verdict(strategy, rows)


def _comparisons(
    trials: Trials, finished: Mapping[str, TrialResult], items: Mapping[str, ItemCounts], split: str, metric: str
) -> list[Comparison]:
    """All comparisons on a split: over all sizes, then by size where there are several."""
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
        table = tabulate(scores, counts, designs, ASSEMBLED, ITEM_DRAWS, chosen)
        num_items = sum(map(len, next(iter(items.values())).ids)) if table.resampled else 0
        rows += _family(table, designs, split, size, num_items) if table.scores else []
    return rows


def _family(
    table: ScoreTable, designs: Mapping[str, Design], split: str, size: int | None, num_items: int
) -> list[Comparison]:
    """One row a control; a design that has several names is compared once."""
    names = table.representatives()
    differences = table.compare(list(names.values()))
    assembled = float(table.scores[ASSEMBLED].mean())
    rows = []
    for name, design in designs.items():
        if name == ASSEMBLED:
            continue
        score = float(table.scores[name].mean()) if name in table.scores else None
        paired = None if score is None else differences.get(names[design])
        claim = SAME_DESIGN if design == designs[ASSEMBLED] else comparison_claim(paired)
        seeds = len(table.seeds)
        rows.append(Comparison(name, design, split, size, assembled, score, paired, seeds, num_items, claim))
    return rows
