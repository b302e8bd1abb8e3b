"""Axes and options, the parts of a design: an option that writes samples is a pair of inverse functions.

    Example ─▶ Lines ──answer options──▶ Lines ──format option──▶ completion text
    text segment + cue ──prompt options──▶ prompt segments

- An *answer* option rewrites lines (adds absent slots, maps labels, adds rationales) and undoes it on reading.
- A *format* option turns lines into text and text into lines. Every reader is total: it returns faults, never raises.
- A *prompt* option arranges segments; the prompt is never read back, so it only writes.

Two further stages leave the samples' form alone. An option of the stage *data* says which samples there are, one of the
stage *training* how they are learned. These are only declared here; a class named by the axis' `carrier` does the work
(`training/curation.py`), or the trial's setting named by its `setting`.

An axis beyond the paper's is `optional`: a design has it only where a sweep names it, and its default changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from sde_ray.design.grammar import EntryGrammar
from sde_ray.design.output_form import InstructionContext, OutputForm, Where
from sde_ray.types import Example, Fault, Line, Segment, Task

Lines = tuple[Line, ...]
Faults = tuple[Fault, ...]
Stage = Literal["prompt", "format", "answer", "data", "training"]
Piece = TypeVar("Piece")


def keep(lines: Lines, task: Task, example: Example) -> Lines:
    """Write the lines as they are."""
    return lines


def keep_read(lines: Lines, task: Task) -> tuple[Lines, Faults]:
    """Read the lines as they are."""
    return lines, ()


def keep_form(form: OutputForm, task: Task) -> OutputForm:
    """Leave the form as it is."""
    return form


def no_sentence(context: InstructionContext) -> str:
    """Need no words in the instruction."""
    return ""


def any_task(task: Task) -> str:
    """Apply to every task."""
    return ""


def never_settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    """Say of no unfinished completion that its rest cannot matter."""
    return False


@dataclass(frozen=True)
class AnswerOption:
    """Option of an answer axis: rewrites lines; `read` is the inverse of `write`.

    `label` is the paper's name. `shape` adapts the output form, `sentence` gives the words that the instruction needs;
    `about_form`: these tell how the answer is written, not what it means. `applies(task)`: why a task cannot have the
    option, or "".
    """

    label: str
    write: Callable[[Lines, Task, Example], Lines] = keep
    read: Callable[[Lines, Task], tuple[Lines, Faults]] = keep_read
    shape: Callable[[OutputForm, Task], OutputForm] = keep_form
    sentence: Callable[[InstructionContext], str] = no_sentence
    about_form: bool = True
    applies: Callable[[Task], str] = any_task
    swept: bool = True
    stage: ClassVar[Stage] = "answer"


@dataclass(frozen=True)
class FormatOption:
    """Option of the axis `format`: turns lines into text, entry by entry, and text into lines.

    An entry writes one line; entries are joined by `separator` and stand between `opening` and `closing`; the text
    ends with `terminator`. `marker` is the whole answer when there is no line, so that a legal completion is never
    empty. `read(write(lines)) == lines`. A slot with a list of values is one for which `form.holds_list` says so.
    `has_numbers`: numbers stand without quotes, and so does `form.number_nouns` in a schematic.
    `settled(text, slots, form)`: whether an unfinished completion has a fault and an answer that no continuation
    changes. It may say no where it does not know.
    `whole(lines, form)` writes a text that is not made of entries. `in_text`: it repeats the text, `form.text`, so that
    values are read in its order. `sentence`: words of its own in the instruction; `describes_form`: they describe the
    form, in place of a schematic. `absent`: the word for an absent slot, in place of the task's. `absent_field`: what
    it writes for a field that a record lacks, where the answer is complete; None: it takes a record as one text.
    `positional`: it writes a record's values in the order of the fields, without names, and so absent ones always.
    `grammar`: its entries for constrained decoding (`grammar.py`); None: it has none.
    """

    label: str
    entry: Callable[[Line, OutputForm], str]
    separator: Callable[[OutputForm], str]
    marker: Callable[[OutputForm], str]
    read: Callable[[str, OutputForm], tuple[Lines, Faults]]
    terminator: Callable[[OutputForm], str] = lambda form: ""
    opening: str = ""
    closing: str = ""
    has_numbers: bool = False
    settled: Callable[[str, Sequence[str], OutputForm], bool] = never_settled
    whole: Callable[[Lines, OutputForm], str] | None = None
    in_text: bool = False
    grammar: EntryGrammar | None = None
    sentence: Callable[[InstructionContext], str] = no_sentence
    describes_form: bool = False
    absent: str = ""
    applies: Callable[[Task], str] = any_task
    absent_field: Callable[[OutputForm], str] | None = None
    positional: bool = False
    swept: bool = True
    stage: ClassVar[Stage] = "format"

    def write(self, lines: Lines, form: OutputForm) -> str:
        """Text of a completion."""
        if self.whole:
            return self.whole(lines, form)
        body = self._enclose([self.entry(line, form) for line in lines], form)
        return (body if lines else self.marker(form)) + self.terminator(form)

    def sketch(self, lines: Lines, form: OutputForm) -> str:
        """Schematic of a longer completion: the entries, then `...`."""
        if self.whole:
            return self.whole(lines, form)
        return self._enclose([*(self.entry(line, form) for line in lines), "..."], form)

    def _enclose(self, entries: Sequence[str], form: OutputForm) -> str:
        return self.opening + self.separator(form).join(entries) + self.closing


@dataclass(frozen=True)
class PromptOption:
    """Option of a prompt axis: arranges the prompt's segments; the first option gets (text, cue).

    `render_instruction(where)` gives the instruction, which speaks of the text as "above" or "below".
    """

    label: str
    write: Callable[[tuple[Segment, ...], Callable[[Where], str]], tuple[Segment, ...]]
    applies: Callable[[Task], str] = any_task
    swept: bool = True
    stage: ClassVar[Stage] = "prompt"


def rows(text: str) -> list[str]:
    """Rows of a text without outer blanks; empty ones are dropped."""
    # Only "\n" ends a row: `splitlines` would also cut at \x85 or \u2028, which may stand inside a quoted value.
    return [row.strip() for row in text.split("\n") if row.strip()]


def finished_rows(text: str) -> str:
    """The part of an unfinished text that no continuation changes, of a format that is read row by row."""
    return text[: text.rfind("\n") + 1]


def covers_and_goes_on(lines: Lines, faults: Faults, slots: Sequence[str]) -> bool:
    """Whether all slots have their line, the first of which counts, and something beside these lines is a fault."""
    return set(slots) <= {line.slot for line in lines} and bool(faults or len(lines) > len(slots))


def collect(pieces: Iterable[Piece], read_piece: Callable[[Piece], Line]) -> tuple[Lines, Faults]:
    """Parse every piece of a completion; one that raises `ValueError` becomes a fault, the others are lines."""
    lines: list[Line] = []
    faults: list[Fault] = []
    for piece in pieces:
        try:
            lines.append(read_piece(piece))
        except ValueError as error:
            faults.append(Fault("syntax", f"{str(error)[:100]}: {_show(piece)[:100]!r}"))
    return tuple(lines), tuple(faults)


def _show(piece: object) -> str:
    return "".join(str(getattr(token, "text", token)) for token in piece) if isinstance(piece, list) else str(piece)


@dataclass(frozen=True)
class DataOption:
    """Option of a data axis: which samples a trial learns from.

    `value` is what the axis' carrier gets; `cost`: the time of a trial with it, in plain trials.
    """

    label: str
    value: Any = None
    cost: float = 1.0
    swept: bool = True
    stage: ClassVar[Stage] = "data"


@dataclass(frozen=True)
class TrainingOption:
    """Option of a training axis: how a trial learns its samples. Fields as of `DataOption`."""

    label: str
    value: Any = None
    cost: float = 1.0
    swept: bool = True
    stage: ClassVar[Stage] = "training"


CurationOption = DataOption | TrainingOption
Option = AnswerOption | FormatOption | PromptOption | CurationOption


@dataclass(frozen=True)
class Numbers:
    """Numbers that are options of an open axis: any of `low` to `high`, none of which the table lists.

    `above`: `low` itself is not among them. `label` names an option in a design's label, `cost` is that of its trials.
    `named`: numbers that are listed options under a name; `option(number)` makes an option that is neither of the data
    nor of the training stage.
    """

    label: Callable[[float], str]
    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False
    cost: Callable[[float], float] = lambda number: 1.0
    named: Mapping[float, str] = field(default_factory=dict)
    option: Callable[[float], PromptOption | AnswerOption] | None = None

    def read(self, text: str) -> float | None:
        """The number that a text spells; None for text that is none, or out of range."""
        try:
            number = float(text)
        except ValueError:
            return None
        outside = not self.low <= number <= self.high or (self.above and number == self.low)
        return None if outside or not math.isfinite(number) or (self.whole and number != int(number)) else number

    @property
    def expected(self) -> str:
        """Which numbers these are, in words."""
        kind = "a whole number" if self.whole else "a number"
        least = f"above {self.low:g}" if self.above else f"of {self.low:g} or more"
        return f"{kind} {least}" if math.isinf(self.high) else f"{kind} {least}, at most {self.high:g}"


def spell_number(number: float) -> str:
    """The one spelling of a number in a design: 4, 0.25, 1e-05."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(float(number))


def always_free(task: Task, rationales: bool) -> str:
    """Pin never: the axis changes the samples of every task."""
    return ""


@dataclass(frozen=True)
class Axis:
    """Axis of the design space: one choice in the design of samples. `default` is the baseline's option.

    `pinned(task, rationales)` gives the reason why the axis cannot change the task's samples, or "" where it can.

    Args:
        optional: a design has the axis only where a sweep names it. So it is in the stages data and training, always.
            The default is then *neutral*: it leaves the trial as it is without the axis.
        of_instruction: it changes the instruction only, so without one all its options make the same samples.
        numbers: the axis is open: each of these numbers is an option, besides those listed.

    What follows is for the stages data and training:

        carrier: the class that carries the options out, by import path (`training/curation.py` has its interface).
        setting: the setting of a trial that the options are values of, such as "train.learning_rate"; needs no carrier.
        nuisance: a test of robustness: crossed with the other axes, and never a reason for a design.
        resource: an amount that every trial spends, such as labelled examples. More may be chosen where it shows a
            gain, of several that show none the least; a design and its controls are compared at the same amount.
        one_rung: trials with another option than the default are scored at the end of their training only.
        section: the section below `curation` in the YAML that has the carrier's settings; empty: none.
        reads: the tasks whose examples an option reads, by the carrier's settings.
    """

    name: str
    default: str
    options: Mapping[str, Option]
    pinned: Callable[[Task, bool], str] = always_free
    numbers: Numbers | None = None
    optional: bool = False
    of_instruction: bool = False
    carrier: str = ""
    setting: str = ""
    nuisance: bool = False
    resource: bool = False
    one_rung: bool = False
    section: str = ""
    reads: Callable[[Any], tuple[str, ...]] = field(default=lambda settings: ())

    @property
    def stage(self) -> Stage:
        """Stage of the pipeline that the axis belongs to, the same for all its options."""
        return self.options[self.default].stage

    @property
    def curates(self) -> bool:
        """Whether it is an axis of the stages data or training."""
        return self.stage in ("data", "training")

    @property
    def neutral_default(self) -> bool:
        """Whether a design without the axis is as one with its default."""
        return self.optional or self.curates

    def spell(self, option: str) -> str:
        """The one spelling of an option: of an open axis 4.0 is 4."""
        number = self.numbers.read(option) if self.numbers and option not in self.options else None
        if self.numbers is None or number is None:
            return option
        return self.numbers.named.get(number) or spell_number(number)

    def number_option(self, name: str) -> Option | None:
        """The option that a number is; None where it is none, or the axis is not open."""
        number = self.numbers.read(name) if self.numbers else None
        if self.numbers is None or number is None:
            return None
        if self.numbers.option:
            return self.numbers.option(number)
        kind = DataOption if self.stage == "data" else TrainingOption
        value = int(number) if self.numbers.whole else number
        return kind(self.numbers.label(number), value, self.numbers.cost(number))

    def ordered(self, options: Iterable[str]) -> list[str]:
        """Options in the order of the table, numbers ascending after them, `all` after these, others last."""
        listed = list(self.options)
        named = {name: number for number, name in self.numbers.named.items()} if self.numbers else {}

        def place(option: str) -> tuple[int, float, str]:
            number = named.get(option, self.numbers.read(option)) if self.numbers else None
            if number is not None:
                return 1, number, option
            if option in self.options and getattr(self.options[option], "value", None) == math.inf:
                return 1, math.inf, option
            return (0, listed.index(option), option) if option in listed else (2, 0.0, option)

        return sorted(options, key=place)
