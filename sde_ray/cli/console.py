"""Where commands print: results on stdout, everything about them on stderr, so that output can be piped."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160  # a table in a file or a pipe must not be folded to 80 columns


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `sde-ray axes | head`: app.py ends the command, without an error


def out() -> Console:
    """Standard output; made anew for each use, so that tests and pipes may replace the stream."""
    return _Output(width=_width(sys.stdout))


def err() -> Console:
    """Standard error."""
    return _Output(stderr=True, width=_width(sys.stderr))


def _width(stream: Any) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH


def emit(value: Any) -> None:
    """Print a value as JSON on stdout, for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "item"):  # a numpy number
        return value.item()
    return list(value) if isinstance(value, (set, frozenset, tuple)) else str(value)


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table in the one look of all commands; the columns in `right` hold numbers."""
    empty = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", box=None)
    empty.pad_edge = False
    for column in columns:
        empty.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return empty


def number(value: float | None, sign: bool = False) -> str:
    """A score for a table, with three digits; a dash where there is none."""
    if value is None or value != value:
        return "–"
    value = round(value, 3) + 0.0  # no "-0.000"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """A 95% interval for a table; "unknown" where too few trials could tell the noise."""
    from sde_ray.analysis.estimate import format_interval

    return format_interval(low, high) or "unknown"
