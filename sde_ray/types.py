"""Data types that flow through the package: frozen, plain, without heavy imports.

    Example ──answer axes──▶ Lines ──format──▶ Sample ──tokens──▶ trial ──▶ TrialResult ──▶ Effect, Strategy
    Parsed ◀──answer axes── Lines ◀──format── completion

An `Answer` has one shape for every task: slot -> values. A slot that is not in the mapping was not mentioned.
    sentiment   {"food": ("positive",)}
    entities    {"DNA": ("IL-2 gene", "kappa B site")}
    question    {"answer": ("Iran",)}
    records     {"relation": ('{"head": "Marie Curie", "relation": "born in", "tail": "Warsaw"}',)}

Of a task of records each value is one record as canonical JSON text (`data.record_values`), so that whatever carries
answers carries records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Answer = Mapping[str, tuple[str, ...]]
TaskKind = Literal["label", "span", "free", "record"]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """Example of a dataset: a text with its gold answer. `aliases`: further accepted values by slot (questions)."""

    id: str
    text: str
    answer: Answer
    rationale: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """Line, one slot of an answer on its way to or from text. `values == ()`: the slot is absent."""

    slot: str
    values: tuple[str, ...]
    rationale: str | None = None


@dataclass(frozen=True)
class Segment:
    """Segment, a piece of a sample. `loss`: its tokens are trained on; a number between 0 and 1 is their weight.

    `role`: "text" may be cut when over-long, the others never.
    """

    text: str
    loss: bool | float
    role: Literal["instruction", "text", "glue", "completion"] = "glue"


@dataclass(frozen=True)
class Sample:
    """Sample, an example written in a design: the prompt and the target completion."""

    id: str
    prompt: tuple[Segment, ...]
    completion: Segment


FaultKind = Literal[
    "empty",
    "syntax",
    "repeated_slot",
    "unknown_slot",
    "unknown_label",
    "missing_slot",
    "unexpected_placeholder",
    "missing_rationale",
    "repeated_label",
    "copy_error",
    "unknown_field",
    "missing_field",
    "repeated_field",
    "bad_value",
]


@dataclass(frozen=True)
class Fault:
    """Parse fault: one way in which a completion departs from the form; `kind` is counted, `detail` is shown."""

    kind: FaultKind
    detail: str = ""


@dataclass(frozen=True)
class Parsed:
    """Parsed completion: its answer, and its faults. Unknown slots and labels are faults, not part of the answer."""

    answer: Answer
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class PromptNouns:
    """Nouns that a task's prompt is made of; also the JSON keys (`slot`, `value`, `rationale`)."""

    text: str = "text"
    slot: str = "slot"
    value: str = "label"
    rationale: str = "reason"


FieldType = Literal["label", "span", "text", "number", "integer", "boolean", "record"]


@dataclass(frozen=True)
class RecordField:
    """Field of a record: its name, and what its value is.

    Args:
        type: a closed `label`, a `span` (words of the text), any `text`, a `number`, an `integer`, a `boolean`, or a
            nested `record`.
        labels: the only values that it may have; always of a label, perhaps of a number.
        optional: whether a record may lack it.
        many: whether it holds a list of such values.
        fields: those of a nested record.
    """

    name: str
    type: FieldType = "text"
    labels: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False
    fields: tuple[RecordField, ...] = ()


Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Task:
    """Task: what is asked of a text. `kind`: one closed label a slot, a list of spans, one free value, or a list of
    records.

    `labels` stand in the order of the prompt, without the `placeholder`; `numbers` maps every label and the
    placeholder to the number word used by `labels=number`. `instructions` are three wordings with the fields {where},
    {text}, {slots}, {labels} and {count}, or import paths of functions that take these and return the wording.
    `load(split)` returns all examples of a split, in a fixed order.
    `domains` names the sibling tasks ("masa:d2") that are out-of-domain for this one.
    `span_match` is the rule of the soft metrics of spans: "within" (near, and one contains the other: entities) or
    "near" (events).

    What only some tasks have is empty by default: `slot_labels`, the labels of each slot where the slots do not share
    one list (`labels` is then their union, without doublets), and `slot_numbers`, the numbers of these; `multilabel`,
    the slots that hold any number of labels; `ranges`, the lowest and the highest value of each slot whose free value
    is a number; `positive`, the label that is looked for, whose F1 ranks designs; `answered`, whether every question
    that an example asks has an answer (a slot that its gold leaves out was not asked); `numbered`, whether the slots
    are the numbers of instances that stand in one text (`data.batches`); `definitions`, what slots and labels mean, by
    name; `fields`, those of each slot's records; `single`, the slots with one record a text at most; `label_words`, the
    words that stand for labels with `labels=words`, by slot and label: of all slots under "".
    """

    name: str
    kind: TaskKind
    language: Literal["en", "zh"]
    slots: tuple[str, ...]
    nouns: PromptNouns
    instructions: tuple[str, ...]
    metrics: tuple[str, ...]
    objective: str
    load: Callable[[Split], list[Example]]
    labels: tuple[str, ...] | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)
    placeholder: str = "none"
    domains: tuple[str, ...] = ()
    wordings: Mapping[str, str] = field(default_factory=dict)
    span_match: Literal["within", "near"] = "within"
    slot_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    slot_numbers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    multilabel: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    positive: str = ""
    answered: bool = False
    numbered: bool = False
    definitions: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, tuple[RecordField, ...]] = field(default_factory=dict)
    single: tuple[str, ...] = ()
    label_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def labels_of(self, slot: str) -> tuple[str, ...]:
        """Labels that a slot may have: its own, else those that all slots share; none where the task has no labels."""
        return self.slot_labels.get(slot, self.labels or ())

    @property
    def has_absent_slots(self) -> bool:
        """Whether a slot may be absent: in an answered task only numbers beyond the instances of a text are."""
        return self.numbered or not self.answered

    @property
    def has_rationales(self) -> bool:
        """Whether any training example says why; without, `reasoning` is pinned."""
        return any(example.rationale for example in self.load("train"))


@dataclass(frozen=True, order=True)
class Design:
    """Design: one option per axis, as (axis, option) pairs in the order of the table `AXES`; made by `make_design`."""

    options: tuple[tuple[str, str], ...]

    def __getitem__(self, axis: str) -> str:
        return dict(self.options)[axis]

    @property
    def slug(self) -> str:
        """`format=lines,instruction=first,...`: sorted, complete, the design's name in files and MLflow."""
        return ",".join(f"{axis}={option}" for axis, option in sorted(self.options))

    def replace(self, **options: str) -> Design:
        """This design with other options on some of its axes (unknown axes are a programming error)."""
        assert set(options) <= {axis for axis, _ in self.options}, options
        return Design(tuple((axis, options.get(axis, option)) for axis, option in self.options))


def key_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a trial's plain configuration is in its key: not where files are, as moving them makes no other trial.

    A task's `definition` has its fingerprint in `data`; of a general set, `path@hash`, the hash counts.
    """
    values = {name: value for name, value in config.items() if name != "definition"}
    return {**values, "general": str(values["general"]).rpartition("@")[2]} if "general" in values else values


Status = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class RungResult:
    """A trial's scores after a share of its training; keys of `scores` are splits ("dev", "dev_ood").

    `stopped_early`: why the trial was not asked all items, with the scores of those that it was asked; empty: it was.
    """

    rung: int
    examples: int
    scores: Mapping[str, Scores]
    stopped_early: str = ""


@dataclass(frozen=True)
class TrialResult:
    """Result of a trial: scores and fault counts by split, seconds by phase, token counts, training losses.

    `curation`: what its data and training axes have counted, such as samples that a filter has dropped. `environment`:
    the device, the dtype as resolved, the versions of the libraries, and the commit of a model of the hub.
    `out_of_memory`: how many times memory was short in training, so that a step was cut into smaller parts.
    `skipped_steps`: how many steps changed nothing, as gradients overflowed in float16.
    `general`: what training has done to the general set (`evaluation.general_set.forgetting`), if it was asked for.
    """

    key: str
    config: Mapping[str, Any]
    status: Status
    scores: Mapping[str, Scores] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rungs: tuple[RungResult, ...] = ()
    error: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    peak_memory_mb: float = 0.0
    curation: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    out_of_memory: int = 0
    skipped_steps: int = 0
    general: Mapping[str, float] = field(default_factory=dict)
