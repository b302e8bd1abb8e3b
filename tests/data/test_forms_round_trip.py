"""Law: an example in another tool's form is recognised and read back as it was, whatever its text and values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sde_ray.data import Schema
from sde_ray.data.recognition import examples, read_any

Row = tuple[str, dict[str, list[str]], list[tuple[int, int, str]]]
"""A text, its answer, and of spans their offsets."""

SLOTS = ("food", "the staff: all", "价格")
LABELS = ("good", "so, so", 'a "quoted" one', "差", "{odd}")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)


@st.composite
def label_rows(draw: DrawFn) -> Row:
    answer = draw(
        st.dictionaries(st.sampled_from(SLOTS), st.sampled_from(LABELS).map(lambda label: [label]), max_size=3)
    )
    return "x" + draw(TEXTS), answer, []


@st.composite
def span_rows(draw: DrawFn) -> Row:
    words = draw(st.lists(st.text("ab,;:[]\"'{}é价\U0001f600", min_size=1, max_size=6), min_size=1, max_size=5))
    text, spans = "", []
    for word in words:
        if draw(st.booleans()):
            spans.append((len(text), len(text) + len(word), draw(st.sampled_from(SLOTS))))
        text += word + " "
    answer: dict[str, list[str]] = {}
    for start, end, slot in spans:
        answer.setdefault(slot, []).append(text[start:end])
    return text, answer, spans


def lines(rows: list[Any]) -> tuple[str, str]:
    return "a.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def messages(rows: list[Row]) -> tuple[str, str]:
    def turns(text: str, answer: Any) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}, {"role": "assistant", "content": json.dumps(answer)}]

    return lines([{"messages": turns(text, answer)} for text, answer, _ in rows])


def sharegpt(rows: list[Row]) -> tuple[str, str]:
    def turns(text: str, answer: Any) -> list[dict[str, str]]:
        said = json.dumps(answer, ensure_ascii=False, indent=1)
        return [{"from": "human", "value": text}, {"from": "gpt", "value": f"```json\n{said}\n```"}]

    return lines([{"conversations": turns(text, answer)} for text, answer, _ in rows])


def alpaca(rows: list[Row]) -> tuple[str, str]:
    return lines([{"instruction": text, "input": "", "output": json.dumps(answer)} for text, answer, _ in rows])


def prompt_completion(rows: list[Row]) -> tuple[str, str]:
    return lines([{"prompt": text, "completion": json.dumps(answer)} for text, answer, _ in rows])


def jsonl(rows: list[Row]) -> tuple[str, str]:
    return lines([{"text": text, "answer": answer} for text, answer, _ in rows])


def table(mark: str) -> Callable[[list[Row]], tuple[str, str]]:
    def write(rows: list[Row]) -> tuple[str, str]:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=mark)
        writer.writerow(["text", *SLOTS])
        writer.writerows([text, *(answer.get(slot, [""])[0] for slot in SLOTS)] for text, answer, _ in rows)
        return "a.csv", file.getvalue()

    return write


def offsets(rows: list[Row]) -> tuple[str, str]:
    return lines([{"text": text, "entities": [list(span) for span in spans]} for text, _, spans in rows])


def label_studio(rows: list[Row]) -> tuple[str, str]:
    """As a browser writes it: offsets count UTF-16 units."""

    def utf16(text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    def results(text: str, answer: Any, spans: Any) -> list[dict[str, Any]]:
        if not spans:
            return [{"from_name": s, "type": "choices", "value": {"choices": one}} for s, one in answer.items()]
        places = [(utf16(text[:start]), utf16(text[:end]), text[start:end], slot) for start, end, slot in spans]
        marks = [{"start": s, "end": e, "text": string, "labels": [slot]} for s, e, string, slot in places]
        return [{"from_name": "label", "type": "labels", "value": mark} for mark in marks]

    tasks = [
        {"id": n, "data": {"text": t}, "annotations": [{"result": results(t, a, s)}]}
        for n, (t, a, s) in enumerate(rows)
    ]
    return "a.json", json.dumps(tasks, ensure_ascii=False)


BOTH = (jsonl, messages, sharegpt, alpaca, prompt_completion, label_studio)


def read_back(folder: Path, write: Callable[[list[Row]], tuple[str, str]], rows: list[Row], schema: Schema) -> Any:
    name, text = write(rows)
    (folder / name).write_bytes(text.encode())
    found, _ = examples("auto", name, read_any(folder / name), schema, {})
    return [(example.text, {slot: list(values) for slot, values in example.answer.items()}) for example in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forms")


@pytest.mark.parametrize("write", [*BOTH, table(","), table(";"), table("\t"), table("|")])
@given(rows=st.lists(label_rows(), min_size=1, max_size=4))
def test_labels(folder: Path, write: Any, rows: list[Row]) -> None:
    schema = Schema("label", SLOTS, LABELS, "none")
    assert read_back(folder, write, rows, schema) == [(text, in_order(answer)) for text, answer, _ in rows]


@pytest.mark.parametrize("write", [*BOTH, offsets])
@given(rows=st.lists(span_rows(), min_size=1, max_size=4))
@example(rows=[(": \U0001f600\U0001f600 ", {"food": ["\U0001f600\U0001f600"]}, [(2, 4, "food")])])
@example(rows=[("[] ", {"food": ["[]"]}, [(0, 2, "food")])])
def test_spans(folder: Path, write: Any, rows: list[Row]) -> None:
    schema = Schema("span", SLOTS, (), "(none)")
    assert read_back(folder, write, rows, schema) == [(text, in_order(answer)) for text, answer, _ in rows]


def in_order(answer: dict[str, list[str]]) -> dict[str, list[str]]:
    return {slot: answer[slot] for slot in SLOTS if slot in answer}
