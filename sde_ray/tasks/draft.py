"""Draft of a task from a survey of its data: kind, slots, labels, placeholder, language, and what is unsure of it.

draft_task("tickets", survey("tickets.csv", records)).section()
-> {"name": "tickets", "kind": "label", "slots": [...], "labels": {"urgency": ["low", "high"], ...}, ...}
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from sde_ray.data.columns import IN_TEXT, Values, infer_kind, is_number, ordered
from sde_ray.data.record_inference import optional_paths, short_form
from sde_ray.data.survey import ALONE, Survey
from sde_ray.errors import UserError
from sde_ray.tasks.defaults import ONE_SLOT, PLACEHOLDERS
from sde_ray.tasks.draft_records import draft_fields
from sde_ray.types import RecordField, TaskKind

ABSENT = (
    *("unmentioned", "not mentioned", "not said", "not given", "none", "absent", "unspecified", "unknown", "n/a", "-"),
    *("未提及", "无", "未知"),
)
"""Words that data use for "not mentioned", and that may be a task's placeholder."""
SLOT_ALONE = {"label": "label", "span": "span", "free": "answer"}
"""What the slot is called, by kind, where the data name none."""
MISSING = ("nan", "null", "na", "#n/a", "nat")
"""What programs write into a cell that should be empty."""
RARE, FEW, PROSE = 5, 100, 6
_CHINESE, _LETTER = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class TaskDraft:
    """Draft of a task: what its YAML section says, and `doubts`, each a sentence for its author.

    `counts`: how often each label stands in the train split, by slot. `ranges`: lowest and highest value of slots of
    numbers. `fields`: those of the records of each slot; `single`: slots with one record a text.
    """

    name: str
    kind: TaskKind
    slots: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    multilabel: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    placeholder: str = ""
    language: Literal["en", "zh"] = "en"
    doubts: tuple[str, ...] = ()
    fields: Mapping[str, tuple[RecordField, ...]] = field(default_factory=dict)
    single: tuple[str, ...] = ()

    def labels_of(self, slot: str) -> tuple[str, ...]:
        """The labels of a slot, in the order of the prompt."""
        return ordered(self.counts[slot])

    @property
    def has_one_label(self) -> bool:
        """Whether the task is plain classification: one slot with one label, which needs no talk of aspects."""
        return self.kind == "label" and len(self.slots) == 1 and not self.multilabel

    @property
    def shares_labels(self) -> bool:
        """Whether one list of labels is for all slots: each slot's labels are among those of the richest slot."""
        lists = [{*self.counts[slot]} for slot in self.slots]
        return max(lists, key=len) >= set().union(*lists) if lists else False

    def shared_labels(self) -> tuple[str, ...]:
        """The one list of labels of all slots."""
        total = Counter[str]()
        for slot in self.slots:
            total.update(self.counts[slot])
        return ordered(total)

    def section(self) -> dict[str, Any]:
        """The task's section in YAML, without its data."""
        section: dict[str, Any] = {"name": self.name, "kind": self.kind, "slots": list(self.slots)}
        section |= {"language": self.language} if self.language != "en" else {}
        section |= {"instruction": ONE_SLOT[self.language]["label"][0]} if self.has_one_label else {}
        if self.kind == "label":
            by_slot = {slot: list(self.labels_of(slot)) for slot in self.slots}
            section["labels"] = list(self.shared_labels()) if self.shares_labels else by_slot
        if self.multilabel:
            section["multilabel"] = True if self.multilabel == self.slots else list(self.multilabel)
        if self.ranges:
            section["range"] = {slot: list(bounds) for slot, bounds in self.ranges.items()}
        if self.fields:
            section |= self._records()
        return section | {"placeholder": self.placeholder}

    def _records(self) -> dict[str, Any]:
        """What the section says of records: one mapping of fields where all slots share it."""
        short = {slot: short_form(fields) for slot, fields in self.fields.items()}
        section: dict[str, Any] = {"fields": short[self.slots[0]] if len(short) == 1 else short}
        optional = dict.fromkeys(path for fields in self.fields.values() for path in optional_paths(fields))
        section |= {"optional": list(optional)} if optional else {}
        return section | ({"single": True} if self.single == self.slots else {})


def draft_task(name: str, survey: Survey, kind: str = "") -> TaskDraft:
    """Draft a task from a survey of its data.

    Args:
        name: the task's.
        survey: its texts and answers.
        kind: label, span, free or record; empty: told by the values.

    Raises UserError: when there is no answer in the data.
    """
    if survey.schema is not None:
        schema = survey.schema
        known = {slot: dict.fromkeys(schema.labels, 0) for slot in schema.slots} if schema.labels else {}
        language: Literal["en", "zh"] = _language(survey.texts)
        return TaskDraft(name, schema.kind, schema.slots, known, (), {}, schema.placeholder, language)
    if kind == "record" or (not kind and survey.nested):
        return _of_records(name, survey)
    if not survey.slots:
        raise UserError(_no_answer(name, survey.nested))
    doubts: list[str] = []
    columns = {slot: survey.column(slot) for slot in survey.slots}
    if ALONE in columns and len(columns) > 1:
        bare = sum(map(bool, columns.pop(ALONE)))
        doubts.append(f"{bare} of {len(survey.answers)} answers name no slot: faults when they are loaded")
    kinds = {slot: infer_kind(column, survey.texts) or "free" for slot, column in columns.items()}
    chosen = _kind(kind, kinds, columns, survey.texts, doubts)
    columns = {slot or SLOT_ALONE[chosen]: column for slot, column in columns.items()}
    kinds = {slot or SLOT_ALONE[chosen]: each for slot, each in kinds.items()}
    language = _language(survey.texts)
    counts, placeholder = _labels(columns, doubts) if chosen == "label" else ({}, "")
    doubts += _text_doubts(survey)
    doubts += _prose_doubts(columns) if chosen == "free" else []
    if survey.columns_left:
        doubts.append(f"left out, as they hold other kinds of values: {', '.join(survey.columns_left)}")
    return TaskDraft(
        name=name,
        kind=chosen,
        slots=tuple(columns),
        counts=counts,
        multilabel=tuple(
            s for s, column in columns.items() if chosen == "label" and any(len({*v}) > 1 for v in column)
        ),
        ranges=_ranges(columns, kinds) if chosen == "free" else {},
        placeholder=placeholder or _free_word(PLACEHOLDERS[language][chosen], counts),
        language=language,
        doubts=tuple(doubts),
    )


def _of_records(name: str, survey: Survey) -> TaskDraft:
    """Draft of a task of records, whose fields are told by the data."""
    fields, single, doubts = draft_fields(name, survey)
    language = _language(survey.texts)
    return TaskDraft(
        name,
        "record",
        tuple(fields),
        placeholder=PLACEHOLDERS[language]["record"],
        language=language,
        doubts=(*doubts, *_text_doubts(survey, [repr(one) if one else "" for one in survey.objects])),
        fields=fields,
        single=tuple(fields) if single else (),
    )


def _no_answer(name: str, nested: Sequence[str]) -> str:
    """What is wrong with data without an answer that can be read."""
    if not nested:
        return f"{name}: no record has an answer. Expected one or more; is the right column named?"
    return (
        f"{name}: the answers hold objects or lists in lists ({', '.join(nested[:3])}); a value is a word, a number "
        'or a list of them. Write each part under a slot of its own, {"head": "aspirin", "tail": "fever"}, or a whole '
        'as one text, {"relations": ["aspirin treats fever"]}.'
    )


def _kind(
    wanted: str,
    kinds: Mapping[str, str],
    columns: Mapping[str, Sequence[Values]],
    texts: Sequence[str],
    doubts: list[str],
) -> TaskKind:
    """The one kind of all slots: spans where all values stand in their texts, labels where all slots have them, else
    free values."""
    if wanted in ("label", "span", "free"):
        return wanted  # type: ignore[return-value]
    if wanted:
        raise UserError(f'There is no kind "{wanted}". Expected label, span, free or record.')
    values = {value for column in columns.values() for row in column for value in row}
    pairs = [(v, text) for column in columns.values() for row, text in zip(column, texts, strict=True) for v in row]
    in_text = sum(value in text for value, text in pairs) >= IN_TEXT * len(pairs)
    if in_text and len(values) > 4 and not all(map(is_number, values)):
        return "span"
    if {*kinds.values()} == {"label"}:
        return "label"
    if "label" in kinds.values():
        odd = ", ".join(slot for slot, kind in kinds.items() if kind != "label")
        doubts.append(
            f"{odd} has other values than labels, and a task has one kind, so all slots are free words; "
            f"for labels name the others only: --slots {','.join(s for s, kind in kinds.items() if kind == 'label')}; "
            "or --kind record, where each field has its own"
        )
    return "free"


def _labels(columns: Mapping[str, Sequence[Values]], doubts: list[str]) -> tuple[dict[str, Counter[str]], str]:
    """Labels with their counts by slot, and the word that the data use for "not mentioned", if they have one."""
    counts = {slot: Counter(value for row in column for value in row) for slot, column in columns.items()}
    placeholder = ""
    if len(columns) > 1:
        words = Counter(label for slot in counts for label in counts[slot] if label.casefold() in ABSENT)
        placeholder = words.most_common(1)[0][0] if words else ""
        if placeholder:
            doubts.append(f'"{placeholder}" is taken for "not mentioned", so it is the placeholder and no label')
    for slot, own in counts.items():
        missing = [label for label in own if label.casefold() in MISSING]
        for label in [*missing, placeholder]:
            times = own.pop(label, 0)
            if label in missing and times:
                doubts.append(f'{slot} is "{label}" {_times(times)}: leave such a cell empty, it is no label')
        doubts += _label_doubts(slot, own)
    return counts, placeholder


def _label_doubts(slot: str, counts: Counter[str]) -> list[str]:
    doubts = []
    common = [label for label, times in counts.items() if times >= RARE]
    for label, times in counts.items():
        near = difflib.get_close_matches(
            label.casefold().strip(), [c.casefold() for c in common if c != label], 1, 0.75
        )
        if near and times < RARE and not is_number(label):
            whole = next(other for other in common if other.casefold() == near[0] and other != label)
            doubts.append(
                f'{slot}: "{label}" ({_times(times)}) looks like a slip for "{whole}" ({_times(counts[whole])}); '
                "if so, repair the data and delete the label"
            )
    rare = [label for label, times in counts.items() if times < RARE]
    if rare and len(rare) < len(counts):
        doubts.append(f"{slot}: fewer than {RARE} examples of {', '.join(sorted(rare)[:6])}")
    if len(counts) == 1:
        doubts.append(f'{slot} has one label only, "{next(iter(counts))}": there is nothing to learn')
    return doubts


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _text_doubts(survey: Survey, said: Sequence[str] = ()) -> list[str]:
    """What is odd about texts and answers; `said`: the answers as texts, empty where they name nothing."""
    said = said or [repr(sorted(answer.items())) if answer else "" for answer in survey.answers]
    doubts = list(survey.notes)
    empty = sum(not text.strip() for text in survey.texts)
    if empty:
        doubts.append(f"{empty} texts are empty: a fault when they are loaded")
    answers: dict[str, set[str]] = {}
    for text, answer in zip(survey.texts, said, strict=True):
        answers.setdefault(" ".join(text.casefold().split()), set()).add(answer)
    differ = sum(len(several) > 1 for several in answers.values())
    if differ:
        doubts.append(f"{differ} texts stand in the data with different answers")
    unanswered = sum(not answer for answer in said)
    if unanswered:
        doubts.append(f"{unanswered} of {len(said)} records mention no slot: they count as examples of that")
    if len(survey.texts) < FEW:
        doubts.append(f"{len(survey.texts)} examples are few: scores will have wide intervals")
    return doubts


def _prose_doubts(columns: Mapping[str, Sequence[Values]]) -> list[str]:
    """Slots whose values are sentences: exact agreement, which free values are scored by, says little of them."""
    sizes = {slot: [len(value.split()) for row in column for value in row] for slot, column in columns.items()}
    return [
        f"{slot}: answers of {median(each):g} words (median) hardly ever agree word for word, which is what accuracy "
        "counts: name a metric of your own, such as ROUGE or a judge (docs/tasks-and-metrics.md)"
        for slot, each in sizes.items()
        if each and median(each) > PROSE
    ]


def _has_several(column: Sequence[Values]) -> bool:
    return any(len({*values}) > 1 for values in column)


def _ranges(columns: Mapping[str, Sequence[Values]], kinds: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each slot of numbers, as whole numbers around the data's."""
    ranges = {}
    for slot, column in columns.items():
        values = [value for row in column for value in row]
        if kinds[slot] == "number" or (values and all(map(is_number, values))):
            numbers = [float(value) for value in values]
            ranges[slot] = float(math.floor(min(numbers))), float(math.ceil(max(numbers)))
    return ranges


def _free_word(word: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """The placeholder, or another word where it is a label."""
    labels = {label.casefold() for own in counts.values() for label in own}
    return next(one for one in (word, "not mentioned", "not said", f"({word})") if one.casefold() not in labels)


def _language(texts: Sequence[str]) -> Literal["en", "zh"]:
    letters = _LETTER.findall("".join(texts[:200])[:20_000])
    return "zh" if len(_CHINESE.findall("".join(letters))) > 0.3 * len(letters) else "en"
