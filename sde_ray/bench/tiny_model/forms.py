"""Random surface forms for the pretraining text of the embedded base model.

A form writes (slot, values, why) rows as text, in shapes of which the designs' own shapes are a few among many, with
keys, delimiters and label words drawn at random. The label words of the bundled tasks (`positive`, `negative`, ...) are
never drawn: a base that had read them as answers would need no tuning.

    Form(...).rows([("food", ("good",), "the soup was fresh")])  ->  'food: good' | '{"aspect": "food", ...}' | ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

Row = tuple[str, tuple[str, ...], str]

# (good, bad, fair, absent)
LABEL_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("good", "bad", "mixed", "absent"),
    ("happy", "unhappy", "lukewarm", "silent"),
    ("praise", "blame", "shrug", "nothing"),
    ("liked", "disliked", "undecided", "not said"),
    ("pro", "contra", "balanced", "none"),
    ("favourable", "unfavourable", "moderate", "no mention"),
    ("up", "down", "flat", "missing"),
    ("strong", "weak", "medium", "empty"),
    ("yes", "no", "maybe", "unknown"),
    ("win", "fail", "draw", "skip"),
    ("plus", "minus", "even", "blank"),
    ("5", "1", "3", "0"),
    ("2", "0", "1", "-"),
    ("10", "2", "5", "-1"),
    ("+", "-", "~", "?"),
)

_KEYS = {
    "slot": ("aspect", "topic", "type", "name", "field", "item", "key"),
    "value": ("rating", "mark", "value", "found", "verdict", "result", "score"),
    "why": ("because", "evidence", "quote", "note", "basis"),
}
_LINKS = (": ", ": ", ": ", " = ", " - ", " is ", " -> ")
_SHAPES = (
    ("natural", 6), ("natural_semicolon", 3), ("lines", 6), ("bullets", 1),
    ("json_rows", 6), ("json_object", 1), ("pairs", 2), ("table", 1),
)  # fmt: skip
WHY_ORDERS = (("none", 6), ("first", 2), ("last", 2))


def draw(random: Random, weighted: Sequence[tuple[str, float]]) -> str:
    """One name, by weight."""
    return random.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]


@dataclass(frozen=True)
class Form:
    """One way to write rows; `why`: none, first (before the value) or last."""

    shape: str
    link: str
    keys: tuple[str, str, str]
    why: str
    many: bool

    @staticmethod
    def draw(random: Random, many: bool, shapes: Sequence[tuple[str, float]] = _SHAPES, plain: bool = False) -> Form:
        link = ": " if plain or random.random() < 0.5 else random.choice(_LINKS)
        keys = tuple(random.choice(_KEYS[sort]) for sort in ("slot", "value", "why"))
        return Form(draw(random, shapes), link, keys, "none" if plain else draw(random, WHY_ORDERS), many)  # type: ignore[arg-type]

    def _text(self, row: Row) -> str:
        slot, values, why = row
        value = ", ".join(values)
        if self.why == "first":
            return f"{slot}{self.link}{why} => {value}"
        return f"{slot}{self.link}{value} <= {why}" if self.why == "last" else f"{slot}{self.link}{value}"

    def _json(self, row: Row) -> str:
        slot, values, why = row
        value: object = list(values) if self.many else values[0]
        pairs: list[tuple[str, object]] = [(self.keys[0], slot), (self.keys[1], value)]
        if self.why != "none":
            pairs.insert(1 if self.why == "first" else 2, (self.keys[2], why))
        return json.dumps(dict(pairs), ensure_ascii=False)

    def rows(self, rows: Sequence[Row], more: bool = False) -> str:
        """The rows as text; `more` ends them with dots, as a schematic does."""
        dots = ["..."] if more else []
        if self.shape == "json_rows":
            return "\n".join([self._json(r) for r in rows] + dots)
        if self.shape == "json_object":
            return json.dumps({slot: list(v) if self.many else v[0] for slot, v, _ in rows}, ensure_ascii=False)
        if self.shape == "pairs":
            return "\n".join([json.dumps([s, v], ensure_ascii=False) for s, vs, _ in rows for v in vs] + dots)
        if self.shape == "table":
            return "\n".join([f"{s} | {', '.join(v)}" for s, v, _ in rows] + dots)
        texts = [self._text(r) for r in rows] + dots
        if self.shape == "lines":
            return "\n".join(texts)
        if self.shape == "bullets":
            return "\n".join(f"- {text}" for text in texts)
        separator = "; " if self.many or self.shape == "natural_semicolon" else ", "
        return separator.join(texts) + ("" if more else ".")
