"""Output form: what the answer options tell the format option, and the instruction, about the lines of an answer.

The words, where the rationale stands, whether absent slots are written. The prompt's description of the form is made
from the same `OutputForm` as the completions, so that they cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sde_ray.types import PromptNouns, RecordField, Task, TaskKind

Where = Literal["above", "below"]


@dataclass(frozen=True)
class Punctuation:
    """The punctuation of a language, blanks included."""

    colon: str
    comma: str
    semicolon: str
    stop: str


MARKS: Mapping[str, Punctuation] = {"en": Punctuation(": ", ", ", "; ", "."), "zh": Punctuation("：", "，", "；", "。")}


@dataclass(frozen=True)
class OutputForm:
    """Form of the output: how the lines of an answer are written.

    `placeholder` is the word for an absent slot; `complete`: absent slots have a line; `rationale_position`: whether
    the rationale stands before (first) or after (last) the value; `multilabel`: the slots with any number of labels;
    `number_nouns`: what stands for a number in a schematic, which a format that has numbers writes without quotes.
    `text`: what the answer is of, for a format that repeats it; None where it is not known. `slots`: those of the task,
    in its order; `ordered`: the lines stand in that order. `fields`: those of each slot's records, whose values are
    canonical JSON texts; `single`: the slots with one record at most. `rationale_block`: the rationales stand by
    themselves, before or behind the whole answer, and not beside the values.
    """

    kind: TaskKind
    marks: Punctuation
    nouns: PromptNouns
    placeholder: str
    complete: bool = True
    rationale_position: Literal["first", "last"] | None = None
    multilabel: tuple[str, ...] = ()
    number_nouns: tuple[str, ...] = ()
    text: str | None = None
    slots: tuple[str, ...] = ()
    ordered: bool = True
    rationale_block: Literal["first", "last"] | None = None
    fields: Mapping[str, tuple[RecordField, ...]] = field(default_factory=dict)
    single: tuple[str, ...] = ()

    @property
    def many(self) -> bool:
        """Whether any slot holds a list of values."""
        return self.kind in ("span", "record") or bool(self.multilabel)

    def holds_list(self, slot: str) -> bool:
        """Whether this slot holds a list of values."""
        if self.kind == "record":
            return slot not in self.single
        return self.kind == "span" or slot in self.multilabel

    @property
    def bare_slot(self) -> str | None:
        """The slot whose one record is the whole answer, where a format has no need to name it; None in other tasks."""
        alone = len(self.fields) == len(self.single) == 1 and self.rationale_position is None
        return self.single[0] if alone else None


@dataclass(frozen=True)
class InstructionContext:
    """Context of an instruction: what an option's sentence may name, all of it written by the sample's own pipeline.

    `labels` are the words that may stand for a value, the placeholder included where it is written (those of all slots
    in one list; `task.labels_of` has each slot's own);
    `placeholder_entry` is the entry of a slot without value, `marker` the completion when no slot has one;
    `absent_field` what stands for an absent field of a record, empty where it is left out.
    `wording(key, **words)` fills one of the task's wordings. `lists_absent`: the labels name the word for an absent
    slot; `written(slot)`: the slot's labels as they are written, that word included where it is.
    """

    task: Task
    form: OutputForm
    labels: tuple[str, ...]
    placeholder_entry: str
    marker: str
    absent_field: str
    wording: Callable[..., str]
    lists_absent: bool = True
    written: Callable[[str], tuple[str, ...]] = lambda slot: ()
