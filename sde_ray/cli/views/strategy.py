"""A strategy and its verdict as tables: each axis with its option and the reason, each control with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape

from sde_ray.cli.console import interval, number, table

if TYPE_CHECKING:
    from sde_ray.analysis.strategy import Strategy
    from sde_ray.analysis.verdict import Verdict

COLOURS = {"better": "green", "worse": "red"}
SPLITS = {"test": "in-domain", "test_ood": "out-of-domain"}


def strategy_view(strategy: Strategy) -> Group:
    """The assembled design, the reason for each option, and the expected score."""
    from sde_ray.analysis.strategy import strategy_table
    from sde_ray.design.designs import paper_label

    options = table("", "axis", "option", "paper's name", "why")
    for row in strategy_table(strategy):
        reason = row["reason"].removeprefix(row["option"]).lstrip(":, ")
        options.add_row(row["axis"], row["option"], row["label"], escape(reason))
    title = f"[bold]Assembled strategy:[/] {escape(paper_label(strategy.design))}"
    expected = f"expected {strategy.objective} on dev items: {number(strategy.predicted)}"
    note = f" [dim]({escape(strategy.selection)})[/]" if strategy.selection else ""
    warning = [f"[yellow]{escape(strategy.warning)}[/] The default of every axis is kept."] if strategy.warning else []
    ranking = [f"\n{escape(strategy.ranking)}"] if strategy.ranking else []
    return Group(title, *warning, f"{expected}{note}\n", options, *ranking)


def verdict_view(verdict: Verdict) -> Group:
    """The paired comparisons with the controls, split by split, and the verdict in words."""
    from sde_ray.design.designs import paper_label

    numbers = ("seeds", "assembled", "control ", "difference", "95% interval", "output tokens")
    look = f"look {verdict.look}, claims at level {verdict.level:g}"
    title = f"Final comparison on {verdict.objective}, fresh seeds and test items ({look})"
    controls = table(title, "test", "control", "design", *numbers, "the assembled is", "so", right=numbers)
    for split, name in SPLITS.items():
        for row in verdict.overall(split):
            paired = row.paired
            values = [str(row.seeds), number(row.assembled), number(row.score)]
            values += [number(paired.difference, True), interval(paired.low, paired.high)] if paired else ["–", "–"]
            values.append(f"{_tokens(verdict.cost.tokens)} / {_tokens(row.cost.tokens)}")
            colour = COLOURS.get(row.claim, "default")
            controls.add_row(
                name, row.control, paper_label(row.design), *values, f"[{colour}]{row.claim}[/]", row.action
            )
    action = [f"[bold]What to do:[/] {escape(verdict.action)}"] if verdict.action else []
    return Group(controls, f"\n[bold]Verdict:[/] {escape(verdict.summary)}", *action)


def _tokens(count: float | None) -> str:
    return "–" if count is None else f"{count:.0f}"
