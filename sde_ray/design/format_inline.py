"""Inline formats of spans, `inline` and `inline_xml`: the text again, each span marked where it stands.

    inline       The [IL-2 gene | DNA] binds [[NF-kappa B | protein] p65 | protein].
    inline_xml   The <DNA>IL-2 gene</DNA> binds <protein><protein>NF-kappa B</protein> p65</protein>.

What cannot stand in the text follows it behind a rule, as the format `lines` writes it: an absent slot, where absent
slots are written, and a value that is not in the text or that crosses another one. A rationale stands before the text
(cot) or behind it (rcot):

    DNA: the gene is named
    ---
    The [IL-2 gene | DNA] binds.
    ---
    RNA: none

Without its marks a completion is the text, character by character; another text is the fault `copy_error`. The values
of a slot are read in the order of the text. After LLMs4NER (arXiv 2601.17898), where inline formats led by half a point
to three.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sde_ray.design.base import Faults, FormatOption, Lines
from sde_ray.design.format_text import read_lines, write_line_entry
from sde_ray.design.inline_markup import BRACKETS, RULE, TAGS, Markup, place_marks, read_marks, with_marks
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.design.rationale_block import read_rationales, write_rationales
from sde_ray.types import Fault, Line, Task

# ---- write -----------------------------------------------------------------------------------------------------------


def _write(lines: Lines, form: OutputForm, markup: Markup) -> str:
    text = (form.text or "").strip()
    marks, rest = place_marks(lines, text)
    why = write_rationales(lines, form) if form.rationale_position else ""
    bare = replace(form, rationale_position=None)
    sections = [
        *([why] if why and form.rationale_position == "first" else []),
        with_marks(text, marks, markup),
        *([why] if why and form.rationale_position == "last" else []),
        *(["\n".join(write_line_entry(line, bare) for line in rest)] if rest else []),
    ]
    return f"\n{RULE}\n".join(sections)


# ---- read ------------------------------------------------------------------------------------------------------------


def _read(completion: str, form: OutputForm, markup: Markup) -> tuple[Lines, Faults]:
    before, body, why, tail, faults = _sections(completion.strip(), form)
    marked = read_marks(body, markup)
    faults += marked.faults
    if form.text is not None and not marked.faults and marked.text != form.text.strip():
        faults += (Fault("copy_error", _difference(marked.text, form.text.strip())),)
    values: dict[str, list[str]] = {}
    for slot, span in marked.spans:
        values.setdefault(slot, []).append(span)
    more, wrong = read_lines(tail, replace(form, rationale_position=None)) if tail else ((), ())
    lines, doubled = _merge(values, more)
    reasons, unread = read_rationales(before or why, form)
    if form.rationale_position:
        lines = tuple(replace(line, rationale=reasons.get(line.slot)) for line in lines)
    return lines, (*faults, *wrong, *doubled, *unread)


def _sections(completion: str, form: OutputForm) -> tuple[str, str, str, str, Faults]:
    """What stands before the text, the text, the rationales behind it, the rest, and what is too much."""
    parts = re.split(rf"\n{RULE}(?:\n|$)", completion)
    before = parts.pop(0) if form.rationale_position == "first" and len(parts) > 1 else ""
    body = parts.pop(0)
    why = parts.pop(0) if form.rationale_position == "last" and parts else ""
    tail = parts.pop(0) if parts else ""
    return before, body, why, tail, tuple(Fault("syntax", f"a part too many: {part[:100]!r}") for part in parts)


def _merge(values: dict[str, list[str]], more: Lines) -> tuple[Lines, Faults]:
    """One line a slot of what is marked and what follows; a slot that follows twice stays twice."""
    lines, faults, added = {slot: Line(slot, tuple(spans)) for slot, spans in values.items()}, [], set()
    repeated = []
    for line in more:
        if line.slot in added:
            repeated.append(line)
        elif line.slot in lines and not line.values:
            faults.append(Fault("syntax", f"{line.slot} is marked and absent"))
        else:
            marked = lines[line.slot].values if line.slot in lines else ()
            lines[line.slot] = Line(line.slot, (*marked, *line.values))
        added.add(line.slot)
    return (*lines.values(), *repeated), tuple(faults)


def _difference(copied: str, text: str) -> str:
    place = next((n for n, (a, b) in enumerate(zip(copied, text, strict=False)) if a != b), min(len(copied), len(text)))
    return f"{copied[place : place + 40]!r} in place of {text[place : place + 40]!r}"


# ---- options ---------------------------------------------------------------------------------------------------------


def _applies(task: Task) -> str:
    return "" if task.kind == "span" else f"the answers of {task.name} are no words of the text"


def _sentence(context: InstructionContext) -> str:
    return context.wording("mark")


def _option(label: str, markup: Markup) -> FormatOption:
    return FormatOption(
        label=label,
        entry=lambda line, form: write_line_entry(line, replace(form, rationale_position=None)),
        separator=lambda form: "\n",
        marker=lambda form: _write((), form, markup),
        read=lambda text, form: _read(text, form, markup),
        whole=lambda lines, form: _write(lines, form, markup),
        in_text=True,
        sentence=_sentence,
        applies=_applies,
        swept=False,
    )


INLINE = _option("Inline", BRACKETS)
INLINE_XML = _option("Inline-XML", TAGS)
