"""Data in the forms of other tools: each is read, recognised, and told where the YAML says another; faults by kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sde_ray.data import FORMATS, Schema, open_dataset
from sde_ray.data.answer_text import read_answer
from sde_ray.data.csv_file import find_delimiter, read_csv
from sde_ray.data.faults import raise_faults
from sde_ray.data.formats import OTHER_NAMES
from sde_ray.data.recognition import SHAPES, read_any, recognise
from sde_ray.errors import UserError

TICKETS = Schema("label", ("product", "urgency"), ("app", "router", "low", "high"), "none")
SPAM = Schema("label", ("class",), ("spam", "ham"), "none")
ENTITIES = Schema("span", ("DNA", "protein"))
QUESTIONS = Schema("free", ("answer",))


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return path


def load(path: Path, schema: Schema, **section: Any) -> list[Any]:
    """The examples of all splits, in the file's order."""
    source = open_dataset({"train": str(path), **section}, path.parent, schema)
    examples = [example for split in ("train", "dev", "test") for example in source(split)]
    return sorted(examples, key=lambda example: int(example.id.rpartition(":")[2].lstrip("t") or 0))


def refused(path: Path, schema: Schema, **section: Any) -> str:
    with pytest.raises(UserError) as error:
        open_dataset({"train": str(path), **section}, path.parent, schema)("train")
    return str(error.value)


def chat(user: str, answer: str, system: str = "Sort the ticket.") -> dict[str, Any]:
    roles = [("system", system), ("user", user), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in roles if content]}


ANSWERS = ['{"product": "app", "urgency": "high"}', "product: app\nurgency: high", "- Product: app\n- Urgency: high"]
GOLD = {"product": ("app",), "urgency": ("high",)}


class TestAnswerText:
    @pytest.mark.parametrize("text", [*ANSWERS, f"```json\n{ANSWERS[0]}\n```", "product：app\n\nurgency：high"])
    def test_by_slot(self, text: str) -> None:
        assert read_answer(text, TICKETS.slots) == {"product": "app", "urgency": "high"}

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("spam", "spam"),
            (" spam \n", "spam"),
            ('["IL-2", "NF-kB"]', ["IL-2", "NF-kB"]),
            ('[{"type": "DNA", "text": "a"}, {"type": "DNA", "text": "b"}]', {"DNA": ["a", "b"]}),
            ('{"entities": [{"text": "a", "label": "DNA"}]}', {"DNA": "a"}),
            ('[{"aspect": "food", "label": "good"}]', {"food": "good"}),
            ('DNA: ["a, b", "c"]', {"DNA": ["a, b", "c"]}),
            ("DNA: a\nDNA: b", {"DNA": ["a", "b"]}),
            ("{broken", "{broken"),
            ("[" * 100_000, "[" * 100_000),
            ("", ""),
        ],
    )
    def test_without_slots(self, text: str, answer: Any) -> None:
        assert read_answer(text) == answer

    def test_a_sentence_with_a_colon_is_no_slot(self) -> None:
        assert read_answer("Note: it is late", ("class",)) == "Note: it is late"
        assert read_answer("the answer of this long sentence: yes") == "the answer of this long sentence: yes"

    def test_a_slot_may_hold_a_colon(self) -> None:
        assert read_answer("a: b: yes\nc: no", ("a: b", "c")) == {"a: b": "yes", "c": "no"}


class TestMessages:
    @pytest.mark.parametrize("answer", ANSWERS)
    def test_the_answer_in_every_form(self, tmp_path: Path, answer: str) -> None:
        path = lines(tmp_path / "a.jsonl", *(chat(f"No wifi {n}", answer) for n in range(4)))
        examples = load(path, TICKETS)
        assert [e.text for e in examples] == [f"No wifi {n}" for n in range(4)]
        assert all(e.answer == GOLD for e in examples)

    def test_a_bare_label_and_a_thought(self, tmp_path: Path) -> None:
        path = lines(
            tmp_path / "a.jsonl", *(chat(f"Win {n}", "<think>It promises money.</think>\nspam") for n in "123")
        )
        assert {(e.answer["class"], e.rationale["class"]) for e in load(path, SPAM)} == {
            (("spam",), "It promises money.")
        }

    def test_the_system_message_is_an_instruction_unless_it_is_kept(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "a.jsonl", *(chat(f"Win {n}", "spam", f"Shop {n}.") for n in "123"))
        assert load(path, SPAM)[0].text == "Win 1"
        assert load(path, SPAM, keep_instruction=True)[0].text == "Shop 1.\nWin 1"
        told = open_dataset({"path": str(path)}, tmp_path, SPAM).notes()
        assert told[0].startswith("3 different instructions are left out of the text") and len(told) == 1

    def test_a_prompt_template_takes_the_text_out(self, tmp_path: Path) -> None:
        template = "Sort this.\n\nMail: {text}\nAnswer:"
        path = lines(tmp_path / "a.jsonl", *(chat(template.format(text=f"Win {n}"), "spam") for n in "123"))
        assert [e.text for e in load(path, SPAM, prompt_template=template)] == ["Win 1", "Win 2", "Win 3"]
        assert "3 lines (1, 2, 3): the user's message is not of the form" in refused(
            path, SPAM, prompt_template="X {text}"
        )
        assert "a text with {text} in it" in refused(path, SPAM, prompt_template="X")

    def test_several_turns_are_one_text(self, tmp_path: Path) -> None:
        turns = [("human", "Hi"), ("gpt", "Hello"), ("human", "No wifi"), ("gpt", ANSWERS[0])]
        records = [
            {"id": f"t{n}", "conversations": [{"from": who, "value": said} for who, said in turns[:-2]]
             + [{"from": "human", "value": f"No wifi {n}"}, {"from": "gpt", "value": ANSWERS[0]}]}
            for n in range(3)
        ]  # fmt: skip
        examples = load(lines(tmp_path / "a.jsonl", *records), TICKETS)
        assert examples[0].text == "user: Hi\nassistant: Hello\nuser: No wifi 0"
        assert (examples[2].id, examples[2].answer) == ("t2", GOLD)

    def test_parts_and_answers_that_are_objects(self, tmp_path: Path) -> None:
        def record(n: int) -> dict[str, Any]:
            parts = [{"type": "text", "text": f"No wifi {n}"}]
            return {
                "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": {"product": "app"}}]
            }

        examples = load(lines(tmp_path / "a.jsonl", *map(record, range(3))), TICKETS)
        assert (examples[1].text, examples[1].answer) == ("No wifi 1", {"product": ("app",)})

    @pytest.mark.parametrize(
        ("messages", "fault"),
        [
            ([("user", "a")], "the assistant's answer; the last one is the user's"),
            ([("assistant", "a")], "expected a message of the user"),
            ([("user", "a"), ("tool", "b"), ("assistant", "c")], 'the role "tool" is not read'),
            ([("user", None), ("assistant", "c")], "a message of the user holds no text alone"),
            ([("user", "a"), ("assistant", "what?")], "expected a mapping by slot"),
            (
                [("user", "a"), ("assistant", "produkt: app\nurgency: high")],
                'unknown slot "produkt". Did you mean "product"',
            ),
        ],
    )
    def test_faults(self, tmp_path: Path, messages: list[tuple[str, Any]], fault: str) -> None:
        record = {"messages": [{"role": role, "content": content} for role, content in messages]}
        assert fault in refused(lines(tmp_path / "a.jsonl", record), TICKETS)

    def test_names_written_as_one_value_are_cut_where_each_is_in_the_text(self, tmp_path: Path) -> None:
        records = [chat(f"IL-2, gp41 and NF-kB {n}", "protein: IL-2, NF-kB; gp41\nDNA: none") for n in "123"]
        records += [chat("IL-2, gp41 here", "protein: IL-2, gp41")]
        examples = load(lines(tmp_path / "a.jsonl", *records), ENTITIES)
        assert examples[0].answer == {"protein": ("IL-2, NF-kB; gp41",)}  # two marks: nobody can tell
        assert examples[3].answer == {"protein": ("IL-2, gp41",)}  # it stands so in the text
        records = [chat(f"IL-2 and NF-kB {n}", "protein: IL-2, NF-kB") for n in "123"]
        assert load(lines(tmp_path / "b.jsonl", *records), ENTITIES)[0].answer == {"protein": ("IL-2", "NF-kB")}


class TestInstructions:
    @pytest.mark.parametrize(
        "record",
        [
            {"instruction": "Sort.", "input": "No wifi {n}", "output": ANSWERS[0]},
            {"instruction": "No wifi {n}", "input": "", "output": ANSWERS[1]},
            {"instruction": "No wifi {n}", "output": ANSWERS[1], "history": []},
            {"instruction": "Sort.", "context": "No wifi {n}", "response": ANSWERS[0], "category": "x"},
            {"prompt": "No wifi {n}", "completion": ANSWERS[0]},
            {"prompt": [{"role": "user", "content": "No wifi {n}"}],
             "completion": [{"role": "assistant", "content": ANSWERS[0]}]},
        ],
    )  # fmt: skip
    def test_one_turn(self, tmp_path: Path, record: dict[str, Any]) -> None:
        text = "".join(json.dumps(record).replace("{n}", str(n)) + "\n" for n in range(3))
        (tmp_path / "a.jsonl").write_text(text)
        assert [(e.text, e.answer) for e in load(tmp_path / "a.jsonl", TICKETS)] == [
            (f"No wifi {n}", GOLD) for n in range(3)
        ]

    def test_history_and_a_kept_instruction(self, tmp_path: Path) -> None:
        record = {
            "instruction": "Sort.",
            "input": "No wifi",
            "output": "spam",
            "history": [["Hi", "Hello"]],
            "system": "S.",
        }
        records = [{**record, "input": f"No wifi {n}"} for n in range(3)]
        first = load(lines(tmp_path / "a.jsonl", *records), SPAM, keep_instruction=True)[0]
        assert first.text == "S.\nSort.\nuser: Hi\nassistant: Hello\nuser: No wifi 0"


class TestOffsets:
    TEXT = "The IL-2 gene, NF-kB"

    @pytest.mark.parametrize(
        "spans",
        [
            {"entities": [[15, 20, "protein"], [4, 8, "protein"], [4, 13, "DNA"]]},
            {"label": [[15, 20, "protein"], [4, 8, "protein"], [4, 13, "DNA"]]},
            {"entities": [{"start_offset": s, "end_offset": e, "label": n} for s, e, n in
                          [(4, 8, "protein"), (15, 20, "protein"), (4, 13, "DNA")]]},
            {"spans": [{"start": s, "end": e, "label": n, "token_start": 1} for s, e, n in
                       [(4, 8, "protein"), (15, 20, "protein"), (4, 13, "DNA")]]},
        ],
    )  # fmt: skip
    def test_every_form(self, tmp_path: Path, spans: dict[str, Any]) -> None:
        records = [{"text": f"{self.TEXT} {n}", **spans} for n in range(3)]
        examples = load(lines(tmp_path / "a.jsonl", *records), ENTITIES)
        assert examples[0].text == f"{self.TEXT} 0"
        assert examples[0].answer == {"DNA": ("IL-2 gene",), "protein": ("IL-2", "NF-kB")}

    def test_spacys_pairs_and_texts_without_a_span(self, tmp_path: Path) -> None:
        records = [[f"{self.TEXT} {n}", {"entities": [[4, 8, "protein"]]}] for n in range(3)]
        (tmp_path / "a.json").write_text(json.dumps([*records, ["nothing", {"entities": []}]]))
        examples = load(tmp_path / "a.json", ENTITIES)
        assert [e.answer for e in examples] == [{"protein": ("IL-2",)}] * 3 + [{}]

    @pytest.mark.parametrize(
        ("span", "fault"),
        [
            ([4, 99, "DNA"], "the span [4, 99] does not lie in the text of 20 characters"),
            ([8, 4, "DNA"], "does not lie in the text"),
            ([3, 4, "DNA"], "the span [3, 4] is blank"),
            ([4, 8, "RNA"], 'answer names the unknown slot "RNA". Did you mean "DNA"?'),
            ([4, 8], "the span [4, 8] is not [start, end, label]"),
        ],
    )
    def test_faults(self, tmp_path: Path, span: list[Any], fault: str) -> None:
        record = {"text": self.TEXT, "entities": [[0, 3, "DNA"], span]}
        assert fault in refused(lines(tmp_path / "a.jsonl", record), ENTITIES)


class TestBio:
    WORDS = "The IL-2 gene binds NF-kB , jun".split()

    @pytest.mark.parametrize(
        "tags",
        [
            "O B-DNA I-DNA O B-protein O B-protein",
            "O B-DNA E-DNA O S-protein O S-protein",
            "O B-DNA L-DNA O U-protein O U-protein",
            "O I-DNA I-DNA O I-protein O I-protein",
            "O DNA DNA O protein O protein",
        ],
    )
    def test_every_scheme(self, tmp_path: Path, tags: str) -> None:
        rows = [{"id": f"t{n}", "tokens": [*self.WORDS, str(n)], "ner_tags": [*tags.split(), "O"]} for n in range(3)]
        first = load(lines(tmp_path / "a.jsonl", *rows), ENTITIES)[0]
        assert (first.id, first.text) == ("t0", "The IL-2 gene binds NF-kB , jun 0")
        assert first.answer == {"DNA": ("IL-2 gene",), "protein": ("NF-kB", "jun")}

    def test_spans_that_touch(self, tmp_path: Path) -> None:
        tags = ["B-DNA", "B-DNA", "I-protein", "I-DNA", "O", "O", "O"]
        rows = [{"tokens": [*self.WORDS, str(n)], "tags": [*tags, "O"]} for n in range(3)]
        answer = load(lines(tmp_path / "a.jsonl", *rows), ENTITIES)[0].answer
        assert answer == {"DNA": ("The", "IL-2", "binds"), "protein": ("gene",)}

    def test_numbers_need_names(self, tmp_path: Path) -> None:
        rows = [{"tokens": ["IL-2", str(n)], "ner_tags": [1, 0]} for n in range(3)]
        path = lines(tmp_path / "a.jsonl", *rows)
        assert "the tag 1 is a number without a name. Set tag_names: [O, B-..., ...]" in refused(path, ENTITIES)
        assert load(path, ENTITIES, tag_names=["O", "B-DNA"])[0].answer == {"DNA": ("IL-2",)}
        assert "the tag 1 is none of tag_names" in refused(path, ENTITIES, tag_names=["O"])
        rows[0]["ner_tags"] = [1]
        assert "2 words and 1 tags" in refused(lines(path, *rows), ENTITIES, tag_names=["O", "B-DNA"])

    def test_names_of_a_set_of_the_hub(self, tmp_path: Path) -> None:
        from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

        tags = Sequence(ClassLabel(names=["O", "B-DNA", "I-DNA"]))
        features = Features({"tokens": Sequence(Value("string")), "ner_tags": tags})
        rows = {"tokens": [["jun", "B", str(n)] for n in range(3)], "ner_tags": [[1, 2, 0]] * 3}
        DatasetDict({"train": Dataset.from_dict(rows, features=features)}).save_to_disk(tmp_path / "set")
        source = open_dataset({"hub": "set"}, tmp_path, ENTITIES)
        assert source("train")[0].answer == {"DNA": ("jun B",)} and source.splits().formats == {"train": "bio"}

    def test_conll(self, tmp_path: Path) -> None:
        sentence = "IL-2 NN B-protein\nbinds VB O\n{} CD O\n"
        text = "-DOCSTART- -X- O\n\n" + "\n".join(sentence.format(n) for n in range(3))
        for name in ("a.conll", "b.txt"):
            (tmp_path / name).write_text(text)
            first = load(tmp_path / name, ENTITIES)[0]
            assert (first.id.partition(":")[2], first.text, first.answer) == (
                "3",
                "IL-2 binds 0",
                {"protein": ("IL-2",)},
            )

    def test_chinese_has_no_blanks(self, tmp_path: Path) -> None:
        rows = [{"tokens": [*"患者发热", str(n)], "ner_tags": ["O", "O", "B-DNA", "I-DNA", "O"]} for n in range(3)]
        first = load(lines(tmp_path / "a.jsonl", *rows), ENTITIES)[0]
        assert (first.text, first.answer) == ("患者发热0", {"DNA": ("发热",)})


def task(number: int, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotation = {"id": number, "was_cancelled": False, "result": list(results), **more}
    return {"id": number, "data": {"text": f"No wifi in {number}"}, "annotations": [annotation]}


def choice(name: str, *chosen: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(chosen)}}


def mark(start: int, end: int, text: str, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"from_name": "label", "to_name": "text", "type": "labels", "value": value}


class TestLabelStudio:
    def export(self, path: Path, *tasks: Any) -> Path:
        path.write_text(json.dumps(tasks, ensure_ascii=False), "utf-8")
        return path

    def test_choices_and_spans_of_one_project(self, tmp_path: Path) -> None:
        tasks = [
            task(n, choice("urgency", "high"), choice("product", "app"), mark(3, 7, "wifi", "protein"))
            for n in (1, 2, 3)
        ]
        tasks += [
            {"id": 4, "data": {"text": "later"}, "annotations": []},
            task(5, choice("urgency", "low"), was_cancelled=True),
        ]
        path = self.export(tmp_path / "a.json", *tasks)
        assert [(e.id, e.text, e.answer) for e in load(path, TICKETS)][:1] == [("1", "No wifi in 1", GOLD)]
        assert len(load(path, TICKETS)) == 3
        assert load(path, ENTITIES)[1].answer == {"protein": ("wifi",)}

    def test_offsets_of_a_browser_count_an_emoji_twice(self, tmp_path: Path) -> None:
        tasks = [{"id": n, "data": {"text": f"\U0001f600 IL-2 binds {n}"},
                  "annotations": [{"result": [mark(3, 7, "IL-2", "protein")]}]} for n in range(3)]  # fmt: skip
        assert load(self.export(tmp_path / "a.json", *tasks), ENTITIES)[0].answer == {"protein": ("IL-2",)}
        wrong = [{**tasks[0], "annotations": [{"result": [mark(3, 7, "NF-kB", "protein")]}]}]
        assert 'the marked span "NF-kB" is not what the text has from 3 on' in refused(
            self.export(tmp_path / "b.json", *wrong), ENTITIES
        )

    def test_annotations_that_differ(self, tmp_path: Path) -> None:
        tasks = [task(n, choice("urgency", "high")) for n in (1, 2, 3, 4)]
        tasks[0]["annotations"] += task(1, choice("urgency", "low"))["annotations"]
        path = self.export(tmp_path / "a.json", *tasks)
        assert "record 1: annotations differ. Mark one as ground truth, or set `disagreement: first`" in refused(
            path, TICKETS
        )
        assert load(path, TICKETS, disagreement="first")[0].answer == {"urgency": ("high",)}
        assert [e.id for e in load(path, TICKETS, disagreement="skip")] == ["2", "3", "4"]
        tasks[0]["annotations"][1]["ground_truth"] = True
        assert load(self.export(path, *tasks), TICKETS)[0].answer == {"urgency": ("low",)}

    def test_the_minimal_export(self, tmp_path: Path) -> None:
        own = {"annotator": 1, "annotation_id": 3, "created_at": "2024", "updated_at": "2024", "lead_time": 3.2}
        spans = [{"start": 3, "end": 7, "text": "wifi", "labels": ["protein"]}]
        tasks = [
            {"id": n, "text": f"No wifi {n}", "urgency": "high", "label": spans, "shop": "x", **own} for n in (1, 2, 3)
        ]
        path = self.export(tmp_path / "a.json", *tasks)
        assert load(path, TICKETS)[0].answer == {"urgency": ("high",)}
        assert load(path, ENTITIES)[0].answer == {"protein": ("wifi",)}
        with open(tmp_path / "a.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "id", "label", "annotator", "annotation_id"])
            writer.writerows([f"No wifi {n}", n, json.dumps(spans), 1, n] for n in (1, 2, 3))
        assert load(tmp_path / "a.csv", ENTITIES)[0].answer == {"protein": ("wifi",)}

    def test_text_areas_and_numbers(self, tmp_path: Path) -> None:
        area = {"from_name": "answer", "type": "textarea", "value": {"text": ["Iran", "Persia"]}}
        path = self.export(tmp_path / "a.json", *(task(n, area) for n in (1, 2, 3)))
        (first, *_) = load(path, QUESTIONS)
        assert (first.answer, first.aliases) == ({"answer": ("Iran",)}, {"answer": ("Persia",)})
        stars = Schema("label", ("stars",), ("1", "2", "3"))
        rating = {"from_name": "stars", "type": "rating", "value": {"rating": 3}}
        assert load(self.export(path, *(task(n, rating) for n in (1, 2, 3))), stars)[0].answer == {"stars": ("3",)}

    def test_the_text_is_found_or_asked_for(self, tmp_path: Path) -> None:
        tasks = [task(n, choice("urgency", "high")) for n in (1, 2, 3)]
        for n, one in enumerate(tasks):
            one["data"] = {"body": f"No wifi {n}", "title": "x"}
        path = self.export(tmp_path / "a.json", *tasks)
        assert 'there is no text "text"; there are: body, title. Set columns: {text: ...}' in refused(path, TICKETS)
        assert load(path, TICKETS, columns={"text": "body"})[0].text == "No wifi 0"


class TestCsv:
    @pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
    def test_the_delimiter_is_found(self, tmp_path: Path, mark: str) -> None:
        rows = [
            ["id", "text", "product", "urgency"],
            *([str(n), f'"No wifi, {n}; really|no"', "app", ""] for n in range(4)),
        ]
        path = tmp_path / "a.csv"
        path.write_text("\r\n".join(mark.join(row) for row in rows))
        for name in ("auto", "csv", "jsonl", "table"):
            examples = load(path, TICKETS, format=name)
            assert (examples[0].text, examples[0].answer) == ("No wifi, 0; really|no", {"product": ("app",)})

    @pytest.mark.parametrize("text", ['{"text": "Win, now", "class": "spam"}\n', '[{"text": "Win"}]', "[\n  {}\n]"])
    def test_json_that_is_called_csv_is_told(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "a.jsonl"
        path.write_text(text)
        assert "a.jsonl holds JSON, not CSV. Set format: jsonl" in refused(path, SPAM, format="csv")

    def test_a_header_in_brackets_is_no_json(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("[text],class\n" + "".join(f"Win {n},spam\n" for n in range(3)))
        assert load(path, SPAM, columns={"text": "[text]"})[0].text == "Win 0"

    def test_excels_note_and_its_unicode_text(self, tmp_path: Path) -> None:
        text = "sep=;\nid;text;product\n" + "".join(f"{n};No wifi é {n};app\n" for n in range(3))
        for encoding in ("utf-8", "utf-16"):
            (tmp_path / "a.csv").write_bytes(text.encode(encoding))
            assert load(tmp_path / "a.csv", TICKETS)[2].text == "No wifi é 2"
        (tmp_path / "a.csv").write_text(text + "9;too;many;values\n")
        assert "line 6: 4 values, the header has 3" in refused(tmp_path / "a.csv", TICKETS)

    def test_a_text_of_commas_does_not_win_over_the_header(self) -> None:
        assert find_delimiter("text;label\na, b, c;x\nd, e;y\n") == ";"
        assert find_delimiter("text,label\n") == ","
        assert find_delimiter("text\na;b\n") == ","
        assert find_delimiter('text\tlabel\n"a\nb"\tx\n') == "\t"

    def test_spans_in_a_cell_are_one_or_a_json_list(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text('text,DNA,protein\na,jun,\nb,"[""jun"", ""fos""]",[]\nc,,IL-2\n')
        assert [e.answer for e in load(path, ENTITIES)] == [
            {"DNA": ("jun",)},
            {"DNA": ("jun", "fos")},
            {"protein": ("IL-2",)},
        ]

    def test_a_rationale_of_a_task_with_one_slot_stands_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("text,class,rationale\na,spam,it sells\nb,ham,\nc,spam,it begs\n")
        assert [e.rationale for e in load(path, SPAM)] == [{"class": "it sells"}, {}, {"class": "it begs"}]

    def test_a_column_that_stands_twice(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,product,product\na,app,app\n")
        with pytest.raises(UserError, match='line 1: the column "product" stands twice'):
            read_csv(tmp_path / "a.csv")

    def test_a_file_without_the_columns_says_what_it_has(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("subject;body;kind\na;b;c\nd;e;f\n")
        told = refused(tmp_path / "a.csv", TICKETS)
        assert "2 lines (2, 3): " in told and "there are: subject, body, kind" in told


ROWS: dict[str, Any] = {
    "messages": chat("No wifi", "spam"),
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "spam"}]},
    "alpaca": {"instruction": "a", "input": "", "output": "spam"},
    "prompt_completion": {"prompt": "a", "completion": "spam"},
    "label_studio": task(1, choice("class", "spam")),
    "offsets": {"text": "IL-2", "entities": [[0, 4, "protein"]]},
    "bio": {"tokens": ["IL-2"], "ner_tags": ["B-protein"]},
    "genia": {"tokens": ["x"], "entity_mentions": []},
    "phee": {"id": 1, "context": "x", "annotations": []},
    "maven": {"id": "d", "content": [], "events": []},
    "entityquestions": {"question": "Where?", "answers": ["Iran"]},
}
PLAIN = [
    {"text": "a", "answer": {"class": "spam"}},
    {"text": "a", "class": "spam", "label": "x"},
    {"id": 1, "text": "a", "answer": "spam", "prompt": "b", "completion": "c"},
    {"text": "a", "label": ["spam"]},
]


class TestRecognition:
    @pytest.mark.parametrize("name", ROWS)
    def test_each_form_is_told_by_its_records(self, tmp_path: Path, name: str) -> None:
        shape = recognise(read_any(lines(tmp_path / "a.jsonl", ROWS[name])))
        assert shape is not None and shape.format == name

    @pytest.mark.parametrize("record", PLAIN)
    def test_plain_records_are_plain(self, tmp_path: Path, record: Any) -> None:
        assert recognise(read_any(lines(tmp_path / "a.jsonl", record))) is None

    def test_every_format_can_be_recognised(self) -> None:
        assert {shape.format for shape in SHAPES} - {""} == {*FORMATS} - {"jsonl", "csv", "table", "parquet", "rows"}

    def test_a_source_says_what_it_took(self, tmp_path: Path) -> None:
        lines(tmp_path / "train.jsonl", *(chat(f"Win {n}", "spam") for n in range(3)))
        (tmp_path / "dev.csv").write_text("text;class\nWin 8;spam\n")
        source = open_dataset({"path": str(tmp_path)}, tmp_path, SPAM)
        assert source.splits().formats == {"train": "messages", "dev": "csv"}
        assert source.summary() == "2 train, 1 dev, 1 test; test cut from train; read as messages, csv"

    @pytest.mark.parametrize("name", ["messages", "sharegpt", "alpaca", "label_studio", "offsets", "bio"])
    def test_a_file_of_another_form_is_told(self, tmp_path: Path, name: str) -> None:
        path = lines(tmp_path / "a.jsonl", *[ROWS[name]] * 3)
        told = refused(path, ENTITIES if name in ("offsets", "bio") else SPAM, format="jsonl")
        assert f"Set format: {name} (now: jsonl)." in told.splitlines()[0]

    @pytest.mark.parametrize(
        ("record", "title"),
        [
            ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference pairs"),
            ({"context": "a", "question": "b", "answers": {"text": ["c"]}}, "SQuAD"),
        ],
    )
    @pytest.mark.parametrize("name", ["auto", "jsonl"])
    def test_a_known_form_that_is_not_read_is_told(self, tmp_path: Path, record: Any, title: str, name: str) -> None:
        told = refused(lines(tmp_path / "a.jsonl", record), SPAM, format=name)
        assert f"looks like {title}" in told and "which is not read" in told

    @pytest.mark.parametrize(
        ("start", "what"),
        [
            (b"PK\x03\x04\x14", "a zip archive, as Excel's"),
            (b"\x1f\x8b\x08", "compressed"),
            (b"PAR1\x15", "a Parquet file"),
        ],
    )
    def test_a_file_that_is_no_text_is_told_what_it_is(self, tmp_path: Path, start: bytes, what: str) -> None:
        (tmp_path / "a.jsonl").write_bytes(start + bytes(range(256)))
        assert f"a.jsonl is {what}" in refused(tmp_path / "a.jsonl", SPAM)

    @pytest.mark.parametrize(("name", "ours"), [("openai", "messages"), ("spaCy", "offsets"), ("json", "jsonl")])
    def test_another_tools_name_of_a_format_is_answered_with_ours(self, tmp_path: Path, name: str, ours: str) -> None:
        path = lines(tmp_path / "a.jsonl", PLAIN[0])
        assert f'Unknown format "{name}". Use "{ours}" instead.' in refused(path, SPAM, format=name)
        assert {*OTHER_NAMES.values()} <= {*FORMATS} and not {*OTHER_NAMES} & {*FORMATS}

    def test_an_option_of_another_format_is_told(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "a.jsonl", *(chat(f"Win {n}", "spam") for n in range(3)))
        assert "was read as messages, which has no option disagreement" in refused(path, SPAM, disagreement="first")

    def test_a_list_in_an_object(self, tmp_path: Path) -> None:
        rows = [{"text": f"Win {n}", "answer": "spam"} for n in range(3)]
        for indent in (None, 1):
            (tmp_path / "a.json").write_text(json.dumps({"data": rows, "version": 1}, indent=indent))
            assert [e.text for e in load(tmp_path / "a.json", SPAM)] == ["Win 0", "Win 1", "Win 2"]

    def test_csv_in_a_text_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("text\tclass\n" + "".join(f"Win {n}\tspam\n" for n in range(3)))
        assert len(load(tmp_path / "a.txt", SPAM)) == 3

    def test_parquet(self, tmp_path: Path) -> None:
        from datasets import Dataset

        Dataset.from_list([chat(f"Win {n}", "spam") for n in range(3)]).to_parquet(tmp_path / "a.parquet")
        assert [e.text for e in load(tmp_path / "a.parquet", SPAM)] == ["Win 0", "Win 1", "Win 2"]
        rows = [{"text": f"Win {n}", "class": "spam"} for n in range(3)]
        Dataset.from_list(rows).to_parquet(tmp_path / "b.parquet")
        assert len(load(tmp_path / "b.parquet", SPAM, format="parquet")) == 3


class TestGroupedFaults:
    def test_one_fault_is_one_line_with_its_count(self, tmp_path: Path) -> None:
        rows = [
            {"text": f"t{n}", "answer": {"urgency": "hihg" if n % 3 else "high", "prodct": "app"}} for n in range(300)
        ]
        told = refused(lines(tmp_path / "a.jsonl", *rows, {"answer": {}}), TICKETS).splitlines()
        assert told[0].endswith("501 faults of 3 kinds")
        assert told[1].startswith(
            '  - 300 lines (1, 2, 3, ...): answer names the unknown slot "prodct". Did you mean "product"?'
        )
        assert told[2].startswith(
            '  - 200 lines (2, 3, 5, ...): "urgency" has the unknown label "hihg". Did you mean "high"?'
        )
        assert told[3].startswith('  - line 301: the key "text" is missing')
        assert len(told) == 5

    def test_many_values_of_one_fault_are_one_line_and_hide_no_other(self, tmp_path: Path) -> None:
        rows = [{"text": f"t{n}", "answer": {"urgency": f"I think {n} is high"}} for n in range(40)]
        told = refused(lines(tmp_path / "a.jsonl", *rows, {"answer": {}}), TICKETS).splitlines()
        assert told[0].endswith("41 faults of 2 kinds")
        assert told[1].startswith('  - 40 lines (1, 2, 3, ...): "urgency" has the unknown label "I think 0 is high".')
        assert told[1].endswith("(39 more such values)") and told[2].startswith("  - line 41: the key")

    def test_ten_kinds_are_shown(self) -> None:
        faults = [(f"line {n}", f"fault {name}") for n, name in enumerate("abcdefghijkl")]
        with pytest.raises(UserError) as error:
            raise_faults("a.jsonl", faults, "Repair them.")
        shown = str(error.value).splitlines()
        assert (shown[0], shown[1], shown[11]) == ("a.jsonl: 12 faults", "  - line 0: fault a", "  - ... and 2 more")

    def test_places_of_several_files(self, tmp_path: Path) -> None:
        for name in ("P1.json", "P2.json"):
            (tmp_path / name).write_text(json.dumps([{"question": "a", "answers": []}] * 2))
        with pytest.raises(UserError) as error:
            FORMATS["entityquestions"](tmp_path)
        assert "4 records (P1.json record 1, P1.json record 2, P2.json record 1, ...): " in str(error.value)
