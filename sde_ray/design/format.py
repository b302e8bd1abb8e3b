"""The axis `format`: how all lines of an answer become one text, and back.

The lines (food, positive), (price, absent) of an English task read
    natural   food: positive, price: unmentioned.
    lines     food: positive
              price: unmentioned
    json      {"aspect": "food", "sentiment": "positive"}
              {"aspect": "price", "sentiment": "unmentioned"}
    pairs     ["food", "positive"]
              ["price", "unmentioned"]
and with lists of spans
    natural   DNA: IL-2 gene, kappa B site; RNA: none.
    lines     DNA: IL-2 gene, kappa B site
              RNA: none
    json      {"type": "DNA", "entity": ["IL-2 gene", "kappa B site"]}
              {"type": "RNA", "entity": []}
    pairs     ["DNA", "IL-2 gene"]
              ["DNA", "kappa B site"]
              ["RNA", null]
A rationale stands before the value (`food: tasty soup => positive`) or after it (`food: positive <= tasty soup`).
"""

from __future__ import annotations

from sde_ray.design.base import Axis
from sde_ray.design.format_json import JSON, PAIRS
from sde_ray.design.format_text import LINES, NATURAL

FORMAT = Axis("format", default="natural", options={"natural": NATURAL, "lines": LINES, "json": JSON, "pairs": PAIRS})
