"""Survey of a user's data before any task is defined: texts, answers by slot, and the data section that reads them.

    survey(read_any(Path("tickets.csv")))
    -> Survey("plain records", texts=(...), answers=({"urgency": ("high",)},), section={"columns": {"text": "body"}})

`sde-ray init` makes a task of it (`config/scaffold.py`). What was guessed is told in `notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import Any

from sde_ray.data import messages
from sde_ray.data.answer_text import fenced_json, split_thought
from sde_ray.data.columns import Values, as_values, infer_kind, is_answer_column, split_cells, text_column
from sde_ray.data.formats import FORMATS
from sde_ray.data.recognition import Shape, recognise
from sde_ray.data.records import BadRecord, Record
from sde_ray.data.schema import Schema
from sde_ray.errors import UserError, suggest

ALONE = ""
"""The slot of answers that name none, until the task gives it a name."""
SPLIT_WORDS = {"train", "training", "dev", "val", "valid", "validation", "eval", "test", "testing"}
SHORTEST_INSTRUCTION = 15  # characters that all texts begin with before they count as an instruction


@dataclass(frozen=True)
class Survey:
    """Survey of records: `texts` and `answers` by slot, one a record.

    `section` is what a task's `data` must say besides the place; `schema` that of a published set. `columns_left` are
    columns that may be answers and were not taken, `nested` slots whose values are objects; `objects` are then the
    answers as they stand, one a record. `instruction` is what the data themselves tell a model to do.
    """

    title: str
    texts: tuple[str, ...]
    answers: tuple[Mapping[str, Values], ...]
    section: Mapping[str, Any] = field(default_factory=dict)
    schema: Schema | None = None
    has_rationales: bool = False
    instruction: str = ""
    columns_left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    objects: tuple[Any, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        """Every slot that an answer names, in the order of their first appearance."""
        return tuple(dict.fromkeys(slot for answer in self.answers for slot in answer))

    def column(self, slot: str) -> list[Values]:
        """The values of a slot, one tuple a record; cells with several labels are taken apart."""
        column = [answer.get(slot, ()) for answer in self.answers]
        parted = split_cells(column)
        return parted if infer_kind(parted, self.texts) in ("label", "span") else column


def survey(title: str, records: Sequence[Record], text: str = "", slots: Sequence[str] = (), kind: str = "") -> Survey:
    """Survey of records.

    Args:
        title: names their source in messages.
        records: those of the train split.
        text: the column of the text; empty: it is guessed.
        slots: the columns that are answers; empty: they are guessed.
        kind: that of the answers, where the data have several (choices and spans); empty: labels.

    Raises UserError: when the records are in a form that is not read, or neither text nor answers can be found.
    """
    shape = recognise(records)
    if shape is not None and not shape.format:
        raise UserError(f"{title} looks like {shape.title}, which is not read. {shape.remedy}")
    if shape is None:
        return _of_plain(title, records, text, slots)
    if FORMATS[shape.format].translate is None:
        examples = FORMATS[shape.format].examples(title, records, None)
        texts, answers = [e.text for e in examples], [dict(e.answer) for e in examples]
        schema = FORMATS[shape.format].schema
        return Survey(shape.title, tuple(texts), tuple(answers), {"format": shape.format}, schema)
    found = _of_shape(title, shape, records, text, kind)
    if not slots:
        return found
    answers = [{slot: values for slot, values in answer.items() if slot in slots} for answer in found.answers]
    return replace(found, answers=tuple(answers))


def _of_shape(title: str, shape: Shape, records: Sequence[Record], text: str, kind: str) -> Survey:
    """Survey of records in another tool's form, through its own `translate`."""
    options: dict[str, Any] = {"columns": {"text": text}} if text and shape.format == "label_studio" else {}
    notes: list[str] = []
    if shape.format == "label_studio":
        options |= _label_studio_options(records, notes)
    instruction = ""
    if {*messages.OPTIONS} <= {*FORMATS[shape.format].options}:
        more, instruction = _chat_options(shape.format, records, notes)
        options |= more
    read = _translated(title, shape, records, options, notes)
    rows = [row for _, row in read]
    nested = _nested([row["answer"] for row in rows])
    answers = [_by_slot(row["answer"]) for row in rows]
    if shape.format == "label_studio":
        answers = _of_one_kind([record for record, _ in read], options, answers, kind, notes)
    return Survey(
        shape.title,
        tuple(row["text"] for row in rows),
        tuple(answers),
        {"format": shape.format, **options},
        has_rationales=any(row.get("rationale") for row in rows),
        instruction=instruction,
        notes=tuple(notes),
        nested=nested,
        objects=_objects(shape, [record for record, _ in read], options) if nested or kind == "record" else (),
    )


def _objects(shape: Shape, records: Sequence[Record], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The answers of records as the JSON that stands there, one a record."""
    translate = FORMATS[shape.format].translate
    assert translate is not None
    rows = [translate(record.fields, Schema("record", (ALONE,)), **options) for record in records]
    return tuple(_object(row["answer"]) for row in rows if row is not None)


def _object(answer: Any) -> Any:
    return fenced_json(split_thought(answer)[0]) if isinstance(answer, str) else answer


def _translated(
    title: str, shape: Shape, records: Sequence[Record], options: Mapping[str, Any], notes: list[str]
) -> list[tuple[Record, Mapping[str, Any]]]:
    """The records that translate into plain ones, each with its own; the others are counted."""
    translate = FORMATS[shape.format].translate
    assert translate is not None
    rows, faults = [], Counter[str]()
    for record in records:
        try:
            fields = translate(record.fields, None, **options)
        except BadRecord as error:
            faults[str(error)] += 1
            continue
        rows += [(record, fields)] if fields is not None else []
    if not rows:
        first = next(iter(faults), "none has an answer")
        raise UserError(f"{title} looks like {shape.title}, but no record can be read: {first}.")
    notes += [f"{count} of {len(records)} records cannot be read: {fault}" for fault, count in faults.most_common(3)]
    return rows


def _nested(answers: Sequence[Any]) -> tuple[str, ...]:
    """The slots that hold objects, or lists in lists, in some answer."""
    mappings = [answer if isinstance(answer, Mapping) else {"answer": answer} for answer in answers]
    return tuple(dict.fromkeys(str(s) for one in mappings for s, value in one.items() if as_values(value) is None))


def _by_slot(answer: Any) -> dict[str, Values]:
    """An answer's values by slot; what is no value is left out, as the loader will tell it."""
    mapping = answer if isinstance(answer, Mapping) else {ALONE: answer}
    values = {str(slot): as_values(value) for slot, value in mapping.items()}
    return {slot: several for slot, several in values.items() if several}


# ---- the forms of other tools ----------------------------------------------------------------------------------------


def _label_studio_options(records: Sequence[Record], notes: list[str]) -> dict[str, Any]:
    translate = FORMATS["label_studio"].translate
    assert translate is not None
    differ = 0
    for record in records:
        try:
            translate(record.fields, None)
        except BadRecord as error:
            differ += "annotations differ" in str(error)
    if not differ:
        return {}
    notes.append(
        f"the annotations of {differ} tasks differ: the first one is taken (`disagreement: skip` leaves them out)"
    )
    return {"disagreement": "first"}


def _of_one_kind(
    records: Sequence[Record],
    options: Mapping[str, Any],
    answers: list[dict[str, Values]],
    kind: str,
    notes: list[str],
) -> list[dict[str, Values]]:
    """The answers of one kind, one a record, of a project that has choices as well as marked spans."""
    translate = FORMATS["label_studio"].translate
    assert translate is not None
    slots = tuple(dict.fromkeys(slot for answer in answers for slot in answer))
    by_kind: dict[str, list[dict[str, Values]]] = {}
    for each in ("label", "span"):
        schema = Schema("label" if each == "label" else "span", slots)
        by_kind[each] = [_answer(translate, record, schema, options) for record in records]
    if not all(any(several) for several in by_kind.values()):
        return answers
    chosen = kind if kind in by_kind else "label"
    notes.append(
        "the project has choices and marked spans: --kind label takes the choices (the default), span the others"
    )
    return by_kind[chosen]


def _answer(translate: Any, record: Record, schema: Schema, options: Mapping[str, Any]) -> dict[str, Values]:
    """The answer of a record in a schema; empty where there is none."""
    try:
        row = translate(record.fields, schema, **options)
    except BadRecord:
        return {}
    return {} if row is None else _by_slot(row["answer"])


def _chat_options(name: str, records: Sequence[Record], notes: list[str]) -> tuple[dict[str, Any], str]:
    """The options of a chat format that fit these records, and the instruction that stands in all of them."""
    told = [messages.instruction_of(record.fields) for record in records if isinstance(record.fields, Mapping)]
    distinct = {text for text in told if text}
    options: dict[str, Any] = {}
    instruction = distinct.pop() if len(distinct) == 1 else ""
    if distinct:
        options["keep_instruction"] = True
        notes.append(f"there are {len(distinct)} different instructions or system messages: they are kept in the text")
    translate = FORMATS[name].translate
    assert translate is not None
    texts = []
    for record in records:
        try:
            row = translate(record.fields, None)
        except BadRecord:
            continue
        texts += [row["text"]] if row is not None else []
    template = prompt_template(texts)
    if template and not options:
        options["prompt_template"] = template
        instruction = instruction or template.replace("{text}", "").strip()
        notes.append("all texts hold the same instruction: prompt_template takes it out, as each design writes its own")
    return options, instruction


def prompt_template(texts: Sequence[str]) -> str:
    """The template "...{text}..." that all texts have been written in; empty where they share no instruction."""
    if len(texts) < 4 or len({*texts}) < 4:
        return ""
    before = _common_start(texts)
    cut = max(before.rfind(mark) + len(mark) if mark in before else 0 for mark in ("\n", ": ", ":\n"))
    before = before[:cut]
    after = _common_start([text[len(before) :][::-1] for text in texts])[::-1]
    after = after[after.index("\n") :] if "\n" in after else ""
    rest = [text[len(before) : len(text) - len(after)].strip() for text in texts]
    if len(before) + len(after.strip()) < SHORTEST_INSTRUCTION or not all(rest) or "{text}" in before + after:
        return ""
    return f"{before}{{text}}{after}"


def _common_start(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    first, last = min(texts), max(texts)
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


# ---- plain records and tables ----------------------------------------------------------------------------------------


def _of_plain(title: str, records: Sequence[Record], text: str, slots: Sequence[str]) -> Survey:
    rows = [record.fields for record in records if isinstance(record.fields, Mapping)]
    if not rows:
        raise UserError(
            f"{title}: its records are no objects with named fields. Give JSON objects, or CSV with a header."
        )
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    _refuse_headless(title, rows, names)
    notes = _split_column(rows, names)
    for name in [*([text] if text else []), *slots]:
        if name not in names and not _has_answers(rows):
            raise UserError(f'{title} has no column "{name}".{suggest(name, names)} It has: {", ".join(names)}.')
    chosen = text or text_column(rows)
    if chosen is None:
        raise UserError(f"{title} has no column of texts. Name it with --text. It has: {', '.join(names)}.")
    columns = {} if chosen == "text" else {"text": chosen}
    texts = [str(row[chosen]) if row.get(chosen) is not None else "" for row in rows]
    left: list[str] = []
    nested, objects = tuple[str, ...](), tuple[Any, ...]()
    answers_in = "answer" if _has_answers(rows) else _mapping_column(rows)
    if answers_in and not (slots and slots[0] in names):
        columns |= {} if answers_in == "answer" else {"answer": answers_in}
        answers, nested = (
            [_by_slot(row.get(answers_in)) for row in rows],
            _nested([row.get(answers_in) for row in rows]),
        )
        objects = tuple(_object(row.get(answers_in)) for row in rows)
        answers = [{s: v for s, v in answer.items() if not slots or s in slots} for answer in answers]
    else:
        taken, left = (list(slots), []) if slots else _answer_columns(title, rows, names, chosen, texts)
        answers = [{name: values for name in taken if (values := as_values(row.get(name)))} for row in rows]
    section = {"columns": columns} if columns else {}
    reasons = any(row.get("rationale") for row in rows)
    found = Survey("plain records", tuple(texts), tuple(answers), section, None, reasons, "", tuple(left), tuple(notes))
    return replace(found, nested=nested, objects=objects)


def _refuse_headless(title: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Refuse a table whose first line is a row like the others: a column's name is then one of its own values."""
    if any(sum(row.get(name) == name for row in rows) > 1 for name in names):
        shown = ", ".join(name[:20] for name in names)
        raise UserError(
            f"{title}: its first line ({shown}) looks like a row of data, but must be the names of the columns. "
            "Put a line such as text,label before it, with the same delimiter."
        )


def _split_column(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """A note on a column that says which split a row belongs to."""
    for name in names:
        values = {str(row.get(name)).casefold() for row in rows}
        if len(values) > 1 and values <= SPLIT_WORDS:
            return [
                f"the column {name} seems to say which split a row is in, and is not read: write a file for each split"
            ]
    return []


def _has_answers(rows: Sequence[Mapping[str, Any]]) -> bool:
    return sum("answer" in row for row in rows) > 0.5 * len(rows)


def _mapping_column(rows: Sequence[Mapping[str, Any]]) -> str:
    """The one column whose values are objects, which then are the answers; empty where there is none, or several."""
    names = dict.fromkeys(name for row in rows for name in row)
    mapped = [name for name in names if all(isinstance(row.get(name), Mapping) for row in rows if row.get(name))]
    mapped = [name for name in mapped if any(row.get(name) for row in rows) and name not in ("meta", "metadata")]
    return mapped[0] if len(mapped) == 1 else ""


def _answer_columns(
    title: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str], text: str, texts: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The columns that are answers, of one kind, labels before all others; and those that may be and are left out."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        column = [as_values(row.get(name)) for row in rows]
        plain = [values for values in column if values is not None]
        if name == text or len(plain) < len(column):
            continue
        kind = infer_kind(plain, texts)
        kind = infer_kind(split_cells(plain), texts) if kind == "free" else kind
        if kind is not None and (is_answer_column(name, plain) or name.casefold() in ("label", "labels", "class")):
            by_kind.setdefault(kind, []).append(name)
    for kind_of_all in ("label", "span", "free", "number"):
        taken = by_kind.get(kind_of_all, [])
        if len(taken) == 1 or (taken and kind_of_all != "free"):
            return taken, [name for others in by_kind.values() for name in others if name not in taken]
    listed = ", ".join(_with_only_value(name, rows) for name in names if name != text) or "none"
    raise UserError(
        f'{title}: no column but "{text}" can be told to hold answers. Name those that do with --slots, '
        f"such as --slots label; the columns are: {listed}."
    )


def _with_only_value(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The name of a column, and its value where that is the same in every row: no answer can be learnt from it."""
    distinct = {str(row.get(name)) for row in rows}
    return f'{name} (always "{shorten(distinct.pop(), 40, placeholder="...")}")' if len(distinct) == 1 else name
