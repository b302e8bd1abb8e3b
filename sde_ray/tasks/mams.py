"""MAMS (Jiang et al. 2019): English restaurant sentences, each with two or more of eight aspects, rated differently.

The data are the user's copy of MAMS-ACSA, in its native XML.
"""

from __future__ import annotations

from sde_ray.tasks.bundled import user_data_only
from sde_ray.tasks.masa import INSTRUCTIONS, LABEL_DEFINITIONS, LABEL_WORDS, LABELS, METRICS, NUMBERS, WORDINGS
from sde_ray.types import PromptNouns, Task

SLOTS = ("food", "service", "staff", "price", "ambience", "menu", "place", "miscellaneous")
DEFINITIONS = {
    "food": "Dishes and drinks, and how they taste.",
    "service": "How guests are served, and how fast.",
    "staff": "The people who work there.",
    "price": "What it costs, and whether that is fair.",
    "ambience": "The mood, the rooms and the music.",
    "menu": "What is on offer, and the choice of it.",
    "place": "The restaurant as a whole, and where it is.",
    "miscellaneous": "Whatever is rated and none of the others.",
}


TASK = Task(
    name="mams",
    kind="label",
    language="en",
    slots=SLOTS,
    nouns=PromptNouns(text="sentence", slot="aspect", value="sentiment", rationale="reason"),
    instructions=INSTRUCTIONS,
    metrics=METRICS,
    objective="weighted_kappa",
    load=user_data_only("mams", "mams"),
    labels=LABELS,
    numbers=NUMBERS,
    placeholder="unmentioned",
    wordings=WORDINGS,
    definitions=DEFINITIONS | LABEL_DEFINITIONS,
    label_words=LABEL_WORDS,
)
