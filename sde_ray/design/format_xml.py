"""The format `xml`: an element a value, named after its slot.

    <food>positive</food>                                   <DNA>IL-2 gene</DNA>
    <serving_speed>unmentioned</serving_speed>              <DNA>kappa B site</DNA>
    <price><reason>dear</reason>negative</price>  (cot)     <RNA/>

A slot that makes no name, or another one's, is `slot3` by its place. Beside `&`, `<` and `>` everything that cannot be
printed, and a blank at either end, is a character reference; outer blanks of an element do not count. An element with
nothing in it is an absent slot, so an empty string is written `""`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sde_ray.design.base import Faults, FormatOption, Lines, collect, covers_and_goes_on, finished_rows
from sde_ray.design.literals import distinct_names
from sde_ray.design.output_form import OutputForm
from sde_ray.types import Line, PromptNouns, Task

NOTHING = "<none/>"
EMPTY = '""'
_NAME = r"[^\W\d][\w.-]*"
_ELEMENT = re.compile(rf"<({_NAME})(?:/>|>([^<>]*(?:<({_NAME})>[^<>]*</\3>[^<>]*)?)</\1>)")
_INNER = re.compile(rf"(?s)([^<]*)<({_NAME})>([^<]*)</\2>([^<]*)")
_REFERENCE = re.compile(r"&(#\d{1,7};|#x[0-9a-fA-F]{1,6};|amp;|lt;|gt;|quot;|apos;|)")
_NAMED = {"amp;": "&", "lt;": "<", "gt;": ">", "quot;": '"', "apos;": "'"}

# ---- write -----------------------------------------------------------------------------------------------------------


def _write_entry(line: Line, form: OutputForm) -> str:
    values = [_escape(value) if value else EMPTY for value in line.values]
    if not values:
        values = [_escape(form.placeholder) if form.kind == "label" and not form.holds_list(line.slot) else ""]
    if form.rationale_position and line.rationale is not None:
        tag = _rationale_tag(form.nouns)
        why = f"<{tag}>{_escape(line.rationale)}</{tag}>"
        if form.rationale_position == "first":
            values[0] = why + values[0]
        else:
            values[-1] += why
    name = element_names(form.slots).get(line.slot, line.slot)
    return "\n".join(f"<{name}>{value}</{name}>" if value else f"<{name}/>" for value in values)


def element_names(slots: Sequence[str]) -> dict[str, str]:
    """An element for each slot: "serving speed" is serving_speed."""
    return distinct_names({slot: re.sub(r"[^\w.-]+", "_", slot) for slot in slots}, _is_name, "slot")


def _is_name(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None


def _rationale_tag(nouns: PromptNouns) -> str:
    return nouns.rationale if _is_name(nouns.rationale) else "reason"


def _escape(text: str) -> str:
    if text == EMPTY:
        return "&quot;&quot;"
    kept = [c if c.isprintable() and c not in "&<>" else f"&#{ord(c)};" for c in text]
    for end in (0, -1):
        if kept and kept[end] == " ":
            kept[end] = "&#32;"
    named = {"&#38;": "&amp;", "&#60;": "&lt;", "&#62;": "&gt;"}
    return "".join(named.get(piece, piece) for piece in kept)


# ---- read ------------------------------------------------------------------------------------------------------------


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    if text.strip() == NOTHING and not form.complete:
        return (), ()
    elements, faults = collect(_pieces(text), lambda piece: _read_element(piece, form))
    return _merge(elements, form), faults


def _pieces(text: str) -> Iterator[str]:
    """The elements of a text, and what stands between them."""
    end = 0
    for element in _ELEMENT.finditer(text):
        yield from filter(None, [text[end : element.start()].strip()])
        yield element.group()
        end = element.end()
    yield from filter(None, [text[end:].strip()])


def _read_element(piece: str, form: OutputForm) -> Line:
    element = _ELEMENT.fullmatch(piece)
    if element is None:
        raise ValueError("no element")
    name, content, rationale = element.group(1), element.group(2) or "", None
    slots = {one: slot for slot, one in element_names(form.slots).items()}
    slot = slots.get(name, name if name not in form.slots else f"<{name}>")
    if inner := _INNER.fullmatch(content):
        before, tag, why, after = inner.groups()
        wrong_side = after if form.rationale_position == "last" else before
        if not form.rationale_position or tag != _rationale_tag(form.nouns) or wrong_side.strip():
            raise ValueError(f"an element <{tag}> in another")
        content, rationale = before + after, _unescape(why.strip())
    return Line(slot, _values(slot, content.strip(), form), rationale)


def _values(slot: str, content: str, form: OutputForm) -> tuple[str, ...]:
    value = "" if content == EMPTY else _unescape(content)
    absent = form.placeholder if form.kind == "label" and not form.holds_list(slot) else None
    if content and value != absent:
        return (value,)
    if not content and absent is not None:
        raise ValueError(f"a {form.nouns.slot} without {form.nouns.value}")
    return ()


def _unescape(text: str) -> str:
    return _REFERENCE.sub(_character, text)


def _character(reference: re.Match[str]) -> str:
    name = reference.group(1)
    if not name.startswith("#"):
        if name not in _NAMED:
            raise ValueError("an & that is no reference")
        return _NAMED[name]
    number = int(name[2:-1], 16) if name[1] == "x" else int(name[1:-1])
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:  # half a surrogate pair could not be stored
        raise ValueError(f"&{name} is no character")
    return chr(number)


def _merge(elements: Lines, form: OutputForm) -> Lines:
    """One line for each slot that holds a list, with the values of all its elements and the first rationale."""
    merged: dict[tuple[str, int], Line] = {}
    for number, line in enumerate(elements):
        key = line.slot, 0 if form.holds_list(line.slot) else number
        before = merged.get(key, Line(line.slot, ()))
        why = line.rationale if before.rationale is None else before.rationale
        merged[key] = Line(line.slot, before.values + line.values, why)
    return tuple(merged.values())


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    # A slot with a list takes a value from any element to come; an element may go on over the end of a row.
    done = finished_rows(text).rstrip()
    return not form.many and done.endswith(">") and covers_and_goes_on(*_read(done, form), slots)


def _applies(task: Task) -> str:
    return "" if task.kind in ("label", "span", "free") else f"the answers of {task.name} are neither labels nor words"


XML = FormatOption(
    label="XML",
    entry=_write_entry,
    separator=lambda form: "\n",
    marker=lambda form: NOTHING,
    read=_read,
    settled=_settled,
    applies=_applies,
    swept=False,
)
