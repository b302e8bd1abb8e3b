"""The grammar of a task's answers in a design: the slots with what may stand in them, in the entries of the format.

answer_grammar(REVIEWS, make_design(format="lines"))        a text that llguidance compiles
why_no_grammar(task, design)                                "" where there is one
"""

from __future__ import annotations

from sde_ray.data.batches import split_texts
from sde_ray.design.axes import find_axis, find_option
from sde_ray.design.base import FormatOption
from sde_ray.design.grammar import MAX_SLOTS, AskedSlot, Frame, assemble, literal
from sde_ray.design.output_form import OutputForm
from sde_ray.design.render import form_of, write_lines
from sde_ray.types import Design, Example, Task

ANY: tuple[str, ...] = ()
KNOWN = {
    "unmentioned": ("placeholder", "omit"),
    "labels": ANY,  # the words are written by the option itself
    "reasoning": ("none", "cot", "rcot"),
    "order": ANY,  # slots may stand in any order
    "decoding": ANY,
    "slots_per_sample": ANY,
    "negatives": ANY,
}
"""The options that change answers in a way that the grammar follows, by axis."""


def why_no_grammar(task: Task, design: Design) -> str:
    """The reason why a task's answers in a design have no grammar, or "" where they have one."""
    if format_of(design).grammar is None:
        return f"the format {design['format']} has none"
    for axis, option in design.options:
        if find_axis(axis).stage == "answer" and option not in (KNOWN.get(axis, (None,)) or (option,)):
            return f"it does not follow {axis}={option}"
    if task.kind == "record":
        return f"the records of {task.name} have none"
    if len(task.slots) > MAX_SLOTS:
        return f"{task.name} has {len(task.slots)} {task.nouns.slot}s, and a grammar at most {MAX_SLOTS}"
    many = next((slot for slot in task.multilabel if len(task.labels_of(slot)) > MAX_SLOTS), None)
    return "" if many is None else f'"{many}" may have several of more than {MAX_SLOTS} labels'


def answer_grammar(task: Task, design: Design, text: str = "") -> str:
    """The grammar of the answers to a text: each of them is read without a fault, and every gold answer is among them.

    `text`: what is asked about; it counts where the slots are the numbers of instances in it.
    """
    form, format_option = form_of(task, design), format_of(design)
    assert format_option.grammar is not None
    slots = _asked_slots(task, design, text, form.complete)
    definitions, entries = format_option.grammar(slots, form)
    return assemble(
        slots, form, definitions, entries, _frame(format_option, form), every=form.complete or task.answered
    )


def format_of(design: Design) -> FormatOption:
    """The format option of a design."""
    option = find_option("format", design["format"])
    assert isinstance(option, FormatOption)
    return option


def _asked_slots(task: Task, design: Design, text: str, complete: bool) -> list[AskedSlot]:
    asked = set(split_texts(text)) if task.numbered else set(task.slots)
    slots = []
    for slot in task.slots:
        filled = slot in asked
        absent = complete and not (task.answered and filled)
        if filled or absent:
            slots.append(AskedSlot(slot, _words(task, design, slot), filled, absent))
    return slots


def _words(task: Task, design: Design, slot: str) -> tuple[str, ...]:
    """A slot's labels as the design writes them."""
    written = (write_lines(Example("", "", {slot: (label,)}), task, design) for label in task.labels_of(slot))
    return tuple(value for lines in written for line in lines if line.slot == slot for value in line.values)


def _frame(option: FormatOption, form: OutputForm) -> Frame:
    stop = option.terminator(form)
    ending = f"{literal(stop)}?" if stop else ""  # what ends a text is not missed
    return Frame(
        opening=literal(option.opening),
        separator=literal(option.separator(form)),
        closing=" ".join(filter(None, [literal(option.closing), ending])),
        marker=" ".join(filter(None, [literal(option.marker(form)), ending])),
    )
