"""The tables that several commands print: leaderboard, effects, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from sde_ray.cli.console import interval, number, table
from sde_ray.types import TrialResult


def leaderboard(ranked: Sequence[Any], metric: str, n: int = 10) -> Table:
    """Designs by their mean score over seeds; `ranked` are rows of `flow.leaderboard`."""
    away = any(row.ood is not None for row in ranked)
    numbers = ("#", metric, "out of domain", "format ok", "tokens", "trials")
    columns = ["#", "design", metric, *(["out of domain"] if away else []), "format ok", "tokens", "trials"]
    title = f"Leaderboard: the best {min(n, len(ranked))} of {len(ranked)} designs"
    shown = table(title, *columns, right=numbers)
    for place, row in enumerate(ranked[:n], 1):
        ood = [number(row.ood)] if away else []
        shown.add_row(
            str(place),
            row.label,
            number(row.score),
            *ood,
            _percent(row.adherence),
            f"{row.tokens:.0f}",
            str(row.trials),
        )
    return shown


def effects(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Rows of `effects.table`; an interval without zero is an effect that the trials can show."""
    away = any(row["difference_ood"] is not None for row in rows)
    extra = ["out of domain", "95% interval "] if away else []
    shown = table(
        f"Effects on {metric}, against the option in brackets",
        *("axis", "option", "effect", "95% interval", *extra, "trials"),
        right=("effect", "95% interval", "out of domain", "95% interval ", "trials"),
    )
    for row in rows:
        cells = [str(row["axis"]), f"{row['option']} [dim]({row['reference']})[/]"]
        cells += [_coloured(row["difference"], row["low"], row["high"]), interval(row["low"], row["high"])]
        if away:
            low, high = row["low_ood"], row["high_ood"]
            cells += [_coloured(row["difference_ood"], low, high), interval(low, high)]
        shown.add_row(*cells, str(row["replicates"]))
    return shown


def _coloured(difference: float | None, low: float | None, high: float | None) -> str:
    text = number(difference, sign=True)
    if low is None or high is None or low <= 0 <= high:
        return text
    return f"[{'green' if low > 0 else 'red'}]{text}[/]"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def failures(results: Sequence[TrialResult]) -> list[str]:
    """One line an error that ended trials, with how many."""
    counts: dict[str, int] = {}
    for result in results:
        if result.status == "failed":
            first = result.error.splitlines()[0] if result.error else "no reason given"
            counts[first] = counts.get(first, 0) + 1
    return [f"{count} failed: {error}" for error, count in counts.items()]
