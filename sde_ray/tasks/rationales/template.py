"""Rationales from a template, for examples that have none.

    from_template(examples, task, 'the {text} says "{value}" of {slot}')
    rationale: {template: "the {slot} is called {value}"}            in a task's YAML: at every load

A rationale that an example has already stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sde_ray.design.wording import fill
from sde_ray.errors import UserError, unknown
from sde_ray.types import Example, Split, Task

FIELDS = ("text", "slot", "value")
COMMA = {"en": ", ", "zh": "，"}


def missing_rationales(example: Example) -> tuple[str, ...]:
    """Slots that the example mentions and has no rationale for."""
    return tuple(slot for slot, values in example.answer.items() if values and not example.rationale.get(slot))


def from_template(examples: Sequence[Example], task: Task, template: str) -> list[Example]:
    """Add every missing rationale from one template with {text}, {slot} and {value}; other braces stay.

    Raises UserError: when the template cannot tell one rationale from another.
    """
    check_template(template)
    return [add_rationales(example, task.language, template) for example in examples]


def check_template(template: str) -> None:
    """Validate a template: `UserError` where it cannot tell one rationale from another."""
    fields = set(re.findall(r"\{(\w+)\}", template))
    for field in sorted(fields - set(FIELDS)):
        raise UserError(f"Template: {unknown('place', field, FIELDS)}")
    if not template.strip():
        raise UserError('The template is empty. Give one such as "the review says {value} of {slot}".')
    if not fields & {"slot", "value"}:
        raise UserError("The template is the same for every slot. Use {slot} or {value} in it, or {text} with them.")


def add_rationales(example: Example, language: str, template: str) -> Example:
    """Example with a rationale for every slot it mentions."""
    rationales = {
        slot: fill(template, text=example.text, slot=slot, value=COMMA[language].join(example.answer[slot]))
        for slot in missing_rationales(example)
    }
    return replace(example, rationale={**example.rationale, **rationales})


@dataclass(frozen=True)
class WithRationales:
    """A task's `load` whose examples get their missing rationales from a template."""

    load: Callable[[Split], list[Example]]
    language: str
    template: str

    def __call__(self, split: Split) -> list[Example]:
        return [add_rationales(example, self.language, self.template) for example in self.load(split)]
