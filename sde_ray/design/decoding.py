"""The axis `decoding`: how the tokens of a completion are chosen. It changes no sample and no training.

    greedy        the likeliest token each time
    constrained   the likeliest of those that the design's grammar allows (`answer_grammar.py`, `models/constrained.py`)

A completion that greedy decoding writes without a fault stays the same, so only the others change: adherence rises, and
the score where the model knew the answer but not its form. Published for prompted models, where it is cheap and most of
what a format costs comes from asking for it (The Format Tax, arXiv 2604.03616; Let Me Speak Freely, 2408.02442); SLOT
(2505.04016) has 99.5% valid answers with it. The form is learned in training, so expect nothing of a well trained
design, and much of a badly trained one.
"""

from __future__ import annotations

from sde_ray.design.base import AnswerOption, Axis

CONSTRAINED = "constrained"

DECODING = Axis(
    "decoding",
    default="greedy",
    options={"greedy": AnswerOption("Greedy"), CONSTRAINED: AnswerOption("Constrained")},
    optional=True,
)
