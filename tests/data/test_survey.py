"""What a survey tells of data: columns by their values, the text, the instruction that all texts hold, label orders."""

from __future__ import annotations

import pytest

from sde_ray.data.columns import as_values, infer_kind, is_answer_column, ordered, split_cells, text_column
from sde_ray.data.records import Record
from sde_ray.data.survey import prompt_template, survey


def column(*cells: str) -> list[tuple[str, ...]]:
    return [(cell,) if cell else () for cell in cells]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (column(*["good", "bad", ""] * 10), "label"),
        (column(*["good"] * 10), "label"),
        (column(*["1", "2", "3", "4", "5"] * 6), "label"),
        (column(*["0.5", "1.0"] * 10), "label"),
        (column(*[f"{n / 7:.3f}" for n in range(30)]), "number"),
        (column(*[f"name {n}" for n in range(30)]), "span"),
        (column(*[f"word {n % 20}" for n in range(30)]), "free"),
        (column(*[f"a remark of its own {n}" for n in range(30)]), "free"),
        (column(*["x" * 80, "y" * 80, "z" * 80, "w" * 80] * 9), "free"),
        (column(*[""] * 30), None),
    ],
)
def test_kinds(values: list[tuple[str, ...]], kind: str | None) -> None:
    texts = [f"This is name {n} and more." for n in range(len(values))]
    assert infer_kind(values, texts) == kind


@pytest.mark.parametrize(
    ("cells", "parted"),
    [
        (["app; web", "app", "web"] * 9, [("app", "web"), ("app",), ("web",)] * 9),
        (["a|b", "b|c", "a|c", "a"] * 5, [("a", "b"), ("b", "c"), ("a", "c"), ("a",)] * 5),
        (['["a", "b"]', '["a"]'] * 9, [("a", "b"), ("a",)] * 9),
        (["Boston, MA", "Albany, NY"] * 9, [("Boston, MA",), ("Albany, NY",)] * 9),
        (["well, then", "no; but yes"], [("well, then",), ("no; but yes",)]),
        (["good", "bad"] * 5, [("good",), ("bad",)] * 5),
    ],
)
def test_cells_with_several_labels(cells: list[str], parted: list[tuple[str, ...]]) -> None:
    assert split_cells(column(*cells)) == parted


def test_values_of_a_field() -> None:
    assert as_values(["a", 1]) == ("a", "1") and as_values("") == as_values(None) == as_values([]) == ()
    assert as_values(True) == ("true",) and as_values({"a": 1}) is None and as_values([["a"]]) is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"id": "a 1", "text": "Good.", "label": "x"}, "text"),
        ({"Subject": "No wifi", "Body": "I have had none since Monday, and nobody helps me."}, "Body"),
        ({"title": "No", "remark": "A much longer remark that somebody wrote about it."}, "remark"),
        ({"label": "x", "n": 3}, None),
    ],
)
def test_the_column_of_the_text(row: dict[str, object], name: str | None) -> None:
    rows = [
        {key: f"{value} {n}" if key not in ("label", "n") else value for key, value in row.items()} for n in range(9)
    ]
    assert text_column(rows) == name


def test_a_column_called_text_is_the_text_however_few_values_it_has() -> None:
    rows = [{"text": ["pay now", "pay later"][n % 2], "topic": ["a", "b"][n % 2], "price": n / 4} for n in range(9)]
    assert text_column(rows) == "text"
    assert text_column([{"note": row["text"], "price": row["price"]} for row in rows]) is None


def test_columns_that_are_no_answers() -> None:
    labels = column("a", "b", "a")
    assert [name for name in ("id", "created_at", "user_id", "topic") if is_answer_column(name, labels)] == ["topic"]
    assert not is_answer_column("topic", column("a", "a", ""))


def test_labels_in_the_order_of_a_scale() -> None:
    assert ordered({"high": 9, "Low": 1, "medium": 3}) == ("Low", "medium", "high")
    assert ordered({"10": 1, "9": 2, "-1": 5}) == ("-1", "9", "10")
    assert ordered({"b": 3, "a": 1, "c": 3}) == ("b", "c", "a")


class TestPromptTemplate:
    texts = ("No wifi.", "The app crashed: twice.", "I was billed\nfor two.", "Help me please.", "No wifi here.")

    @pytest.mark.parametrize(
        "template",
        [
            "Sort this ticket: {text}",
            "Sort this ticket.\n\nTicket: {text}\n\nAnswer in JSON.",
            "{text}\n\nGive one word, low or high.",
            "### Instruction:\nSort.\n\n### Input:\n{text}\n\n### Response:\n",
        ],
    )
    def test_it_is_found(self, template: str) -> None:
        assert prompt_template([template.replace("{text}", text) for text in self.texts]) == template

    def test_texts_that_begin_alike_by_chance_have_none(self) -> None:
        assert prompt_template([f"I am {text}" for text in self.texts]) == ""
        assert prompt_template([f"Ticket: {text}" for text in self.texts]) == ""  # a heading is no instruction
        assert prompt_template(self.texts) == prompt_template(["Sort this ticket: a"] * 9) == prompt_template([]) == ""

    def test_it_fits_every_text_from_which_it_was_taken(self) -> None:
        texts = ["Sort this ticket:\nNo wifi\nat home\n", "Sort this ticket:\nNo app\n", "Sort this ticket:\na\n"]
        before, _, after = prompt_template([*texts, "Sort this ticket:\nb\n"]).partition("{text}")
        assert before == "Sort this ticket:\n" and all(text.endswith(after) for text in texts)


def test_records_that_cannot_be_read_are_counted() -> None:
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}]}
    bad = {"messages": [{"role": "user", "content": "a"}]}
    records = [Record(f"line {n}", bad if n == 7 else good, "a") for n in range(9)]
    found = survey("a.jsonl", records)
    assert len(found.texts) == 8 and found.notes[0].startswith("1 of 9 records cannot be read: expected a message")


def test_a_mixed_project_with_a_task_that_cannot_be_read_keeps_texts_and_answers_together() -> None:
    def task(number: int, start: int | None) -> dict[str, object]:
        choice = {"from_name": "urgency", "type": "choices", "value": {"choices": ["high"]}}
        mark = {"from_name": "mark", "type": "labels", "value": {"start": start, "end": 2, "labels": ["word"]}}
        return {"id": number, "data": {"text": f"No wifi {number}"}, "annotations": [{"result": [choice, mark]}]}

    records = [Record(f"record {n}", task(n, None if n == 2 else 0), "a") for n in range(5)]
    for kind, slot in (("", "urgency"), ("span", "word")):
        found = survey("a.json", records, kind=kind)
        assert found.texts == ("No wifi 0", "No wifi 1", "No wifi 3", "No wifi 4")
        assert [tuple(answer) for answer in found.answers] == [(slot,)] * 4
