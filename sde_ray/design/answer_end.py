"""When a completion may end early: its answer is settled, and what a model writes on is read as a fault whatever it is.

    end = answer_end(task, design)
    end.is_settled("food: positive\\nprice: negative\\nfood: ")                  False: so far it has no fault
    end.is_settled("food: positive\\nprice: negative\\nfood: positive\\nfood")    True, if these two are all slots

It also carries the grammar of the answers to where they are decoded, if the design constrains them.

A model that never ends its answers so takes a few tokens more than one that does. A completion without a fault is never
cut: neither an answer nor a score changes, only what follows a settled answer is not written. With `reasoning=rcot_cut`
that is all of the rationales.
"""

from __future__ import annotations

from dataclasses import dataclass

from sde_ray.design.answer_grammar import answer_grammar
from sde_ray.design.axes import AXES
from sde_ray.design.base import FormatOption
from sde_ray.design.decoding import CONSTRAINED, DECODING
from sde_ray.design.output_form import OutputForm
from sde_ray.design.rationale_block import STOP, answer_so_far
from sde_ray.design.render import form_of, option_of
from sde_ray.types import Design, Task


@dataclass(frozen=True)
class AnswerEnd:
    """The end of a task's answers in a design, as plain values, for a worker that knows neither.

    `grammar`: what a completion must be in; empty: it is free.
    """

    format: str
    slots: tuple[str, ...]
    form: OutputForm
    grammar: str = ""

    def is_settled(self, text: str) -> bool:
        """Whether no continuation of an unfinished completion changes its answer; it has a fault, or is cut there."""
        if self.stop and self.stop in text:
            return True
        option, answer = AXES["format"].options.get(self.format), answer_so_far(text, self.form)
        return isinstance(option, FormatOption) and bool(answer) and option.settled(answer or "", self.slots, self.form)

    @property
    def stop(self) -> str:
        """The text that a completion ends with, as what follows is not read; empty where there is none."""
        return STOP if self.form.rationale_block == "last" else ""


def answer_end(task: Task, design: Design, text: str = "") -> AnswerEnd | None:
    """The end of the answer to a text in a design.

    None where there is nothing to know: a format of the user's own, which workers do not import, without a grammar.
    """
    name = design["format"]
    grammar = answer_grammar(task, design, text) if option_of(design, DECODING) == CONSTRAINED else ""
    if name not in AXES["format"].options and not grammar:
        return None
    return AnswerEnd(name, task.slots, form_of(task, design), grammar)
