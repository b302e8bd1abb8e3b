r"""Grammar of a design's completions, for constrained decoding: every text in it is read without a fault.

    answer_grammar(task, design)  ->  'start: " "? (lines::0x0 | MARKER) ...'

The grammar is a text in llguidance's dialect of Lark (docs/syntax.md of guidance-ai/llguidance): a format gives its
entries (`FormatOption.grammar`), and the rules around them say that each slot has one line, in any order. A set of
slots is a number with a bit for each (docs/parametric.md there), so that no slot stands twice and none is missing.

A lexer that takes the longest match must never have to go back. So whatever follows a free word is part of its
terminal: `S0: ENTRY0 ", "` between two lines, `E0: ENTRY0 "."?` for the last one.

It is narrower than what is read: blanks and quotes are as they are written, but the leading blank that some tokenizers
make, and a full stop at the end may be missing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sde_ray.design.output_form import OutputForm

MAX_SLOTS = 64
"""Slots of a task, and labels of a slot that may have several: the bits of a set in a grammar."""

STRING = "STRING"
FILLED = "FILLED"
"""The terminals of a JSON string, and of one with something to be seen in it."""

_ESCAPE = r'\\(["\\\/bfnrt]|u([0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))'  # no half of a surrogate pair
_CHARACTER = r'[^"\\\x00-\x1f]'
_VISIBLE = r'([^"\\\x00-\x1f\s]|\\["\\\/])'
JSON_TERMINALS = rf"""STRING: /"({_CHARACTER}|{_ESCAPE})*"/
FILLED: /"({_CHARACTER}|{_ESCAPE})*{_VISIBLE}({_CHARACTER}|{_ESCAPE})*"/"""


@dataclass(frozen=True)
class AskedSlot:
    """What may be answered in a slot. `labels`: the words of its labels; empty: any value, a list where `form` says so.

    `filled`: it may have a value, `absent`: it may have none.
    """

    slot: str
    labels: tuple[str, ...]
    filled: bool
    absent: bool


@dataclass(frozen=True)
class Entry:
    """Parts of an entry, as expressions of Lark: head (opening value (comma value)* closing | absent) tail.

    `values`: one for each label, or the one of any value. Of several labels each may stand once.
    """

    head: str
    values: tuple[str, ...]
    absent: str
    tail: str = ""
    opening: str = ""
    comma: str = ""
    closing: str = ""


Definitions = str  # of the terminals that the entries of a format name
EntryGrammar = Callable[[Sequence[AskedSlot], OutputForm], tuple[Definitions, Sequence[Entry]]]


def literal(text: str) -> str:
    """An expression that is this very text; empty for none."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def sequence(*parts: str) -> str:
    """Expressions one after another."""
    return " ".join(filter(None, parts))


def choice(*parts: str) -> str:
    """Any of some expressions."""
    return "(" + " | ".join(parts) + ")"


def bare_word(delimiters: Sequence[str], forbidden: Sequence[str]) -> str:
    """The expression of a word without quotes: what `lexer.quote_if_needed` leaves as it is, but for its stop.

    Args:
        delimiters: as of the lexer.
        forbidden: words that mean something else, such as the placeholder.
    """
    # Printable in this Python: later versions of Unicode have more characters.
    age = ".".join(unicodedata.unidata_version.split(".")[:2])
    letter = rf"[\p{{Age={age}}}&&[^\p{{C}}\p{{Z}}]]"
    first = rf'[\p{{Age={age}}}&&[^\p{{C}}\p{{Z}}"]]'
    inside = "|".join(map(_escape, delimiters))
    wrong = [f".*({inside}).*"]
    for delimiter in delimiters:  # beside a blank, its outer parts would be the whole one
        wrong += [f"{_escape(delimiter[1:])}.*"] if delimiter[:1] == " " else []
        wrong += [f".*{_escape(delimiter[:-1])}"] if delimiter[-1:] == " " else []
        wrong += [_escape(delimiter.strip())] if delimiter[:1] == delimiter[-1:] == " " else []
    wrong += map(_escape, forbidden)
    return rf"/{first}(({letter}| )*{letter})?/ & ~/(?s:{'|'.join(wrong)})/"


def _escape(text: str) -> str:
    """A text inside of a regular expression between slashes."""
    return re.sub(r"[\\/.+*?()|\[\]{}^$]", r"\\\g<0>", text).replace("\n", "\\n")


@dataclass(frozen=True)
class Frame:
    """What is around and between the entries, as expressions. `marker`: the whole answer where there is no entry."""

    opening: str
    separator: str
    closing: str
    marker: str


def assemble(
    slots: Sequence[AskedSlot], form: OutputForm, definitions: str, entries: Sequence[Entry], frame: Frame, every: bool
) -> str:
    """The grammar of answers with these entries, each once and in any order. `every`: none may be left out."""
    count = len(entries)
    rules, alternatives = [JSON_TERMINALS, *filter(None, [definitions])], []
    for n, (slot, entry) in enumerate(zip(slots, entries, strict=True)):
        rules += _rules(f"{n}", slot, entry, form, frame)
        alternatives.append(f"s{n} lines::set_bit({n}) %if and(bit_clear({n}), bit_count_lt([0:{count}], {count - 1}))")
        last = f"and(bit_clear({n}), bit_count_eq([0:{count}], {count - 1}))" if every else f"bit_clear({n})"
        alternatives.append(f"e{n} %if {last}")
    lines = sequence(frame.opening, "lines::0x0")
    start = lines if every else choice(lines, "MARKER")
    rules += [] if every else [f"MARKER: {frame.marker}"]
    return "\n".join([f'start: " "? {start}', "lines::_ : " + "\n | ".join(alternatives), *rules]) + "\n"


def _rules(name: str, slot: AskedSlot, entry: Entry, form: OutputForm, frame: Frame) -> list[str]:
    """The rules `s<name>`, the entry before another one, and `e<name>`, the last one."""
    after = {"s": frame.separator, "e": frame.closing}
    if slot.filled and slot.labels and form.holds_list(slot.slot):
        return [rule for kind, end in after.items() for rule in _unique(kind, name, slot, entry, end)]
    value = choice(*entry.values)
    if form.holds_list(slot.slot) and not entry.head:  # a value is a row, and nothing tells where the list ends
        return [rule for kind, end in after.items() for rule in _rows(kind, name, slot, entry, value, end)]
    several = sequence(value, f"({entry.comma} {value})*") if form.holds_list(slot.slot) else value
    bodies = [sequence(entry.opening, several, entry.closing)] if slot.filled else []
    bodies += [entry.absent] if slot.absent else []
    whole = f"ENTRY{name}: " + sequence(entry.head, choice(*bodies), entry.tail)
    return [
        whole,
        *(
            f"{kind}{name}: {kind.upper()}{name}\n{kind.upper()}{name}: ENTRY{name} {end}"
            for kind, end in after.items()
        ),
    ]


def _rows(kind: str, name: str, slot: AskedSlot, entry: Entry, value: str, end: str) -> list[str]:
    """The rules of an entry whose values are rows, as many as there are."""
    rule, upper = f"{kind}{name}", f"{kind}{name}".upper()
    rules, bodies = [], []
    if slot.filled:
        rules += [f"R{upper}: {sequence(value, entry.comma)}", f"L{upper}: {sequence(value, end)}"]
        bodies.append(f"R{upper}* L{upper}")
    if slot.absent:
        rules.append(f"A{upper}: {sequence(entry.absent, end)}")
        bodies.append(f"A{upper}")
    return [*rules, f"{rule}: {choice(*bodies)}"]


def _unique(kind: str, name: str, slot: AskedSlot, entry: Entry, end: str) -> list[str]:
    """The rules of an entry whose labels may each stand once: in a set of them, with a bit for each label."""
    rule, upper, count = f"{kind}{name}", f"{kind}{name}".upper(), len(entry.values)
    head = [f"H{upper}"] if entry.head else []
    close = sequence(entry.closing, entry.tail, end)
    rules = [f"H{upper}: {entry.head}"] if head else []
    first, more = [], []
    for n, value in enumerate(entry.values):
        rules += [
            f"F{upper}C{n}: {sequence(entry.opening, value, entry.comma)}",
            f"F{upper}L{n}: {sequence(entry.opening, value, close)}",
            f"V{upper}C{n}: {sequence(value, entry.comma)}",
            f"V{upper}L{n}: {sequence(value, close)}",
        ]
        first += [f"F{upper}C{n} v{rule}::{1 << n:#x}"] if count > 1 else []
        first.append(f"F{upper}L{n}")
        more.append(
            f"V{upper}C{n} v{rule}::set_bit({n}) %if and(bit_clear({n}), bit_count_lt([0:{count}], {count - 1}))"
        )
        more.append(f"V{upper}L{n} %if bit_clear({n})")
    if slot.absent:
        rules.append(f"A{upper}: {sequence(entry.absent, entry.tail, end)}")
        first.append(f"A{upper}")
    rules.append(f"{rule}: " + sequence(*head, choice(*first)))
    if count > 1:
        rules.append(f"v{rule}::_ : " + "\n | ".join(more))
    return rules
