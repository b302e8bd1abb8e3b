"""What several models, tasks or sizes show together, as tables: how alike designs are ranked, each effect's sign."""

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


def across(found: CrossStudy) -> Group:
    """Rank correlations, then the effects with their sign in each group and what they share."""
    parts: list[Any] = [f"\n[bold]Consistency over {found.kind}[/] ({found.within})"]
    if found.agreements:
        parts += [agreements(found.agreements, short_names(found.groups)), ""]
    else:
        parts.append("No two of them have tried enough of the same designs to compare their rankings.")
    if found.rows:
        parts.append(signs(found.rows, found.groups))
    return Group(*parts)


def agreements(rows: list[RankAgreement], names: Mapping[str, str]) -> Table:
    """A pair of groups a row. `names`: what to call each."""
    numbers = ("designs", "Spearman", "95% interval", "Kendall", "its interval")
    shown = table("How alike designs are ranked", "", "and", *numbers, right=numbers)
    for row in rows:
        cells = [*_estimate(row.spearman), *_estimate(row.kendall)]
        shown.add_row(names[row.first], names[row.second], str(row.designs), *cells)
    return shown


def signs(rows: list[SharedEffect], groups: tuple[str, ...]) -> Table:
    """An option a row. In brackets: its interval holds zero."""
    shown = table(
        "Effects by sign; in brackets: the interval holds zero", "axis", "option", *short_names(groups).values(),
        "shared effect",
        "95% interval", "", right=("shared effect", "95% interval"),
    )  # fmt: skip
    for row in rows:
        marks = [row.signs.get(group, "–") for group in groups]
        shared = _estimate(row.shared) if row.shared else ["–", "–"]
        colour = COLOURS.get(row.verdict, "default")
        option = f"{row.option} [dim]({row.reference})[/]"
        shown.add_row(row.axis, option, *marks, *shared, f"[{colour}]{row.verdict}[/]")
    return shown


def _estimate(one: Estimate) -> list[str]:
    return [number(one.value, sign=True), interval(one.low, one.high)]
