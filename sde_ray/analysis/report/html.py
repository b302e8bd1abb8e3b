"""HTML by functions: every text is escaped unless it is already `Html`, so no model output can become markup.

tag("td", row.completion, class_="text")  ->  Html('<td class="text">&lt;script&gt;...</td>')
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sde_ray.safe_text import REPLACEMENT, UNSHOWN

VOID = {"meta", "img", "br", "line", "circle", "rect", "path"}


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(value: object) -> Html:
    """A value as text. Control characters, lone surrogates and marks that turn the reading direction become �."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(UNSHOWN.sub(REPLACEMENT, str(value)), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. `class_` is class, `stroke_width` stroke-width; attributes of None are left out."""
    values = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    text = "".join(f' {key}="{escape(value)}"' for key, value in values.items())
    if name in VOID and not children:
        return Html(f"<{name}{text}/>")
    return Html(f"<{name}{text}>{joined(children)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """The concatenation of parts, escaped; None is left out."""
    return Html("".join(escape(part) for part in parts if part is not None))


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], caption: str = "") -> Html:
    """A table that scrolls by itself. `columns`: title -> key of the rows; numbers are right-aligned."""
    head = tag("tr", *(tag("th", title, class_=_kind(rows, key), scope="col") for title, key in columns.items()))
    body = [tag("tr", *(tag("td", _shown(row.get(key)), class_=_kind(rows, key)) for key in columns.values()),
                class_=row.get("class_")) for row in rows]  # fmt: skip
    named = tag("caption", caption) if caption else None
    whole = tag("table", named, tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption or "table")


def _kind(rows: Sequence[Mapping[str, Any]], key: str) -> str | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    if values and all(_numeric(value) for value in values):
        return "number"
    return "long" if any(len(value) > 30 for value in values if isinstance(value, str)) else None


def _numeric(value: object) -> bool:
    if isinstance(value, int | float):
        return True
    return isinstance(value, str) and not isinstance(value, Html) and bool(re.match(r"[+\-−]?\d|\[", value))


def _shown(value: object) -> object:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else value
