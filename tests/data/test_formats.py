"""Data: every native format from a tiny file, every kind of bad input, disjoint splits, draws."""

from __future__ import annotations

import json
import random
import sys

import pytest

from sde_ray import data
from sde_ray.data.entityquestions import LOCATION, read_templates, subject
from sde_ray.data.schema import Schema
from sde_ray.errors import UserError
from sde_ray.types import Example

REVIEWS = Schema("label", ("food", "staff"), ("positive", "neutral", "negative"), "unmentioned")
ENTITIES = Schema("span", ("DNA", "protein"))
QUESTIONS = Schema("free", ("answer",))


MAVEN = {
    "id": "d1",
    "content": [
        {"sentence": "They raided it.", "tokens": ["They"]},
        {"sentence": "It was nice.", "tokens": ["It"]},
        {"sentence": "They flew and attacked.", "tokens": ["They"]},
    ],
    "events": [
        {"type": "Attack", "mention": [{"trigger_word": "attacked", "sent_id": 2, "offset": [3, 4]}]},
        {"type": "Attack", "mention": [{"trigger_word": "raided", "sent_id": 0, "offset": [1, 2]}]},
        {"type": "Motion", "mention": [{"trigger_word": "flew", "sent_id": 2, "offset": [1, 2]}]},
        {"type": "Being", "mention": [{"trigger_word": "was", "sent_id": 1, "offset": [1, 2]}]},
    ],
    "negative_triggers": [],
}


def lines(path, *records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return path


def row(name, text=None, **answer):
    return {"id": name, "text": text or f"text of {name}", "answer": answer}


class TestNativeFormats:
    MAMS = """<?xml version="1.0" encoding="utf-8"?>
<sentences>
  <sentence><text>Good soup &amp; rude staff.</text><aspectCategories>
    <aspectCategory category="food" polarity="positive"/><aspectCategory category="staff" polarity="negative"/>
  </aspectCategories></sentence>
  <sentence><text>A table.</text><aspectCategories>
    <aspectCategory category="place" polarity="neutral"/></aspectCategories></sentence>
</sentences>"""

    def test_mams(self, tmp_path):
        path = tmp_path / "train.xml"
        path.write_text(self.MAMS, "utf-8")
        first, second = data.load_mams(path)
        assert first == Example("train:1", "Good soup & rude staff.", {"food": ("positive",), "staff": ("negative",)})
        assert second.answer == {"place": ("neutral",)}

    def test_fewer_slots_leave_the_others_out(self, tmp_path):
        path = tmp_path / "train.xml"
        path.write_text(self.MAMS, "utf-8")
        assert [example.answer for example in data.load_mams(path, REVIEWS)] == [
            {"food": ("positive",), "staff": ("negative",)},
            {},
        ]

    def test_mams_of_aspect_terms_is_told_apart(self, tmp_path):
        path = tmp_path / "train.xml"
        path.write_text(
            "<sentences><sentence><text>x</text><aspectTerms><aspectTerm/></aspectTerms></sentence></sentences>"
        )
        with pytest.raises(UserError, match="sentence 1: this is MAMS-ATSA"):
            data.load_mams(path)

    def test_mams_wrong_polarity_and_broken_xml(self, tmp_path):
        path = tmp_path / "train.xml"
        path.write_text(self.MAMS.replace("neutral", "nuetral"), "utf-8")
        with pytest.raises(UserError, match='sentence 2: unknown polarity "nuetral". Did you mean "neutral"'):
            data.load_mams(path)
        path.write_text(self.MAMS.replace("</sentences>", ""), "utf-8")
        with pytest.raises(UserError, match="is not XML: no element found: line 8"):
            data.load_mams(path)

    ASAP = '\ufeffindex,reviewbody,star,food,staff\n7,"好吃，\n""不错""",4.0,1,-2\n9,差,1.0,-1,0\n'

    def test_asap(self, tmp_path):
        path = tmp_path / "train.csv"
        path.write_bytes(self.ASAP.encode())
        assert data.load_asap(path, REVIEWS) == [
            Example("7", '好吃，\n"不错"', {"food": ("positive",)}),
            Example("9", "差", {"food": ("negative",), "staff": ("neutral",)}),
        ]

    def test_asap_labels_are_told_by_number_not_by_place(self, tmp_path):
        path = tmp_path / "train.csv"
        path.write_bytes(self.ASAP.encode())
        numbers = (("bad", "-1"), ("good", "1"), ("so-so", "0"))
        schema = Schema("label", ("food", "staff"), ("bad", "good", "so-so"), "unmentioned", numbers)
        assert [e.answer["food"] for e in data.load_asap(path, schema)] == [("good",), ("bad",)]
        with pytest.raises(UserError, match="ASAP needs ones numbered 1, 0 and -1"):
            data.load_asap(path, Schema("label", ("food",), ("bad", "good", "so-so")))

    def test_asap_wrong_value_shows_the_line_of_the_file(self, tmp_path):
        path = tmp_path / "train.csv"
        path.write_bytes(self.ASAP.replace("-1,0", "2,0").encode())
        with pytest.raises(UserError, match='line 4: food is "2"; expected 1, 0, -1, or -2'):
            data.load_asap(path, REVIEWS)
        path.write_bytes(self.ASAP.replace("-1,0", "-1").encode())
        with pytest.raises(UserError, match="line 4: 4 values, the header has 5"):
            data.load_asap(path, REVIEWS)

    def test_genia_train_form_keeps_nested_mentions_in_order(self, tmp_path):
        mentions = [
            {"entity_type": "protein", "surface": "IL-2", "char_start": 4, "char_end": 8, "start": 1, "end": 2},
            {"entity_type": "DNA", "surface": "IL-2 gene", "char_start": 4, "char_end": 13, "start": 1, "end": 3},
            {"entity_type": "protein", "surface": "NF-kB", "char_start": 15, "char_end": 20, "start": 4, "end": 5},
            {"entity_type": "protein", "surface": "IL-2", "char_start": 25, "char_end": 29, "start": 6, "end": 7},
        ]
        fields = {"text": "The IL-2 gene, NF-kB and IL-2", "tokens": ["x"], "sent_id": "S1"}
        path = lines(tmp_path / "train.jsonl", {**fields, "entity_mentions": mentions[::-1]})
        (example,) = data.load_genia(path)
        assert (example.id, example.text) == ("S1", "The IL-2 gene, NF-kB and IL-2")
        assert example.answer == {"DNA": ("IL-2 gene",), "protein": ("IL-2", "NF-kB", "IL-2")}

    def test_genia_dev_form(self, tmp_path):
        mentions = [{"start": 0, "end": 2, "entity_type": "DNA", "text": "jun B"}]
        record = {"tokens": ["jun", "B", "binds", "."], "sent_id": "S2", "entity_mentions": mentions}
        empty = {"tokens": ["Nothing"], "sent_id": "S3", "entity_mentions": []}
        assert data.load_genia(lines(tmp_path / "dev.jsonl", record, empty)) == [
            Example("S2", "jun B binds .", {"DNA": ("jun B",)}),
            Example("S3", "Nothing", {}),
        ]

    def test_genia_faults(self, tmp_path):
        mention = {"start": 0, "end": 1, "entity_type": "protien", "text": "x"}
        records = [
            {"tokens": ["x"], "entity_mentions": [mention]},
            {"tokens": ["x"], "entity_mentions": [{**mention, "entity_type": "protein", "text": "y"}]},
            {"tokens": "x", "entity_mentions": []},
        ]
        with pytest.raises(UserError) as error:
            data.load_genia(lines(tmp_path / "dev.jsonl", *records))
        assert 'line 1: unknown entity_type "protien". Did you mean "protein"' in str(error.value)
        assert 'line 2: the mention "y" is not in the text' in str(error.value)
        assert "line 3: \"tokens\" is 'x', expected a list" in str(error.value)

    def test_phee(self, tmp_path):
        def event(kind, texts, starts):
            return {"event_type": kind, "Trigger": {"text": texts, "start": starts}, "Effect": {"text": [["rash"]]}}

        adverse = "Adverse_event"
        events = [
            event(adverse, [["after"]], [[20]]),
            event(adverse, [["developed"]], [[3]]),
            event(adverse, [["developed"]], [[3]]),  # two events share a trigger
            event("Potential_therapeutic_event", [["was", "treated"]], [[30, 40]]),  # discontinuous
        ]
        path = lines(tmp_path / "train.json", {"id": "8_3", "context": "a text", "annotations": [{"events": events}]})
        (example,) = data.load_phee(path)
        assert example == Example(
            "8_3",
            "a text",
            {adverse: ("developed", "after"), "Potential_therapeutic_event": ("was treated",)},
        )

    def test_maven(self, tmp_path):
        path = lines(tmp_path / "train.jsonl", MAVEN)
        kept = data.load_maven(path)
        assert [(e.id, e.answer) for e in kept] == [
            ("d1:0", {"Attack": ("raided",)}),
            ("d1:2", {"Attack": ("attacked",), "Motion": ("flew",)}),
        ]
        assert [e.id for e in data.load_maven(path, keep_empty=True)] == ["d1:0", "d1:1", "d1:2"]

    def test_maven_by_sentences(self, tmp_path):
        path = tmp_path / "train.json"
        event = {"text": "raid", "start": 1, "end": 2, "event_type": "Attack"}
        path.write_text(json.dumps([{"id": "s1", "tokens": ["A", "raid"], "events": [event]}]))
        assert data.load_maven(path) == [Example("s1", "A raid", {"Attack": ("raid",)})]

    def test_maven_without_gold(self, tmp_path):
        record = {key: value for key, value in MAVEN.items() if key != "events"}
        with pytest.raises(UserError, match="line 1: there are no gold events"):
            data.load_maven(lines(tmp_path / "test.jsonl", record))

    def test_entityquestions(self, tmp_path):
        countries = [
            {"question": "Which country is Graz located in?", "answers": ["Austria", "Styria"]},
            {"question": "Which country is Ohio located in?", "answers": ["United States of America"]},
        ]
        (tmp_path / "P17.dev.json").write_text(json.dumps(countries))
        (tmp_path / "P50.dev.json").write_text(
            json.dumps([{"question": "Who is the author of Emma?", "answers": ["A"]}])
        )
        graz, ohio, emma = data.load_entityquestions(tmp_path)
        assert graz.text == "Which country is Graz located in?"
        assert (graz.id, graz.answer, graz.aliases) == (
            "P17.dev:1",
            {"answer": ("Austria",)},
            {"answer": ("Styria",)},
        )
        assert "USA" in ohio.aliases["answer"]
        assert "United States of America" not in ohio.aliases["answer"]
        assert emma.aliases == {}
        assert len(data.load_entityquestions(tmp_path, relations=LOCATION)) == 2

    def test_the_subject_of_a_question(self, tmp_path):
        path = tmp_path / "templates.json"
        path.write_text('{"P17": "Which country is [X] located in?"}')
        template = read_templates(path)["P17"]
        assert subject("Which country is Graz located in?", template) == "Graz"
        with pytest.raises(UserError, match="no question of the form"):
            subject("Where is Graz?", template)


class TestJsonl:
    def test_values_in_every_form(self, tmp_path):
        path = lines(
            tmp_path / "a.jsonl",
            {**row("1", food="positive", staff=None), "rationale": {"food": "good soup"}},
            row(2, food=["negative"], staff="unmentioned"),
            {"text": "no id", "answer": {}, "extra": 1, "context": "not read"},
        )
        assert data.load_jsonl(path, REVIEWS) == [
            Example("1", "text of 1", {"food": ("positive",)}, {"food": "good soup"}),
            Example("2", "text of 2", {"food": ("negative",)}),
            Example("a:3", "no id", {}),
        ]

    def test_spans_and_questions(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", row("1", protein=["IL-2", "IL-2"], DNA="x"), row("2", DNA=[]))
        assert [e.answer for e in data.load_jsonl(path, ENTITIES)] == [{"DNA": ("x",), "protein": ("IL-2", "IL-2")}, {}]
        path = lines(
            tmp_path / "b.jsonl", {"text": "when?", "answer": [1984, "MCMLXXXIV"], "aliases": {"answer": "84"}}
        )
        (example,) = data.load_jsonl(path, QUESTIONS)
        assert (example.answer, example.aliases) == ({"answer": ("1984",)}, {"answer": ("MCMLXXXIV", "84")})

    def test_flat_rows_and_renamed_columns(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text('key,sentence,food,Staff\n1,"a, b",positive,\n2,c,,negative\n')
        found = data.load_jsonl(path, REVIEWS, columns={"id": "key", "text": "sentence", "staff": "Staff"})
        assert found == [Example("1", "a, b", {"food": ("positive",)}), Example("2", "c", {"staff": ("negative",)})]
        with pytest.raises(UserError, match='there is no column "sentense". Did you mean "sentence"'):
            data.load_jsonl(path, REVIEWS, columns={"text": "sentense"})

    def test_a_list_and_a_windows_file(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text(json.dumps([row("1"), row("2")], indent=1))
        assert len(data.load_jsonl(path, REVIEWS)) == 2
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row("1")).encode() + b"\r\n\r\n" + json.dumps(row("2")).encode())
        assert [e.id for e in data.load_jsonl(path, REVIEWS)] == ["1", "2"]

    def test_line_separators_inside_a_text_are_text(self, tmp_path):
        """str.splitlines would break a record at U+2028 and U+0085."""
        path = lines(tmp_path / "a.jsonl", row("1", "one\u2028two\x85three"))
        assert data.load_jsonl(path, REVIEWS)[0].text == "one\u2028two\x85three"

    def test_all_faults_at_once(self, tmp_path):
        path = lines(
            tmp_path / "a.jsonl",
            row("1", food="positve"),
            row("2", fod="positive"),
            row("7", food="positive"),
            row("4", food=["positive", "negative"]),
            {"id": "5", "answer": {}},
            {"id": "6", "text": "x", "answer": "positive"},
            {"id": "7", "text": "  ", "answer": {}},
            row("8", food=True),
            {"id": "9", "text": "x", "answer": {}, "rational": {}},
            ["x"],
        )
        with pytest.raises(UserError) as error:
            data.load_jsonl(path, REVIEWS)
        message = str(error.value)
        assert message.startswith(f"{path}: 10 faults")
        for part in [
            'line 1: "food" has the unknown label "positve". Did you mean "positive"?',
            'line 2: answer names the unknown slot "fod". Did you mean "food"?',
            'line 4: "food" has 2 labels, expected one',
            'line 5: the key "text" is missing',
            "line 6: \"answer\" is 'positive', expected a mapping by slot",
            "line 7: the text is empty",
            'line 7: the id "7" is also that of line 3',
            'line 8: "food" has the unknown label "true"',
            'line 9: unknown key "rational". Did you mean "rationale"?',
            "line 10: expected an object",
        ]:
            assert part in message, part

    def test_duplicate_ids(self, tmp_path):
        with pytest.raises(UserError, match='line 3: the id "1" is also that of line 1'):
            data.load_jsonl(lines(tmp_path / "a.jsonl", row("1"), row("2"), row("1", "other")), REVIEWS)

    def test_broken_lines_are_numbered(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps(row("1")) + "\n" + "".join(f'{{"{n}"\n' for n in range(9)))
        with pytest.raises(UserError) as error:
            data.load_jsonl(path, REVIEWS)
        shown = str(error.value).splitlines()
        assert shown[0] == f"{path}: 9 faults"
        assert shown[1].startswith("  - line 2: not JSON: Expecting ':' delimiter at column 5")
        assert len(shown) == 11

    @pytest.mark.parametrize(
        "line", ['{"text": "\\ud83d"}', '{"text": ' + "[" * 100_000, '{"text": 1' + "0" * 5000 + "}"]
    )
    def test_what_json_lets_pass_and_files_do_not(self, tmp_path, line):
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps(row("1", "\U0001f600")) + "\n" + line + "\n")
        with pytest.raises(UserError, match="1 fault\n  - line 2"):
            data.load_jsonl(path, REVIEWS)
        path.write_text("[" + line + "]")
        with pytest.raises(UserError, match="is not a JSON list"):
            data.load_jsonl(path, REVIEWS)

    @pytest.mark.parametrize("content", ["", " \n\n"])
    def test_empty(self, tmp_path, content):
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(UserError, match="a.jsonl is empty"):
            data.load_jsonl(tmp_path / "a.jsonl", REVIEWS)

    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match="There is no file .*a.jsonl"):
            data.load_jsonl(tmp_path / "a.jsonl", REVIEWS)

    def test_not_utf8_shows_the_byte(self, tmp_path):
        (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')
        with pytest.raises(UserError, match=r"byte 0xe9 at offset 27, line 2\. Convert it, for example: iconv"):
            data.load_jsonl(tmp_path / "a.jsonl", REVIEWS)

    def test_random_bytes_never_give_a_traceback(self, tmp_path):
        rng = random.Random(0)
        good = "".join(json.dumps(row(str(i), food="positive")) + "\n" for i in range(3)).encode()
        for _ in range(200):
            broken = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            (tmp_path / "a.jsonl").write_bytes(bytes(broken))
            try:
                found = data.load_jsonl(tmp_path / "a.jsonl", REVIEWS)
            except UserError as error:
                assert "a.jsonl" in str(error)
            else:
                assert all(set(e.answer) <= {"food", "staff"} for e in found)


def examples(*texts, prefix="e"):
    return [Example(f"{prefix}{i}", text, {}) for i, text in enumerate(texts)]


class TestSplits:
    def folder(self, tmp_path, **splits):
        for name, rows in splits.items():
            lines(tmp_path / f"{name}.jsonl", *rows)
        return {"format": "jsonl", "path": str(tmp_path)}

    @pytest.mark.parametrize("dev", ["dev", "valid", "val", "my_validation"])
    def test_a_folder(self, tmp_path, dev):
        section = self.folder(tmp_path, **{"train": [row("1")], dev: [row("2")], "test-v2": [row("3")]})
        source = data.open_dataset(section, tmp_path, REVIEWS)
        assert [[e.id for e in source(split)] for split in ("train", "dev", "test")] == [["1"], ["2"], ["3"]]
        assert source.splits().cut == source.splits().dropped == ()

    def test_missing_splits_are_cut_from_train_the_same_in_any_order(self, tmp_path):
        rows = [row(str(i)) for i in range(40)]
        one = data.open_dataset({"path": str(lines(tmp_path / "a.jsonl", *rows))}, tmp_path, REVIEWS)
        two = data.open_dataset({"path": str(lines(tmp_path / "b.jsonl", *rows[::-1]))}, tmp_path, REVIEWS)
        found = {split: {e.id for e in one(split)} for split in ("train", "dev", "test")}
        assert [len(ids) for ids in found.values()] == [33, 3, 4]
        assert set.union(*found.values()) == {str(i) for i in range(40)}
        assert found == {split: {e.id for e in two(split)} for split in found}
        assert one.splits().cut[0] == "test: 4 examples cut from train, as there was no test split"

    def test_copies_of_a_text_are_cut_together(self):
        train = examples(*(["Same  text", "same text"] * 10), *map(str, range(10)))
        splits = data.separate({"train": train}, "error", "x").examples
        where = {name for name, found in splits.items() for e in found if e.text.casefold().startswith("same")}
        assert len(where) == 1

    def test_overlap_is_an_error_for_own_files(self, tmp_path):
        section = self.folder(tmp_path, train=[row("1", "A text"), row("2")], test=[row("9", "a  TEXT"), row("8")])
        with pytest.raises(UserError) as error:
            data.open_dataset(section, tmp_path, REVIEWS)("train")
        assert 'train and test share 1 texts, first "1" = "9"' in str(error.value)
        assert "overlap: drop" in str(error.value)

    def test_overlap_is_dropped_from_the_earlier_split_if_asked_for(self, tmp_path, caplog):
        section = self.folder(
            tmp_path,
            train=[row("1", "a"), row("2", "b"), row("3", "c")],
            dev=[row("4", "b"), row("5", "d")],
            test=[row("6", "a"), row("7", "d")],
        )
        source = data.open_dataset({**section, "overlap": "drop"}, tmp_path, REVIEWS)
        assert [[e.id for e in source(split)] for split in ("train", "dev", "test")] == [["3"], ["4"], ["6", "7"]]
        assert source.splits().dropped == (
            "dev: 1 of 2 examples dropped, their text is in a later split",
            "train: 2 of 3 examples dropped, their text is in a later split",
        )
        assert "train: 2 of 3 examples dropped" in caplog.text

    def test_the_same_file_twice(self, tmp_path):
        path = str(lines(tmp_path / "a.jsonl", row("1"), row("2")))
        with pytest.raises(UserError, match="train and dev share 2 texts"):
            data.open_dataset({"train": path, "dev": path}, tmp_path, REVIEWS)("dev")
        with pytest.raises(UserError, match="every train text is also in a later split"):
            data.open_dataset({"train": path, "dev": path, "overlap": "drop"}, tmp_path, REVIEWS)("dev")

    def test_too_few_texts_to_cut(self, tmp_path):
        with pytest.raises(UserError, match="2 train texts are too few"):
            data.open_dataset({"path": str(lines(tmp_path / "a.jsonl", row("1"), row("2")))}, tmp_path, REVIEWS)("dev")

    def test_a_changed_file_is_read_anew(self, tmp_path):
        section = self.folder(tmp_path, train=[row("1")], dev=[row("2")], test=[row("3")])
        source = data.open_dataset(section, tmp_path, REVIEWS)
        assert len(source("dev")) == 1
        lines(tmp_path / "dev.jsonl", row("2"), row("4"))
        assert [e.id for e in source("dev")] == ["2", "4"]

    def test_a_callers_list_is_its_own(self, tmp_path):
        section = self.folder(tmp_path, train=[row("1")], dev=[row("2")], test=[row("3")])
        source = data.open_dataset(section, tmp_path, REVIEWS)
        source("dev").clear()
        assert len(source("dev")) == 1

    def test_all_faults_of_a_section(self, tmp_path):
        lines(tmp_path / "train.jsonl", row("1"))
        with pytest.raises(UserError) as error:
            data.open_dataset(
                {"format": "jsnl", "train": "trian.jsonl", "overlap": "keep", "colums": {}}, tmp_path, REVIEWS
            )
        message = str(error.value)
        assert 'Unknown format "jsnl". Did you mean "jsonl"' in message
        assert 'Did you mean "train.jsonl"' in message
        assert 'overlap is "keep"' in message
        assert 'unknown key "colums". Did you mean "columns"' in message

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({}, "give one of: path"),
            ({"path": "x", "train": "y"}, "give one of: path"),
            ({"dev": "train.jsonl"}, "train is missing"),
            ({"path": "."}, "has several train files: train.jsonl, train2.jsonl"),
            ({"path": "empty"}, "has no train file.*nothing that is data"),
        ],
    )
    def test_places(self, tmp_path, section, message):
        (tmp_path / "empty").mkdir()
        for name in ("train.jsonl", "train2.jsonl"):
            lines(tmp_path / name, row("1"))
        with pytest.raises(UserError, match=message):
            data.open_dataset(section, tmp_path, REVIEWS)

    def test_a_format_of_another_kind(self, tmp_path):
        with pytest.raises(UserError, match="holds answers of the kind span, the task is of the kind label"):
            data.open_dataset({"format": "genia", "train": str(lines(tmp_path / "a", row("1")))}, tmp_path, REVIEWS)


class TestDatasets:
    """What the `datasets` library reads: dataset folders, as from the hub, and tables."""

    @pytest.fixture
    def repository(self, tmp_path, monkeypatch):
        from datasets import ClassLabel, Dataset, Features, Value, config

        monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
        features = Features({"sentence": Value("string"), "food": ClassLabel(names=["negative", "positive"])})
        folder = tmp_path / "owner" / "reviews"
        (folder / "data").mkdir(parents=True)
        for split, numbers in {"train": [0, 1, 1], "validation": [0], "test": [1]}.items():
            rows = {"sentence": [f"{split} {i}" for i in range(len(numbers))], "food": numbers}
            Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / f"{split}-00000.parquet")
        return tmp_path

    @pytest.mark.parametrize("splits", [{}, {"splits": {"train": "train", "dev": "validation", "test": "test"}}])
    def test_a_dataset_repository(self, repository, splits):
        section = {"hub": "owner/reviews", "columns": {"text": "sentence"}, **splits}
        source = data.open_dataset(section, repository, REVIEWS)
        assert [e.text for e in source("dev")] == ["validation 0"]
        assert [e.answer["food"] for e in source("train")] == [("negative",), ("positive",), ("positive",)]
        assert len({e.id for split in ("train", "dev", "test") for e in source(split)}) == 5

    def test_a_split_that_is_not_there(self, repository):
        section = {"hub": "owner/reviews", "splits": {"train": "trainn"}, "columns": {"text": "sentence"}}
        with pytest.raises(UserError, match='"trainn".*cannot be loaded'):
            data.open_dataset(section, repository, REVIEWS)("train")

    def test_parquet_and_a_folder_saved_to_disk(self, tmp_path):
        from datasets import Dataset, DatasetDict

        rows = Dataset.from_list([row(str(i), food=food) for i, food in enumerate(["positive", None, "negative"])])
        rows.to_parquet(tmp_path / "a.parquet")
        found = data.load_jsonl(tmp_path / "a.parquet", REVIEWS)
        assert [e.answer for e in found] == [{"food": ("positive",)}, {}, {"food": ("negative",)}]
        DatasetDict({"train": rows}).save_to_disk(tmp_path / "saved")
        source = data.open_dataset({"hub": "saved"}, tmp_path, REVIEWS)
        assert sum(len(source(split)) for split in ("train", "dev", "test")) == 3

    def test_no_parquet(self, tmp_path):
        (tmp_path / "a.parquet").write_text("no")
        with pytest.raises(UserError, match="is no parquet file"):
            data.load_jsonl(tmp_path / "a.parquet", REVIEWS)


class TestDraw:
    pool = examples(*map(str, range(50)))

    def test_a_smaller_size_is_the_beginning_of_a_larger(self):
        assert data.draw(self.pool, 10, 3) == data.draw(self.pool, 30, 3)[:10]
        assert data.draw(self.pool, 50, 3) != data.draw(self.pool, 50, 4)
        assert sorted(e.id for e in data.draw(self.pool, 50, 3)) == sorted(e.id for e in self.pool)

    def test_the_order_given_is_nothing(self):
        assert data.draw(self.pool[::-1], 20, 1) == data.draw(self.pool, 20, 1)

    def test_the_order_is_the_same_for_ever(self):
        assert [e.id for e in data.draw(self.pool, 5, 0)] == ["e35", "e13", "e31", "e20", "e34"]

    @pytest.mark.parametrize(("n", "message"), [(51, "51 examples were asked for, 50 are there"), (0, "0 examples")])
    def test_bad_sizes(self, n, message):
        with pytest.raises(UserError, match=message):
            data.draw(self.pool, n, 0)

    def test_fingerprint(self):
        one = Example("1", "a", {"food": ("x",)})
        assert data.fingerprint([one]) == data.fingerprint([Example("1", "a", {"food": ("x",)})])
        others = [
            Example("2", "a", {"food": ("x",)}),
            Example("1", "b", {"food": ("x",)}),
            Example("1", "a", {"food": ("y",)}),
            Example("1", "a", {"food": ("x",)}, {"food": "why"}),
            Example("1", "a", {"food": ("x",)}, {}, {"food": ("z",)}),
        ]
        assert len({data.fingerprint([e]) for e in [one, *others]}) == 6
        assert data.fingerprint([one, others[0]]) != data.fingerprint([others[0], one])


def test_importing_the_package_does_not_import_datasets():
    import subprocess

    code = "import sde_ray.data, sde_ray.metrics, sys; sys.exit('datasets' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
