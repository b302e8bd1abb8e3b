"""The tables that several commands print: leaderboard, effects, interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sde_ray.cli.console import interval, number, table

if TYPE_CHECKING:
    from sde_ray.analysis.effects import Interaction
    from sde_ray.analysis.leaderboard import RankedDesign
    from sde_ray.analysis.pareto import ParetoPoint
    from sde_ray.analysis.study import Study
    from sde_ray.types import TrialResult

PAIRS = 5  # interactions shown


def study(found: Study) -> Group:
    """Everything that the trials of one task, model and size show."""
    parts: list[Any] = [f"\n[bold]{found.group}[/]", leaderboard(found.ranked, found.objective)]
    if found.best_vs_baseline:
        parts.append(escape(found.best_vs_baseline.summary))
    if found.effects:
        parts += ["", effects(found.effects, found.objective), f"[dim]{escape(found.scope)}[/]"]
    elif found.ranked:
        parts.append("No axis has two options in the finished trials, so there is no effect to show.")
    shown = [pair for pair in found.interactions if pair.low is not None and not pair.low <= 0 <= (pair.high or 0.0)]
    if shown:
        parts += ["", interactions(shown[:PAIRS])]
    parts += ["", *failures(found.results), *left_out(found)]
    return Group(*parts)


def leaderboard(ranked: Sequence[RankedDesign], metric: str, n: int = 10) -> Table:
    """Designs by their mean score over seeds."""
    away = any(row.ood is not None for row in ranked)
    columns = ["#", "design", metric, *(["out of domain"] if away else []), "format ok", "tokens", "seconds", "trials"]
    title = f"Leaderboard, the best {min(n, len(ranked))} of {len(ranked)} designs"
    shown = table(title, *columns, right=tuple(column for column in columns if column != "design"))
    for place, row in enumerate(ranked[:n], 1):
        ood = [number(row.ood)] if away else []
        cost = [f"{row.tokens:.0f}", f"{row.seconds:.0f}", str(row.trials)]
        shown.add_row(str(place), row.label, number(row.score), *ood, _percent(row.adherence), *cost)
    return shown


def effects(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Rows of `effects.table`; an interval without zero, in colour, is an effect that the trials can show."""
    away = any(row["difference_ood"] is not None for row in rows)
    numbers = ["effect", "95% interval", *(["out of domain", "its interval"] if away else []), "trials"]
    title = f"Effects on {metric}, against the option in brackets"
    shown = table(title, "axis", "option", *numbers, "says", "interacts with", right=tuple(numbers))
    for row in rows:
        cells = [str(row["axis"]), f"{row['option']} [dim]({row['reference']})[/]"]
        cells += _estimate(row["difference"], row["low"], row["high"])
        if away:
            cells += _estimate(row["difference_ood"], row["low_ood"], row["high_ood"])
        shown.add_row(*cells, str(row["replicates"]), str(row["claim"]), str(row["interacts"]))
    return shown


def pareto(steps: Sequence[ParetoPoint], metric: str) -> Table:
    """Designs that no other one beats in both score and output tokens, the cheapest first."""
    numbers = ("output tokens", metric, "gain", "95% interval", "format ok")
    shown = table("Worth their price: no design is both shorter and better", "design", *numbers, right=numbers)
    for step in steps:
        gain = [number(step.gain.value, sign=True), interval(step.gain.low, step.gain.high)] if step.gain else ["", ""]
        shown.add_row(step.row.label, f"{step.tokens:.1f}", number(step.row.score), *gain, _percent(step.row.adherence))
    return shown


def interactions(pairs: Sequence[Interaction]) -> Table:
    """Pairs of options whose joint effect is not the sum of their own."""
    numbers = ("effect", "95% interval")
    shown = table("Together, beyond the sum of both", "option", "with", *numbers, right=numbers)
    for pair in pairs:
        names = [f"{axis}={option}" for axis, option in zip(pair.axes, pair.options, strict=True)]
        shown.add_row(*names, *_estimate(pair.difference, pair.low, pair.high))
    return shown


def failures(results: Sequence[TrialResult]) -> list[str]:
    """One line an error that ended trials, with how many."""
    counts: dict[str, int] = {}
    for result in results:
        if result.status == "failed":
            first = result.error.splitlines()[0] if result.error else "no reason given"
            counts[first] = counts.get(first, 0) + 1
    return [f"[red]{count} failed:[/] {escape(error)}" for error, count in counts.items()]


def left_out(found: Study) -> list[str]:
    """One line for the trials that count nowhere, although they did not fail."""
    from sde_ray.analysis.effects import non_finite_results

    odd, pruned = (
        non_finite_results(found.results, found.objective, found.split),
        sum(r.status == "pruned" for r in found.results),
    )
    said = [f"[red]{len(odd)} left out:[/] their {found.objective} is not a finite number."] if odd else []
    return said + ([f"{pruned} pruned on their score, and not in the effects."] if pruned else [])


def _estimate(difference: float | None, low: float | None, high: float | None) -> list[str]:
    text, bounds = number(difference, sign=True), interval(low, high) if difference is not None else "–"
    if difference is None or low is None or high is None or low <= 0 <= high:
        return [text, bounds]
    return [f"[{'green' if low > 0 else 'red'}]{text}[/]", bounds]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
