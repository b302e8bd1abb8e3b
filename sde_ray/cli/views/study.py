"""What the trials of one study show, as tables: leaderboard, effects, interactions, Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sde_ray.analysis.legend import legend
from sde_ray.analysis.report.curation import useless_teachers
from sde_ray.cli.console import interval, number, table

if TYPE_CHECKING:
    from sde_ray.analysis.effects import Interaction
    from sde_ray.analysis.leaderboard import RankedDesign
    from sde_ray.analysis.pareto import ParetoPoint
    from sde_ray.analysis.study import Study
    from sde_ray.types import TrialResult

SHOWN_DESIGNS, SHOWN_INTERACTIONS = 10, 5


def study_view(study: Study) -> Group:
    """Everything that the trials of one task, model and training size show."""
    parts: list[Any] = [f"\n[bold]{study.group}[/]", leaderboard_table(study.ranked, study.objective)]
    if study.ranked:
        parts.append(f"[dim]{legend(row.design for row in study.ranked[:SHOWN_DESIGNS])}[/]")
    if study.best_vs_baseline:
        parts.append(escape(study.best_vs_baseline.summary))
    if study.effects:
        parts += ["", effects_table(study.effects, study.objective), f"[dim]{escape(study.scope)}[/]"]
    elif study.ranked:
        parts.append("No axis has two options in the finished trials, so there is no effect to show.")
    clear = [pair for pair in study.interactions if pair.clear]
    if clear:
        parts += ["", interactions_table(clear[:SHOWN_INTERACTIONS])]
    parts += ["", *failures(study.results), *excluded(study), *map(escape, useless_teachers(study.results))]
    return Group(*parts)


def leaderboard_table(ranked: Sequence[RankedDesign], metric: str, n: int = SHOWN_DESIGNS) -> Table:
    """Designs by their shrunken mean score over seeds."""
    out_of_domain = any(row.ood is not None for row in ranked)
    columns = [
        "#",
        "design",
        metric,
        "expected",
        *(["out of domain"] if out_of_domain else []),
        "format ok",
        "tokens",
        "seconds",
        "trials",
    ]
    title = f"Leaderboard, the best {min(n, len(ranked))} of {len(ranked)} designs"
    designs = table(title, *columns, right=tuple(column for column in columns if column != "design"))
    for rank, row in enumerate(ranked[:n], 1):
        ood = [number(row.ood)] if out_of_domain else []
        cost = [f"{row.tokens:.0f}", f"{row.seconds:.0f}", str(row.trials)]
        designs.add_row(
            str(rank), row.label, number(row.score), number(row.expected), *ood, _percent(row.adherence), *cost
        )
    return designs


def effects_table(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Rows of `analysis.effects.effect_table`; coloured: the interval excludes zero."""
    out_of_domain = any(row["difference_ood"] is not None for row in rows)
    numbers = ["effect", "95% interval", *(["out of domain", "its interval"] if out_of_domain else []), "trials"]
    title = f"Effects on {metric}, against the option in brackets"
    options = table(title, "axis", "option", *numbers, "says", "interacts with", right=tuple(numbers))
    for row in rows:
        cells = [str(row["axis"]), f"{row['option']} [dim]({row['reference']})[/]"]
        cells += _estimate(row["difference"], row["low"], row["high"])
        if out_of_domain:
            cells += _estimate(row["difference_ood"], row["low_ood"], row["high_ood"])
        options.add_row(*cells, str(row["replicates"]), str(row["claim"]), str(row["interacts"]))
    return options


def pareto_table(points: Sequence[ParetoPoint], metric: str) -> Table:
    """Designs that no other one beats in both score and output tokens, the cheapest first."""
    numbers = ("output tokens", metric, "gain", "95% interval", "format ok")
    designs = table("Worth their price: no design is both shorter and better", "design", *numbers, right=numbers)
    for point in points:
        gain = (
            [number(point.gain.value, sign=True), interval(point.gain.low, point.gain.high)] if point.gain else ["", ""]
        )
        designs.add_row(
            point.row.label, f"{point.tokens:.1f}", number(point.row.score), *gain, _percent(point.row.adherence)
        )
    return designs


def interactions_table(pairs: Sequence[Interaction]) -> Table:
    """Interactions: pairs of options whose joint effect is not the sum of both effects."""
    numbers = ("effect", "95% interval")
    options = table("Together, beyond the sum of both", "option", "with", *numbers, right=numbers)
    for pair in pairs:
        names = [f"{axis}={option}" for axis, option in zip(pair.axes, pair.options, strict=True)]
        options.add_row(*names, *_estimate(pair.difference, pair.low, pair.high))
    return options


def failures(results: Sequence[TrialResult]) -> list[str]:
    """One line for each error that ended trials, with their number."""
    counts: dict[str, int] = {}
    for result in results:
        if result.status == "failed":
            error = result.error.splitlines()[0] if result.error else "no reason given"
            counts[error] = counts.get(error, 0) + 1
    return [f"[red]{count} failed:[/] {escape(error)}" for error, count in counts.items()]


def excluded(study: Study) -> list[str]:
    """One line for each reason why trials that did not fail are in no table."""
    from sde_ray.analysis.effects import non_finite_results

    non_finite = non_finite_results(study.results, study.objective, study.split)
    pruned = sum(result.status == "pruned" for result in study.results)
    lines = (
        [f"[red]{len(non_finite)} left out:[/] their {study.objective} is not a finite number."] if non_finite else []
    )
    return lines + ([f"{pruned} pruned on their score, and not in the effects."] if pruned else [])


def _estimate(difference: float | None, low: float | None, high: float | None) -> list[str]:
    text, bounds = number(difference, sign=True), interval(low, high) if difference is not None else "–"
    if difference is None or low is None or high is None or low <= 0 <= high:
        return [text, bounds]
    return [f"[{'green' if low > 0 else 'red'}]{text}[/]", bounds]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
