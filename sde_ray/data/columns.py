"""What a column of a user's data holds, told by its values: labels, numbers, spans of the text, free words, or nothing.

infer_kind([("high",), ("low",), (), ("high",)], texts)     -> "label"
infer_kind([("IL-2", "NF-kB"), ("gp41",)], texts)           -> "span": they stand in the texts
text_column(rows)                                           -> "body": the longest texts
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal

from sde_ray.data.answer_values import SEPARATORS, listed

Kind = Literal["label", "span", "number", "free"]
Values = tuple[str, ...]

TEXTS = (
    *("text", "sentence", "review", "content", "body", "message", "document", "ticket", "comment", "question"),
    *("utterance", "query", "prompt", "post", "tweet", "article", "abstract", "description", "input", "title"),
)
"""Names of a text's column, the likeliest first."""
NO_ANSWERS = {
    *(
        "",
        "unnamed: 0",
        "id",
        "ids",
        "uuid",
        "guid",
        "key",
        "index",
        "idx",
        "row",
        "number",
        "no",
        "nr",
        "split",
        "fold",
    ),
    *("date", "time", "timestamp", "datetime", "created", "updated", "year", "url", "uri", "link", "source", "file"),
    *("filename", "path", "page", "user", "username", "author", "name", "email", "phone", "address", "annotator"),
    *("lead_time", "worker", "language", "lang", "locale", "tokens", "length", "version", "rationale", "reason"),
    *("explanation", "why", "aliases", "meta", "metadata"),
}
"""Names of columns that are no answers."""
MOST_LABELS, LONGEST_LABEL, LONGEST_PART = 50, 60, 30
REPEATS = 2.5  # times that a label stands in the data, in the mean; free words hardly repeat
IN_TEXT = 0.95
NUMBERS_AS_LABELS = 12
ORDERS = (
    ("very low", "low", "medium", "moderate", "normal", "high", "very high", "urgent", "critical"),
    ("very negative", "negative", "neutral", "mixed", "positive", "very positive"),
    ("负面", "中性", "正面"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("bad", "poor", "fair", "ok", "good", "very good", "excellent"),
    ("no", "maybe", "yes"),
    ("false", "true"),
    ("small", "medium", "large"),
    ("minor", "major", "critical"),
    ("easy", "medium", "hard"),
)
"""Scales, from one end to the other: labels of one of them are listed in its order."""


def as_values(value: Any) -> Values | None:
    """A field's values as strings; empty for "not mentioned", None for what can be no value (an object)."""
    several = value if isinstance(value, list | tuple) else [] if value is None or value == "" else [value]
    if any(isinstance(one, list | tuple | Mapping) or one is None for one in several):
        return None
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in several)


def split_cells(column: Sequence[Values]) -> list[Values]:
    """The column with cells of several labels taken apart, "app; web" or a JSON list; as it is where none are.

    Cells with a separator hold labels if the parts are short, repeat, and are fewer than the cells' values, or one of
    them also stands alone.
    """
    cells = [tuple(part for value in row for part in listed(value)) for row in column]
    for separator in SEPARATORS:
        parted = [
            tuple(part.strip() for value in row for part in value.split(separator) if part.strip()) for row in cells
        ]
        parts = Counter(part for row in parted for part in row)
        whole = {value for row in cells for value in row}
        few = {*parts} != whole and (len(parts) < len(whole) or bool({*parts} & whole))
        if few and len(parts) <= MOST_LABELS and _repeat(parts) and max(map(len, parts), default=0) <= LONGEST_PART:
            return parted
    return cells


def is_number(value: str) -> bool:
    """Whether a value is a finite number."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def infer_kind(column: Sequence[Values], texts: Sequence[str]) -> Kind | None:
    """What the values of a column are; None for an empty one.

    Spans stand in the text of their row. Labels are short and repeat; few numbers are labels, many are numbers.
    """
    values = [value for row in column for value in row]
    counts = Counter(values)
    if not values:
        return None
    if all(map(is_number, counts)):
        whole = all(float(value).is_integer() for value in counts)
        return "label" if len(counts) <= NUMBERS_AS_LABELS and (whole or _repeat(counts)) else "number"
    if len(counts) > 2 and _share_in_text(column, texts) >= IN_TEXT:
        return "span"
    short = all(len(value) <= LONGEST_LABEL and "\n" not in value for value in counts)
    return "label" if short and len(counts) <= MOST_LABELS and (_repeat(counts) or len(counts) <= 3) else "free"


def _repeat(counts: Counter[str]) -> bool:
    return counts.total() >= REPEATS * len(counts)


def _share_in_text(column: Sequence[Values], texts: Sequence[str]) -> float:
    stand = [value in text for row, text in zip(column, texts, strict=True) for value in row]
    return sum(stand) / len(stand) if stand else 0.0


def is_answer_column(name: str, column: Sequence[Values]) -> bool:
    """Whether a column may hold answers: by its name, and not one value a row such as an id, nor one for all rows."""
    if name.casefold().strip() in NO_ANSWERS or name.casefold().endswith(("_id", "_at", "_url", "_date")):
        return False
    distinct = {row for row in column if row}
    return len(distinct) > 1


def text_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The column of the text: one that is called so, else the one with the longest strings; None where none has any.

    A column of few values is no text, but one that is called "text" is, however few it has.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    lengths = {name: _length(name, rows) for name in names}
    if not any(lengths.values()):
        plain = [name for name in names if name.casefold() == TEXTS[0] and _strings(name, rows)]
        return plain[0] if plain else None
    called = [name for word in TEXTS for name in names if name.casefold() == word and lengths[name] > 0]
    if called and lengths[called[0]] * 3 >= max(lengths.values()):
        return called[0]
    longest = max(names, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] > 0 else None


def _length(name: str, rows: Sequence[Mapping[str, Any]]) -> float:
    """The median length of a column's strings; 0 where most are none, or all the same."""
    strings = _strings(name, rows)
    if len(strings) < 0.8 * len(rows) or len({*strings}) * 2 < len(strings):
        return 0.0
    return median(map(len, strings))


def _strings(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row[name] for row in rows if isinstance(row.get(name), str) and row[name].strip()]


def ordered(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Labels in the order of a prompt: numbers and scales ascending, all others the commonest first."""
    if all(map(is_number, counts)):
        return tuple(sorted(counts, key=float))
    for scale in ORDERS:
        if all(label.casefold() in scale for label in counts):
            return tuple(sorted(counts, key=lambda label: scale.index(label.casefold())))
    return tuple(sorted(counts, key=lambda label: (-counts[label], label)))
