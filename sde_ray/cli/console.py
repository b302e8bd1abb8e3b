"""Where commands print: results on stdout, everything about them on stderr, so that output can be piped.

What is printed comes from YAML files, models, servers and other people's folders: control characters are shown as �, so
that none of it can act on the terminal, and values of secrets as ***.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sde_ray.safe_text import UNSHOWN, mask_values, printable, redact

PIPED_WIDTH = 160  # a table in a file or a pipe must not be folded to 80 columns


class _Output(Console):
    def render_str(self, text: str, *args: Any, **options: Any) -> Text:
        return super().render_str(printable(mask_values(text)), *args, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):  # rich's own codes are no part of a segment's text
            yield segment if segment.control else segment._replace(text=printable(segment.text))

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
    """Print a value as JSON on stdout, for programs; control characters are written as \\u escapes."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=_plain)
    print(UNSHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def write_plainly(text: str) -> None:
    """Write a text from elsewhere to stderr: a warning, a traceback."""
    sys.stderr.write(printable(redact(text)))


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
