"""Several models, tasks or sizes compared, as tables: rank correlation of the designs, sign of each effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group

from sde_ray.analysis.cross_study import short_names
from sde_ray.cli.console import interval, number, table

if TYPE_CHECKING:
    from rich.table import Table

    from sde_ray.analysis.cross_study import CrossStudy, SharedEffect
    from sde_ray.analysis.estimate import Estimate
    from sde_ray.analysis.rank_agreement import RankAgreement

COLOURS = {"all agree": "green", "they contradict each other": "red"}


def cross_study_view(comparison: CrossStudy) -> Group:
    """Rank correlations, then the effects with their sign in each group and what they share."""
    parts: list[Any] = [f"\n[bold]Consistency over {comparison.kind}[/] ({comparison.within})"]
    if comparison.agreements:
        parts += [agreements_table(comparison.agreements, short_names(comparison.groups)), ""]
    else:
        parts.append("No two of them have tried enough of the same designs to compare their rankings.")
    if comparison.rows:
        parts.append(signs_table(comparison.rows, comparison.groups))
    return Group(*parts)


def agreements_table(rows: list[RankAgreement], names: Mapping[str, str]) -> Table:
    """Rank correlations, a pair of groups a row. `names`: the label of each group."""
    numbers = ("designs", "Spearman", "95% interval", "Kendall", "its interval")
    pairs = table("How alike designs are ranked", "", "and", *numbers, right=numbers)
    for row in rows:
        cells = [*_estimate(row.spearman), *_estimate(row.kendall)]
        pairs.add_row(names[row.first], names[row.second], str(row.designs), *cells)
    return pairs


def signs_table(rows: list[SharedEffect], groups: tuple[str, ...]) -> Table:
    """Signs of effects, an option a row. In brackets: its interval holds zero."""
    effects = table(
        "Effects by sign; in brackets: the interval holds zero", "axis", "option", *short_names(groups).values(),
        "shared effect",
        "95% interval", "", right=("shared effect", "95% interval"),
    )  # fmt: skip
    for row in rows:
        signs = [row.signs.get(group, "–") for group in groups]
        shared = _estimate(row.shared) if row.shared else ["–", "–"]
        colour = COLOURS.get(row.verdict, "default")
        option = f"{row.option} [dim]({row.reference})[/]"
        effects.add_row(row.axis, option, *signs, *shared, f"[{colour}]{row.verdict}[/]")
    return effects


def _estimate(estimate: Estimate) -> list[str]:
    return [number(estimate.value, sign=True), interval(estimate.low, estimate.high)]
