"""Label Studio exports, JSON, JSON-MIN and CSV: choices, labels with character offsets, text areas, ratings, numbers.

    [{"id": 1, "data": {"text": "No wifi!"}, "annotations": [{"result": [
        {"from_name": "urgency", "type": "choices", "value": {"choices": ["high"]}}]}]}]
    [{"id": 1, "text": "No wifi!", "urgency": "high", "label": [{"start": 3, "end": 7, "labels": ["product"]}]}]

A choice answers the slot that is called as its tag in the labelling interface (`from_name`); of marked spans the label
is the slot. The task's kind says which are read: label takes choices, ratings and numbers, span takes marked spans,
free takes text areas, numbers and choices. What is no slot of the task is left out, and so are tasks that nobody has
annotated. Where several annotations of a task differ and none is the ground truth, `disagreement: first` takes the
first, `skip` leaves the task out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.jsonl import convert, read_rows
from sde_ray.data.offsets import strings_by_label
from sde_ray.data.records import BadRecord
from sde_ray.data.schema import Schema
from sde_ray.safe_json import read_json

CHOICES, AREAS = ("choices", "rating", "number", "taxonomy"), ("textarea", "number", "choices")
MARKS = ("labels", "hypertextlabels", "paragraphlabels")
OPTIONS = ("columns", "disagreement")
OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
"""Keys of JSON-MIN that are no answers."""


def is_export(fields: Any) -> bool:
    """Whether a record is a task of an export in JSON."""
    if not isinstance(fields, Mapping) or not isinstance(fields.get("data"), Mapping):
        return False
    return isinstance(fields.get("annotations", fields.get("completions")), list)


def is_minimal(fields: Any) -> bool:
    """Whether a record is a task of an export in JSON-MIN or CSV."""
    return isinstance(fields, Mapping) and {"annotator", "annotation_id"} <= {*fields}


def translate(
    fields: Any, schema: Schema | None, columns: Mapping[str, str] | None = None, disagreement: str = ""
) -> dict[str, Any] | None:
    """A task of an export as a plain record: id, text, answer; None where nobody has annotated it."""
    kind = schema.kind if schema else ""
    if is_minimal(fields):
        data, answers = fields, [_minimal(fields, _text(fields, columns), schema)]
    elif is_export(fields):
        data = fields["data"]
        text = _text(data, columns)
        answers = [_answer(annotation, text, kind) for annotation in _annotations(fields)]
    else:
        raise BadRecord('expected a task of a Label Studio export, with "data" and "annotations"')
    if not answers:
        return None
    if any(answer != answers[0] for answer in answers):
        if disagreement == "skip":
            return None
        if disagreement != "first":
            raise BadRecord(
                "annotations differ. Mark one as ground truth, or set `disagreement: first` (or skip) in the data"
            )
    name = {"id": str(fields["id"])} if "id" in fields else {}
    answer = {slot: value for slot, value in answers[0].items() if schema is None or slot in schema.slots}
    return {**name, "text": _text(data, columns), "answer": answer}


def _annotations(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The annotations that count: the ground truth, or all that were not cancelled."""
    listed = fields.get("annotations", fields.get("completions"))
    valid = [one for one in listed or () if isinstance(one, Mapping) and not one.get("was_cancelled")]
    truth = [one for one in valid if one.get("ground_truth")]
    return truth[:1] or valid


def _text(data: Mapping[str, Any], columns: Mapping[str, str] | None) -> str:
    """The text of a task: the field `columns` names, else "text", else the only field that is a text."""
    name = (columns or {}).get("text", "text")
    if isinstance(data.get(name), str):
        return str(data[name])
    texts = [key for key, value in data.items() if isinstance(value, str)]
    if len(texts) == 1 and not (columns or {}).get("text"):
        return str(data[texts[0]])
    raise BadRecord(f'there is no text "{name}"; there are: {", ".join(texts) or "none"}. Set columns: {{text: ...}}')


def _answer(annotation: Mapping[str, Any], text: str, kind: str) -> dict[str, Any]:
    """The values of an annotation by slot."""
    answer: dict[str, Any] = {}
    spans = []
    results = annotation.get("result") or []
    if not isinstance(results, list):
        raise BadRecord("an annotation's result is no list")
    for result in results:
        if not isinstance(result, Mapping) or not isinstance(result.get("value"), Mapping):
            raise BadRecord("a result has no value")
        which, value = result.get("type"), result["value"]
        if which in MARKS and kind in ("", "span"):
            spans += list(_spans(value, which, text))
        elif (which in CHOICES and kind in ("", "label")) or (which in AREAS and kind in ("", "free")):
            answer.setdefault(str(result.get("from_name")), []).extend(_values(value, which))
    return {**answer, **strings_by_label(text, spans)}


def _minimal(fields: Mapping[str, Any], text: str, schema: Schema | None) -> dict[str, Any]:
    """The values of a JSON-MIN record by slot: what is no key of Label Studio's own and no text of the task."""
    answer: dict[str, Any] = {}
    spans = []
    for name, written in fields.items():
        value = _parsed(written)
        several = value if isinstance(value, list) else [value]
        if value and all(isinstance(one, Mapping) and "start" in one for one in several):
            if schema is None or schema.kind == "span":
                spans += [span for one in several for span in _spans(one, _mark(one), text)]
        elif (schema is None or (schema.kind != "span" and name in schema.slots)) and name not in OWN and value != text:
            answer[name] = value.get("choices", value) if isinstance(value, Mapping) else value
    return {**answer, **strings_by_label(text, spans)}


def _parsed(value: Any) -> Any:
    """A value of an export in CSV, which holds lists as JSON."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return read_json(value)
        except ValueError:
            pass
    return value


def _mark(value: Mapping[str, Any]) -> str:
    return next((mark for mark in MARKS if mark in value), "labels")


def _spans(value: Mapping[str, Any], mark: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Offsets and label of a marked span. A browser counts offsets in UTF-16, where an emoji has two places."""
    start, end, string = value.get("start"), value.get("end"), value.get("text")
    labels = value.get(mark) or value.get("labels")
    if not isinstance(labels, list) or not labels:
        raise BadRecord("a marked span has no label")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise BadRecord(f"a marked span goes from {start} to {end}")
    if isinstance(string, str):
        start, end = _place(start, end, string, text)
    yield from ((start, end, str(label)) for label in labels)


def _place(start: int, end: int, string: str, text: str) -> tuple[int, int]:
    """Where a marked string is: at its offsets in characters, or at those in UTF-16 units."""
    units = [len(_utf16(text)[: 2 * place].decode("utf-16-le", "ignore")) for place in (start, end)]
    places = [(start, end), (units[0], units[1])] if end <= len(text) else [(units[0], units[1])]
    exact = [place for place in places if text[slice(*place)] == string]
    near = [place for place in places if text[slice(*place)].strip() == string.strip()]
    for place in [*exact, *near]:
        return place
    raise BadRecord(f'the marked span "{string[:60]}" is not what the text has from {start} on')


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _values(value: Mapping[str, Any], which: str) -> list[Any]:
    """The values of a result that marks nothing in the text."""
    given = value.get("text" if which == "textarea" else which)
    several = given if isinstance(given, list) else [] if given is None else [given]
    return [" / ".join(map(str, one)) if isinstance(one, list) else one for one in several]  # a path of a taxonomy


LABEL_STUDIO = Format(read_rows, convert, translate=translate, options=OPTIONS, overlap="error")
