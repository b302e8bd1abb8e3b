"""Marks of spans in a text, in brackets or in tags: where they stand, how they are written, and read.

place_marks(lines, text)     marks that do not cross, and what has no place in the text
with_marks(text, marks, BRACKETS)     The [IL-2 gene | DNA] binds.
BRACKETS.read("The [IL-2 gene | DNA] binds.")     Marked("The IL-2 gene binds.", (("DNA", "IL-2 gene"),))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sde_ray.design.base import Faults, Lines
from sde_ray.types import Fault, Line

RULE = "---"
"""The line that parts the text from what follows it; one that stands in the text itself is escaped, as is `===`."""
MAX_DEPTH = 50  # of spans within spans: a completion may be anything, and each span is a copy of its words
_RULE_LINE = re.compile(r"(?m)^(?:---|===)$")


@dataclass(frozen=True)
class Mark:
    """A span's mark in the text: the span is text[start:end]."""

    slot: str
    start: int
    end: int


@dataclass(frozen=True)
class Marked:
    """A marked text as it is read: without its marks, with what they say, and what is wrong with them."""

    text: str
    spans: tuple[tuple[str, str], ...]
    faults: Faults = ()


@dataclass(frozen=True)
class Markup:
    """How spans are marked. `read` undoes what the others write; `nothing` stands for an empty text."""

    opening: Callable[[str], str]
    closing: Callable[[str], str]
    escape: Callable[[str], str]
    escape_rule: Callable[[str], str]
    nothing: str
    read: Callable[[str], Marked]


def place_marks(lines: Lines, text: str) -> tuple[list[Mark], Lines]:
    """Marks of the values in a text, none of which cross, and the lines of what has no place there.

    A value's first mention is the first place where it stands as a whole word, else as part of one; a value that is
    named twice is marked twice.
    """
    marks: list[Mark] = []
    rest: list[Line] = []
    for line in lines:
        without = []
        for value in line.values:
            mark = next((one for one in _places(value, line.slot, text) if _fits(one, marks)), None)
            if mark is None:
                without.append(value)
            else:
                marks.append(mark)
        if without or not line.values:
            rest.append(Line(line.slot, tuple(without)))
    return marks, tuple(rest)


def _places(value: str, slot: str, text: str) -> Iterator[Mark]:
    if not value or len(value) > len(text):
        return
    starts = [found.start() for found in re.finditer(f"(?={re.escape(value)})", text)]
    for start in sorted(starts, key=lambda start: not _is_word(text, start, start + len(value))):
        yield Mark(slot, start, start + len(value))


def _is_word(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit goes on beyond the ends."""
    borders = ((start - 1, start), (end - 1, end))
    return not any(a >= 0 and b < len(text) and text[a].isalnum() and text[b].isalnum() for a, b in borders)


def _fits(mark: Mark, others: Sequence[Mark]) -> bool:
    crosses = any(
        one.start < mark.start < one.end < mark.end or mark.start < one.start < mark.end < one.end for one in others
    )
    overlapping = sum(one.start < mark.end and mark.start < one.end for one in others)
    return not crosses and mark not in others and overlapping < MAX_DEPTH


def with_marks(text: str, marks: Sequence[Mark], markup: Markup) -> str:
    """The text with its marks: of two at one place the longer one is outside, of equal ones the later."""
    marked = _enclose(text, marks, markup)
    return _RULE_LINE.sub(lambda rule: markup.escape_rule(rule.group()), marked) or markup.nothing


def read_marks(text: str, markup: Markup) -> Marked:
    """A marked text without its marks, and what they say."""
    return Marked("", ()) if text == markup.nothing else markup.read(text)


def _enclose(text: str, marks: Sequence[Mark], markup: Markup) -> str:
    outermost_first = sorted(enumerate(marks), key=lambda numbered: (numbered[1].start, -numbered[1].end, -numbered[0]))
    pieces: list[str] = []
    open_marks: list[Mark] = []
    done = 0

    def close_until(place: int) -> None:
        nonlocal done
        while open_marks and open_marks[-1].end <= place:
            mark = open_marks.pop()
            pieces.extend((markup.escape(text[done : mark.end]), markup.closing(mark.slot)))
            done = mark.end

    for _, mark in outermost_first:
        close_until(mark.start)
        pieces.extend((markup.escape(text[done : mark.start]), markup.opening(mark.slot)))
        done = mark.start
        open_marks.append(mark)
    close_until(len(text))
    pieces.append(markup.escape(text[done:]))
    return "".join(pieces)


# ---- brackets --------------------------------------------------------------------------------------------------------

_BAR = " | "


def _read_brackets(text: str) -> Marked:
    letters: list[str] = []
    spans: list[tuple[int, int, str, str]] = []  # start, order of closing, slot, span
    faults: list[Fault] = []
    stack: list[list[int]] = []  # where a span begins, and where its last bar is, or -1
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == "\\" and place + 1 < len(text):
            letters.append(text[place + 1])
            place += 2
            continue
        if letter == "[" and len(stack) < MAX_DEPTH:
            stack.append([len(letters), -1])
        elif letter == "]" and stack:
            start, bar = stack.pop()
            if bar < 0:
                faults.append(Fault("syntax", f"a span without its slot: {''.join(letters[start : start + 100])!r}"))
            else:
                slot = "".join(letters[bar + len(_BAR) :])
                del letters[bar:]
                spans.append((start, len(spans), slot, "".join(letters[start:])))
        elif letter in "[]":
            faults.append(Fault("syntax", f"a bracket too many or too deep: {text[max(0, place - 40) : place + 1]!r}"))
        else:
            if text.startswith(_BAR, place) and stack:
                stack[-1][1] = len(letters)
                letters.extend(_BAR)
                place += len(_BAR)
                continue
            letters.append(letter)
        place += 1
    unclosed = ("".join(letters[start : start + 100]) for start, _ in stack)
    faults += [Fault("syntax", f"a bracket is never closed: {span!r}") for span in unclosed]
    return Marked("".join(letters), tuple((slot, span) for _, _, slot, span in sorted(spans)), tuple(faults))


def _escape_brackets(text: str) -> str:
    return re.sub(r"[\[\]\\]", r"\\\g<0>", text)


def _close_bracket(slot: str) -> str:
    escaped = re.sub(r"[\[\]\\|]", r"\\\g<0>", slot)
    return f"{_BAR}{escaped}]"


BRACKETS = Markup(lambda slot: "[", _close_bracket, _escape_brackets, lambda rule: f"\\{rule}", "[]", _read_brackets)


# ---- tags ------------------------------------------------------------------------------------------------------------

_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&#47;": "/", "&#45;": "-", "&#61;": "="}
_TAG = re.compile(r"<(/?)([^<>]*)>|[<>]")


def _read_tags(text: str) -> Marked:
    pieces: list[str] = []
    length = done = 0
    spans: list[tuple[int, int, str, int]] = []  # start, order of closing, slot, end
    faults: list[Fault] = []
    stack: list[tuple[str, int]] = []
    for tag in _TAG.finditer(text):
        pieces.append(_unescape(text[done : tag.start()]))
        length, done = length + len(pieces[-1]), tag.end()
        slot = _unescape(tag.group(2) or "")
        if tag.group(2) is None:
            faults.append(Fault("syntax", f"a {tag.group()} that belongs to no tag"))
        elif not tag.group(1) and len(stack) < MAX_DEPTH:
            stack.append((slot, length))
        elif tag.group(1) and stack and stack[-1][0] == slot:
            spans.append((stack.pop()[1], len(spans), slot, length))
        else:
            faults.append(Fault("syntax", f"{tag.group()[:40]} closes no tag, or is too deep"))
    plain = "".join([*pieces, _unescape(text[done:])])
    faults += [Fault("syntax", f"<{slot[:40]}> is never closed") for slot, _ in stack]
    return Marked(plain, tuple((slot, plain[start:end]) for start, _, slot, end in sorted(spans)), tuple(faults))


def _unescape(text: str) -> str:
    return re.sub("|".join(_ENTITIES), lambda entity: _ENTITIES[entity.group()], text)


def _escape_tags(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tag_name(slot: str) -> str:
    return re.sub("^/", "&#47;", _escape_tags(slot))


TAGS = Markup(
    lambda slot: f"<{_tag_name(slot)}>",
    lambda slot: f"</{_tag_name(slot)}>",
    _escape_tags,
    lambda rule: f"&#{ord(rule[0])};{rule[1:]}",
    "</>",
    _read_tags,
)
