"""A strategy and its verdict as tables: an option an axis with its reason; a control a row with its interval."""

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


def strategy(found: Strategy) -> Group:
    """The design, why each option stands in it, and what it is expected to score."""
    from sde_ray.analysis.strategy import strategy_table
    from sde_ray.design.designs import paper_label

    shown = table("", "axis", "option", "paper's name", "why")
    for row in strategy_table(found):
        why = row["reason"].removeprefix(row["option"]).lstrip(":, ")
        shown.add_row(row["axis"], row["option"], row["label"], escape(why))
    title = f"[bold]Assembled strategy:[/] {escape(paper_label(found.design))}"
    return Group(title, f"expected {found.objective} on dev items: {number(found.predicted)}\n", shown)


def verdict(found: Verdict) -> Group:
    """The comparisons, split by split, and what they amount to."""
    from sde_ray.design.designs import paper_label

    numbers = ("assembled", "control ", "difference", "95% interval")
    shown = table(f"Final comparison on {found.objective}, fresh seeds and test items", "test", "control", "design",
                  *numbers, "the assembled is", right=numbers)  # fmt: skip
    for split, name in SPLITS.items():
        for row in found.overall(split):
            paired = row.paired
            values = [number(row.assembled), number(row.score)]
            values += [number(paired.difference, True), interval(paired.low, paired.high)] if paired else ["–", "–"]
            colour = COLOURS.get(row.claim, "default")
            shown.add_row(name, row.control, paper_label(row.design), *values, f"[{colour}]{row.claim}[/]")
    return Group(shown, f"\n[bold]Verdict:[/] {escape(found.summary)}")
