"""The pipeline of a design: forward it writes samples, backward it reads completions.

    render_sample(example, task, design) -> Sample          prompt segments and the completion
    parse_completion(completion, task, design) -> Parsed    the answer and the faults; total: any text, no exception
    law: parse_completion(render_sample(example).completion.text).answer == example.answer, without a fault

The form that the instruction shows is a *schematic*, a made-up answer ("aspect 1: sentiment, ...") written through the
same pipeline, as are all words that a sentence quotes; so the prompt cannot contradict the completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sde_ray.data.schema import are_numbers
from sde_ray.design.answer import SCHEMATIC, check_slots
from sde_ray.design.axes import find_option
from sde_ray.design.base import AnswerOption, Axis, FormatOption, Lines, Option, PromptOption
from sde_ray.design.groups import groups_of, join_completions, split_completions, whole
from sde_ray.design.labels import numbers_of
from sde_ray.design.output_form import MARKS, InstructionContext, OutputForm, Where
from sde_ray.design.prompt import DEFINITIONS, FORM_IN_PROMPT, WORDINGS_IN_TRAINING, initial_segments
from sde_ray.design.rationale_block import split_block, with_block
from sde_ray.design.record_lines import check_records
from sde_ray.design.record_schematic import labels_sentence, made_up_record, number_nouns, record_stand_in
from sde_ray.design.wording import call_wording, count_word, definitions_sentence, fill_template, is_function, wording
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.types import Answer, Design, Example, Fault, Line, Parsed, Sample, Segment, Task

MAX_INSTRUCTIONS = 512  # instructions that stay rendered

_instructions: dict[tuple[object, ...], tuple[object, str]] = {}


def render_sample(example: Example, task: Task, design: Design, instruction_variant: int = 0) -> Sample:
    """Write an example as a training sample: what the model sees, and what it is to answer.

    Args:
        example: text and gold answer, with rationales where the design has them.
        task: what is asked.
        design: one option per axis.
        instruction_variant: which of the task's instructions is used, from 0; with `wordings=many` the example decides.

    Returns the prompt's segments, each with its loss flag, and the completion; paper section 1.3. Where a design makes
    several samples of an example (`asking.py`), it is that of the first group of slots, without demonstrations.

    Raises UserError: when the task has no such instruction.
    """
    task, design = groups_of(task, design)[0], whole(design)
    completion = Segment(completion_of(example, task, design), loss=True, role="completion")
    if option_of(design, WORDINGS_IN_TRAINING) == "many":
        instruction_variant = int(content_hash(example.id), 16) % len(task.instructions)
    return Sample(example.id, prompt_of(example.text, task, design, instruction_variant), completion)


def option_of(design: Design, axis: Axis) -> str:
    """A design's option of an axis that it may lack."""
    return dict(design.options).get(axis.name, axis.default)


def parse_completion(text: str, task: Task, design: Design, source: str | None = None) -> Parsed:
    """Parse a completion: the answer, and the faults by which it departs from the form.

    Args:
        text: the completion.
        task: what was asked.
        design: one option per axis.
        source: the text that was asked about, for a format that repeats it; None: whether it does is not checked.

    Total: any text gives a result, never an exception. Only the first line of a slot counts; what is not of the task
    is left out of the answer and listed as a fault. `parse_completion(render_sample(x).completion.text)` is x's answer.
    """
    if not text.strip():
        return Parsed({}, (Fault("empty"),))
    groups = groups_of(task, design)
    if len(groups) > 1:
        return _parse_groups(split_completions(text), groups, whole(design), source)
    form = form_of(task, design, source)
    answer, why, faults = split_block(text, form)
    lines, more = _format(design).read(answer, form) if answer.strip() else ((), (Fault("empty"),))
    faults += more
    if form.rationale_block == "first":  # where the whole block is missing that is one fault, not one a slot
        lines = tuple(replace(line, rationale="missing" if why is None else why.get(line.slot)) for line in lines)
    lines, more = check_slots(lines, task, form)
    faults += more
    lines, more = check_records(lines, form, by_field=_format(design).absent_field is not None)
    faults += more
    for option in reversed(_answer_options(design)):
        lines, more = option.read(lines, task)
        faults += more
    return Parsed({line.slot: line.values for line in lines if line.values}, faults)


def _parse_groups(parts: list[str], groups: Sequence[Task], design: Design, source: str | None) -> Parsed:
    """The completions of groups of slots, parsed one by one: their answers and their faults together."""
    parsed = [
        parse_completion(part, group, design, source)
        for part, group in zip([*parts, *[""] * len(groups)], groups, strict=False)
    ]
    answer = {slot: values for one in parsed for slot, values in one.answer.items()}
    too_many = [Fault("syntax", f"a part too many: {part[:100]!r}") for part in parts[len(groups) :]]
    return Parsed(answer, (*(fault for one in parsed for fault in one.faults), *too_many))


def prompt_of(text: str, task: Task, design: Design, instruction_variant: int = 0) -> tuple[Segment, ...]:
    """Prompt of a text, the same in training and at inference: segments, each with its loss flag.

    Raises UserError: when the task has no instruction of this number.
    """
    task, design = groups_of(task, design)[0], whole(design)
    segments = initial_segments(text, wording(task, "cue"))
    for option in _options(design):
        if isinstance(option, PromptOption):
            segments = option.write(
                segments, lambda where: _rendered_instruction(task, design, instruction_variant, where)
            )
    return segments


def completion_of(example: Example, task: Task, design: Design) -> str:
    """Target text of an example, of all its samples; `parse_completion` is the inverse."""
    groups = groups_of(task, design)
    if len(groups) > 1:
        return join_completions([completion_of(example, group, whole(design)) for group in groups])
    lines, form = write_lines(example, task, design), form_of(task, design, example.text)
    return with_block(_format(design).write(lines, form), lines, form)


def write_lines(example: Example, task: Task, design: Design) -> Lines:
    """Answer of an example as the lines that the format option writes."""
    lines: Lines = tuple(Line(slot, tuple(example.answer[slot])) for slot in task.slots if example.answer.get(slot))
    for option in _answer_options(design):
        lines = option.write(lines, task, example)
    return lines


def form_of(task: Task, design: Design, text: str | None = None) -> OutputForm:
    """Output form of a task in a design, for an answer of `text`: what the format option has to know of the lines."""
    marks, several = MARKS[task.language], task.multilabel
    form = OutputForm(task.kind, marks, task.nouns, task.placeholder, multilabel=several, text=text, slots=task.slots,
                      fields=task.fields, single=task.single)  # fmt: skip
    for option in _answer_options(design):
        form = option.shape(form, task)
    absent = _format(design).absent
    return replace(form, placeholder=absent) if absent and form.placeholder == task.placeholder else form


def _rendered_instruction(task: Task, design: Design, instruction_variant: int, where: Where) -> str:
    """`render_instruction`, once for all examples, seeds and trials of a process: no example changes it.

    The key holds objects, not names: a task or an option that was defined anew is another one.
    """
    options = _options(design)
    key = (id(task), *map(id, options), design, instruction_variant, where)
    if (cached := _instructions.get(key)) is None:
        if len(_instructions) >= MAX_INSTRUCTIONS:
            _instructions.pop(next(iter(_instructions)), None)  # the oldest
        # With what the ids are of: while an entry is here, no other object can have one of them.
        cached = _instructions[key] = ((task, options), render_instruction(task, design, instruction_variant, where))
    return cached[1]


def render_instruction(task: Task, design: Design, instruction_variant: int, where: Where) -> str:
    """Instruction for a text that is "above" or "below": the task's wording, the options' sentences, the form."""
    if not 0 <= instruction_variant < len(task.instructions):
        raise UserError(
            f"{task.name} has no wording {instruction_variant}. Choose one of 0 to {len(task.instructions) - 1}."
        )
    template, context = task.instructions[instruction_variant], _instruction_context(task, design)
    words = {
        "where": wording(task, where),
        "slots": context.form.marks.comma.join(task.slots),
        "labels": _labels(context),
        "count": count_word(task, len(context.labels)),
        "schematic": schematic(task, design),
    }
    text = call_wording(task, template, **words) if is_function(template) else fill_template(task, template, **words)
    shows_form = words["schematic"] in text if is_function(template) else "{schematic}" in template
    form_in_prompt = option_of(design, FORM_IN_PROMPT)
    says_form = shows_form or form_in_prompt == "described"
    format_option = _format(design)
    parts = [
        text,
        definitions_sentence(task, option_of(design, DEFINITIONS)),
        _multilabel_sentence(context),
        _range_sentence(context),
        labels_sentence(task) if task.kind == "record" else "",
        format_option.sentence(context) if says_form or not format_option.describes_form else "",
        *(option.sentence(context) for option in _answer_options(design) if says_form or not option.about_form),
    ]
    if form_in_prompt == "example":
        parts.append(wording(task, "form_example", example=made_up_answer(task, design)))
    elif says_form and not shows_form and not format_option.describes_form:
        parts.append(wording(task, "form" if context.form.complete else "form_omit", **words))
    return wording(task, "join").join(filter(None, parts))


def _labels(context: InstructionContext) -> str:
    """The labels to choose from: one list for all slots, or each slot with its own in brackets."""
    task, comma = context.task, context.wording("label_comma")
    if not task.slot_labels:
        return comma.join(context.labels)
    absent = [task.placeholder] if context.form.complete and context.lists_absent else []
    return context.form.marks.comma.join(
        context.wording("slot_labels", name=slot, labels=comma.join([*task.labels_of(slot), *absent]))
        for slot in task.slots
    )


def _multilabel_sentence(context: InstructionContext) -> str:
    slots = context.task.multilabel
    if not slots or len(slots) == len(context.task.slots):
        return context.wording("multilabel") if slots else ""
    return context.wording("multilabel_slots", slots=context.form.marks.comma.join(slots))


def _range_sentence(context: InstructionContext) -> str:
    """The slots whose value is a number, with their ranges."""
    limits = [(slot, f"{low:g}", f"{high:g}") for slot, (low, high) in context.task.ranges.items()]
    ranges = [context.wording("range", name=slot, low=low, high=high) for slot, low, high in limits]
    return context.wording("ranges", ranges=context.form.marks.comma.join(ranges)) if ranges else ""


def schematic(task: Task, design: Design) -> str:
    """Schematic of the output form: "aspect 1: sentiment, aspect 2: sentiment, ..."."""
    stand_in, example = _stand_in(task, _format(design))
    lines, form = write_lines(example, stand_in, design), form_of(stand_in, design, example.text)
    if task.kind == "record":
        form = replace(form, number_nouns=number_nouns(task, _format(design).positional))
    elif _format(design).has_numbers and _writes_numbers(task, design):
        form = replace(form, number_nouns=tuple(value for line in lines for value in line.values))
    write_form = _format(design).sketch if len(task.slots) > len(stand_in.slots) else _format(design).write
    return with_block(write_form(lines, form), lines, form)


def made_up_answer(task: Task, design: Design) -> str:
    """A made-up answer with the task's own slots and labels: every other slot is absent, where one may be."""
    value = wording(task, "schematic_value")
    answer = {
        slot: (made_up_record(task, slot) if task.kind == "record" else labels[n % len(labels)] if labels else value,)
        for n, slot in enumerate(task.slots)
        for labels in [task.labels_of(slot)]
        if n % 2 == 0 or not task.has_absent_slots
    }
    return completion_of(Example(SCHEMATIC, _text_with(answer), answer), task, design)


def _text_with(answer: Answer) -> str:
    """A made-up text with the values of an answer in it, in their order."""
    return " ".join(["...", *(f"{value} ..." for values in answer.values() for value in values)])


def _writes_numbers(task: Task, design: Design) -> bool:
    """Whether every value of the task is a number in this design: its labels, as they are written, or its ranges."""
    if task.labels is None:
        return bool(task.ranges) and set(task.ranges) == set(task.slots)
    values = ((slot, label) for slot in task.slots for label in task.labels_of(slot))
    written = (write_lines(Example("", "", {slot: (label,)}), task, design) for slot, label in values)
    return all(are_numbers(value for line in lines for value in line.values) for lines in written)


def _stand_in(task: Task, format_option: FormatOption) -> tuple[Task, Example]:
    """Stand-in task whose slots and labels are nouns ("aspect 1", "sentiment"), and an example of it."""
    if task.kind == "record":
        stand_in, records = record_stand_in(task, format_option.positional)
        return stand_in, Example(SCHEMATIC, "", records, rationale=dict.fromkeys(records, task.nouns.rationale))
    slots = task.slots
    if len(slots) > 1:
        slots = tuple(wording(task, "schematic_slot", n=str(n)) for n in (1, 2))
    mixed = 0 < len(task.multilabel) < len(task.slots)
    multilabel = slots[-1:] if mixed else slots if task.multilabel else ()  # of a mixed task both kinds are shown
    value = wording(task, "schematic_value")
    twice = slots[0] if task.kind == "span" else multilabel[0] if multilabel else ""
    answer = {slot: (value, value) if slot == twice else (value,) for slot in slots}
    numbers = {value: wording(task, "schematic_number"), task.placeholder: numbers_of(task)[task.placeholder]}
    stand_in = replace(
        task, slots=slots, labels=task.labels and (value,), numbers=numbers, slot_labels={}, slot_numbers={},
        multilabel=multilabel, ranges={}, label_words={},
    )  # fmt: skip
    rationale = dict.fromkeys(slots, task.nouns.rationale)
    return stand_in, Example(SCHEMATIC, _text_with(answer), answer, rationale)


def _instruction_context(task: Task, design: Design) -> InstructionContext:
    form, format_option = form_of(task, design), _format(design)
    lists_absent = not format_option.absent or form.placeholder != format_option.absent
    stand_in, example = _stand_in(task, format_option)
    # The last slot: of a mixed task that with a list, which some formats write in its own way when it is empty.
    absent_lines = write_lines(replace(example, answer={}), stand_in, design)[-1 if task.multilabel else 0 :][:1]
    stand_in_form = replace(form_of(stand_in, design), placeholder=form.placeholder)
    return InstructionContext(
        task=task,
        form=form,
        labels=(
            *task.labels,
            *([task.placeholder] if form.complete and lists_absent and task.has_absent_slots else ()),
        )
        if task.labels
        else (),
        placeholder_entry="".join(format_option.entry(line, stand_in_form) for line in absent_lines)
        or format_option.write(absent_lines, stand_in_form),
        marker=wording(task, "unmarked")
        if format_option.in_text
        else with_block(format_option.write((), form), (), form),
        absent_field=_absent_field(format_option, form),
        wording=partial(wording, task),
        lists_absent=lists_absent,
        written=partial(_written_labels, task, design),
    )


def _written_labels(task: Task, design: Design, slot: str) -> tuple[str, ...]:
    """A slot's labels as the answers have them: as words, numbers or letters; then the word for an absent slot."""
    form, labels = form_of(task, design), task.labels_of(slot)
    examples = (Example("", "", {slot: (label,)}) for label in labels)
    words = [line.values[0] for one in examples for line in write_lines(one, task, design) if line.slot == slot]
    absent = form.complete and task.has_absent_slots and not form.holds_list(slot)
    return (*words, *([form.placeholder] if labels and absent else ()))


def _absent_field(format_option: FormatOption, form: OutputForm) -> str:
    """What stands for a field that a record lacks; empty where it is left out."""
    if format_option.absent_field is None or not (form.complete or format_option.positional):
        return ""
    return format_option.absent_field(form)


def _options(design: Design) -> list[Option]:
    return [find_option(axis, option) for axis, option in design.options]


def _answer_options(design: Design) -> list[AnswerOption]:
    return [option for option in _options(design) if isinstance(option, AnswerOption)]


def _format(design: Design) -> FormatOption:
    (option,) = (option for option in _options(design) if isinstance(option, FormatOption))
    return option
