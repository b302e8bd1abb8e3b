"""When a completion may end early: its answer is settled, and what a model writes on is read as a fault whatever it is.

    end = answer_end(task, design)
    end.is_settled("food: positive\\nprice: negative\\nfood: ")                  False: so far it has no fault
    end.is_settled("food: positive\\nprice: negative\\nfood: positive\\nfood")    True, if these two are all slots

A model that never ends its answers so takes a few tokens more than one that does. A completion without a fault is never
cut: neither an answer nor a score changes, only what follows a settled answer is not written.
"""

from __future__ import annotations

from dataclasses import dataclass

from sde_ray.design.axes import AXES
from sde_ray.design.base import FormatOption
from sde_ray.design.output_form import OutputForm
from sde_ray.design.render import form_of
from sde_ray.types import Design, Task


@dataclass(frozen=True)
class AnswerEnd:
    """The end of a task's answers in a design, as plain values, for a worker that knows neither."""

    format: str
    slots: tuple[str, ...]
    form: OutputForm

    def is_settled(self, text: str) -> bool:
        """Whether an unfinished completion has a fault, and an answer that no continuation changes."""
        option = AXES["format"].options[self.format]
        return isinstance(option, FormatOption) and option.settled(text, self.slots, self.form)


def answer_end(task: Task, design: Design) -> AnswerEnd | None:
    """The end of a task's answers in a design; None for a format of the user's own, which workers do not import."""
    name = design["format"]
    return AnswerEnd(name, task.slots, form_of(task, design)) if name in AXES["format"].options else None
