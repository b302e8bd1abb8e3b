"""`sde-ray init`: from data in every form to a YAML that plans; what is found, unsure and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import own_data
from helpers.own_data import MAKERS, lines
from typer.testing import CliRunner, Result

from sde_ray.cli.app import app
from sde_ray.config.load import load_config, open_tasks


def call(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def task_of(path: Path) -> Any:
    (task,) = open_tasks(load_config(path)).values()
    return task


def drafted(name: str, here: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The YAML's values and what the command said, of one of the data sets."""
    data = MAKERS[name](here)
    said = call("init", data.relative_to(here), "--out", "x.yaml", *options).output
    return yaml.safe_load((here / "x.yaml").read_text()), said


@pytest.mark.parametrize("name", MAKERS)
def test_a_drafted_sweep_plans_and_shows(name: str, here: Path) -> None:
    data = MAKERS[name](here)
    said = call("init", data.relative_to(here)).output
    (path,) = here.glob("*.yaml")
    assert f"sde-ray plan {path.name}" in said and "repair" not in said
    values = yaml.safe_load(path.read_text())
    assert values["task"]["data"]["path"] == data.name
    planned = call("plan", path.name).output
    assert f"{path.stem}:" in planned and "data     " in planned
    shown = json.loads(call("show", path.name, "--json").stdout)
    assert shown[0]["faults"] == []
    task = task_of(path)
    counts = [len(task.load(split)) for split in ("train", "dev", "test")]
    assert " · ".join(f"{n} {split}" for n, split in zip(counts, ("train", "dev", "test"), strict=True)) in said
    assert " / ".join(f"{n} {split}" for n, split in zip(counts, ("train", "dev", "test"), strict=True)) in planned
    assert values["train_sizes"][0] <= counts[0]
    assert values["eval_size"] <= counts[1] and values["validation"]["test_size"] <= counts[2]
    assert values["task"]["objective"] == task.objective


SHARED = {"kind": "label", "slots": ["room", "wifi"], "labels": ["bad", "good"]}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("jsonl", SHARED),
        ("mapped", {**SHARED, "data": {"path": "mapped.jsonl", "columns": {"text": "review", "answer": "ratings"}}}),
        ("flat", {"kind": "label", "slots": ["label"], "labels": ["bad", "good"], "data": {"path": "flat.jsonl"}}),
        ("semicolons", {**SHARED, "data": {"path": "semicolons.csv", "columns": {"text": "body"}}}),
        ("tabs", {"slots": ["label"], "data": {"path": "tabs.tsv", "columns": {"text": "sentence"}}}),
        (
            "messages",
            {
                **SHARED,
                "data": {
                    "path": "messages.jsonl",
                    "format": "messages",
                    "prompt_template": "Rate this stay.\n\nReview: {text}\n\nAnswer in JSON.",
                },
            },
        ),
        ("sharegpt", {**SHARED, "data": {"path": "sharegpt.jsonl", "format": "sharegpt"}}),
        ("alpaca", {"slots": ["label"], "data": {"path": "alpaca.json", "format": "alpaca"}}),
        ("prompts", {"labels": ["bad", "good"], "data": {"path": "prompts.jsonl", "format": "prompt_completion"}}),
        ("spacy", {"kind": "span", "slots": ["protein", "DNA"], "data": {"path": "spacy.json", "format": "offsets"}}),
        ("doccano", {"kind": "span", "slots": ["protein", "DNA"]}),
        ("tagged", {"slots": ["protein", "DNA"], "data": {"path": "tagged.jsonl", "format": "bio"}}),
        ("spans", {"kind": "span", "slots": ["protein", "DNA"], "data": {"path": "spans.jsonl"}}),
        (
            "label_studio",
            {**SHARED, "data": {"path": "label_studio.json", "format": "label_studio", "disagreement": "first"}},
        ),
        ("questions", {"kind": "free", "slots": ["answer"], "objective": "accuracy"}),
        ("parquet", {**SHARED, "data": {"path": "table.parquet"}}),
        ("files", {**SHARED, "data": {"path": "stays", "overlap": "drop"}}),
        (
            "by_slot",
            {
                "slots": ["product", "urgency", "mood"],
                "labels": {
                    "product": ["app", "billing", "router"],
                    "urgency": ["low", "medium", "high"],
                    "mood": ["angry", "calm"],
                },
            },
        ),
        ("several", {"kind": "label", "slots": ["topics"], "labels": ["food", "price", "noise"], "multilabel": True}),
        ("cells", {"kind": "label", "slots": ["topics"], "labels": ["food", "price", "noise"], "multilabel": True}),
        ("table_of_spans", {"kind": "span", "slots": ["names"]}),
        ("numbers", {"kind": "free", "slots": ["score"], "range": {"score": [0, 9]}}),
        ("flags", {"slots": ["spam"], "labels": ["false", "true"]}),
        ("chinese", {"language": "zh", "labels": ["正面", "负面"], "placeholder": "未提及"}),
    ],
)
def test_what_is_found(name: str, task: dict[str, Any], here: Path) -> None:
    found, _ = drafted(name, here)

    def unordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: unordered(inner) for key, inner in value.items()}
        return sorted(value) if isinstance(value, list) else value

    assert {key: unordered(found["task"].get(key)) for key in task} == unordered(task)


def test_every_data_set_has_its_expectation() -> None:
    (marks,) = [mark for mark in test_what_is_found.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {name for name, _ in marks.args[1]} == {*MAKERS}


class TestUnsure:
    def test_it_says_what_it_is_unsure_of(self, here: Path) -> None:
        rows = own_data.sentiments(120)
        rows[3] |= {"room": "godo"}
        rows[4] |= {"text": rows[5]["text"]}
        rows[6] |= {"text": "long " * 1000}
        rows[8] |= {"room": "", "wifi": ""}
        more = [{"remark": f"remark number {n}", "fold": "train" if n else "test"} for n in range(120)]
        data = lines(here / "a.jsonl", [{**row, **extra} for row, extra in zip(rows, more, strict=True)])
        said = call("init", data.name, "--out", "x.yaml").output
        for part in [
            'room: "godo" (once) looks like a slip for "good"',
            "room: fewer than 5 examples of godo",
            "left out, as they hold other kinds of values: remark",
            "1 texts stand in the data with different answers",
            "the column fold seems to say which split a row is in",
            "1 of 120 records mention no slot",
            "1 texts have more than 2,472 characters, the longest 5,000",
            "are few: differences between designs will hardly be clear",
        ]:
            assert part in said, part
        call("plan", "x.yaml")

    def test_the_word_for_not_mentioned_is_the_placeholder(self, here: Path) -> None:
        rows = [{**row, "wifi": "n/a" if n % 3 else row["wifi"]} for n, row in enumerate(own_data.sentiments())]
        call("init", lines(here / "a.jsonl", rows).name)
        task = yaml.safe_load((here / "a.yaml").read_text())["task"]
        assert (task["placeholder"], sorted(task["labels"])) == ("n/a", ["bad", "good"])

    def test_a_label_that_is_called_as_the_placeholder_is_by_default(self, here: Path) -> None:
        rows = [{"text": f"Text {n}.", "label": "unmentioned" if n % 2 else "good"} for n in range(40)]
        call("init", lines(here / "a.jsonl", rows).name)
        assert task_of(here / "a.yaml").placeholder == "not mentioned"

    def test_an_empty_cell_that_says_nan_is_told_with_the_loaders_fault(self, here: Path) -> None:
        rows = [{**row, "room": "NaN" if n == 3 else row["room"]} for n, row in enumerate(own_data.sentiments())]
        said = call("init", lines(here / "a.jsonl", rows).name).output
        assert 'room is "NaN" once: leave such a cell empty' in said
        assert "repair   a.jsonl: 1 fault" in said.replace(f"{here}/", "")
        assert yaml.safe_load((here / "a.yaml").read_text())["task"]["labels"] == ["bad", "good"]

    def test_instructions_that_differ_stay_in_the_text(self, here: Path) -> None:
        rows = [
            {"instruction": f"Rate the {what}.", "input": row["text"] + what, "output": row["room"]}
            for row in own_data.sentiments()
            for what in ("room", "view")
        ]
        said = call("init", lines(here / "a.jsonl", rows).name).output
        assert "2 different instructions or system messages: they are kept in the text" in said
        assert task_of(here / "a.yaml").load("train")[0].text.startswith("Rate the ")

    def test_answers_that_name_a_slot_called_answer_keep_its_name(self, here: Path) -> None:
        rows = [{"text": row["text"], "answer": {"answer": row["room"]}} for row in own_data.sentiments()]
        call("init", lines(here / "a.jsonl", rows).name)
        assert task_of(here / "a.yaml").slots == ("answer",)
        call("plan", "a.yaml")

    def test_a_few_answers_without_a_slot_are_told(self, here: Path) -> None:
        answers = [json.dumps(own_data.answer_of(row)) for row in own_data.sentiments()]
        answers[3] = "I cannot tell."
        turns = [
            [{"role": "user", "content": f"t{n}"}, {"role": "assistant", "content": a}] for n, a in enumerate(answers)
        ]
        said = call("init", lines(here / "a.jsonl", [{"messages": two} for two in turns]).name).output
        assert "1 of 60 answers name no slot: faults when they are loaded" in said and "repair" in said
        assert yaml.safe_load((here / "a.yaml").read_text())["task"]["slots"] == ["room", "wifi"]


class TestChoices:
    def test_text_slots_kind_and_name(self, here: Path) -> None:
        data = own_data.semicolons(here)
        call("init", data.name, "--slots", "wifi", "--text", "body", "--kind", "free", "--name", "stays")
        task = yaml.safe_load((here / "stays.yaml").read_text())["task"]
        assert (task["name"], task["kind"], task["slots"]) == ("stays", "free", ["wifi"])

    @pytest.mark.parametrize("words", [["--slots", "room,wifi"], ["--slots", "room", "--slots", "wifi"]])
    def test_several_slots_in_one_option_or_several(self, here: Path, words: list[str]) -> None:
        (here / "stays.csv").write_text(
            "text,room,wifi,parking\n" + "".join(f"A stay {n},{n % 2},{n % 3},{n % 2}\n" for n in range(9))
        )
        call("init", "stays.csv", *words)
        assert yaml.safe_load((here / "stays.yaml").read_text())["task"]["slots"] == ["room", "wifi"]

    def test_some_slots_of_a_label_studio_project(self, here: Path) -> None:
        own_data.label_studio(here)
        call("init", "label_studio.json", "--slots", "wifi")
        assert task_of(here / "label_studio.yaml").slots == ("wifi",)
        assert {*task_of(here / "label_studio.yaml").load("dev")[0].answer} <= {"wifi"}

    @pytest.mark.parametrize(
        ("kind", "slots"), [("", ("room", "wifi")), ("label", ("room", "wifi")), ("span", ("word",))]
    )
    def test_a_label_studio_project_with_choices_and_spans(self, here: Path, kind: str, slots: tuple[str, ...]) -> None:
        tasks = json.loads(own_data.label_studio(here).read_text())
        for task in tasks:
            value = {"start": 0, "end": 4, "text": "Stay", "labels": ["word"]}
            for annotation in task["annotations"]:
                annotation["result"].append({"from_name": "mark", "type": "labels", "value": value})
        (here / "mixed.json").write_text(json.dumps(tasks))
        said = call("init", "mixed.json", *(["--kind", kind] if kind else [])).output
        assert "the project has choices and marked spans" in said and "repair" not in said
        assert task_of(here / "mixed.yaml").slots == slots
        assert {slot for row in task_of(here / "mixed.yaml").load("train") for slot in row.answer} == {*slots}

    def test_data_in_another_folder(self, here: Path) -> None:
        (here / "data").mkdir()
        (here / "sweeps").mkdir()
        data = own_data.flat(here / "data")
        call("init", data.relative_to(here), "--out", "sweeps/x.yaml")
        assert yaml.safe_load((here / "sweeps/x.yaml").read_text())["task"]["data"]["path"] == "../data/flat.jsonl"
        call("plan", "sweeps/x.yaml")

    def test_a_dataset_folder_as_from_the_hub(self, here: Path) -> None:
        from datasets import Dataset, DatasetDict

        rows = [{"sentence": r["text"], "room": r["room"]} for r in own_data.sentiments()]
        DatasetDict({"train": Dataset.from_list(rows[:40]), "validation": Dataset.from_list(rows[40:])}).save_to_disk(
            "saved"
        )
        said = call("init", "saved", "--hub").output
        assert "36 train · 20 dev · 4 test" in said
        assert yaml.safe_load((here / "saved.yaml").read_text())["task"]["data"] == {
            "hub": "saved",
            "columns": {"text": "sentence"},
        }
        call("plan", "saved.yaml")

    def test_a_published_set_leads_to_its_task(self, here: Path) -> None:
        mention = {"entity_type": "DNA", "text": "jun", "start": 0, "end": 1}
        rows = [{"tokens": ["jun", f"{n}"], "sent_id": f"s{n}", "entity_mentions": [mention]} for n in range(9)]
        said = call("init", lines(here / "genia.jsonl", *[rows]).name).output
        assert 'with wordings of their own: task: "nested_ner@genia.jsonl"' in said
        assert task_of(here / "genia.yaml").slots == ("DNA", "RNA", "protein", "cell_type", "cell_line")


class TestNoted:
    """What init is not sure of, in words."""

    def test_an_empty_text_as_a_label(self, here: Path) -> None:
        rows = [
            {"text": f"A stay {n}.", "answer": {"room": ["bad", "good", ""][n % 3], "wifi": ["ok", "no"][n % 2]}}
            for n in range(30)
        ]
        said = " ".join(call("init", lines(here / "a.jsonl", rows).name).output.split())
        assert 'unsure An answer has the empty text "" for room 10 times: it is read as "not mentioned"' in said
        assert 'empty text "" for room 10 times' in " ".join(call("plan", "a.yaml").output.split())
        (here / "b.csv").write_text(
            "text,room,wifi\n"
            + "".join(f"A {n},{['bad', 'good', ''][n % 3]},{['ok', 'no'][n % 2]}\n" for n in range(30))
        )
        assert "empty text" not in call("init", "b.csv").output

    def test_answers_of_whole_sentences(self, here: Path) -> None:
        rows = [{"text": f"A long story {n}.", "summary": f"Story {n} is told in a few words"} for n in range(30)]
        said = " ".join(call("init", lines(here / "a.jsonl", rows).name).output.split())
        assert "summary: answers of 8 words (median) hardly ever agree word for word" in said
        rows = [{"text": f"A long story {n}.", "answer": f"Story {n}"} for n in range(30)]
        assert "word for word" not in call("init", lines(here / "b.jsonl", rows).name).output


class TestRecords:
    def test_messages_with_nested_answers_become_a_task_of_records(self, here: Path) -> None:
        orders = [
            {"customer": f"Ada {n}", "items": [{"name": f"lamp {n}", "count": n, "size": ["small", "large"][n % 2]}]}
            | ({"note": f"see {n}"} if n % 3 else {})
            for n in range(60)
        ]
        texts = [f"Order {n}: {o['items'][0]['name']} for {o['customer']}." for n, o in enumerate(orders)]
        said = [[{"role": "user", "content": t}, {"role": "assistant", "content": json.dumps(o)}]
                for t, o in zip(texts, orders, strict=True)]  # fmt: skip
        lines(here / "orders.jsonl", [{"messages": turns} for turns in said])
        told = call("init", "orders.jsonl").output
        assert "record: record (3 fields)" in told and "record_f1" in told and "items.size (2 labels)" in told
        task = yaml.safe_load((here / "orders.yaml").read_text())["task"]
        assert task["fields"] == {
            "customer": "span",
            "items": [{"name": "span", "count": "integer", "size": ["small", "large"]}],
            "note": "text",
        }
        assert (task["optional"], task["single"]) == (["note"], True)
        assert "60 records" not in call("plan", "orders.yaml").output
        assert "items.1.name = lamp" in " ".join(call("show", "orders.yaml", "-n", "1").output.split())

    def test_events_and_triples(self, here: Path) -> None:
        events = [
            [{"type": ["attack", "meeting"][n % 2], "trigger": f"raid{n}", "arguments": {"place": [f"Dorra {n}"]}}]
            for n in range(40)
        ]
        rows = [{"text": f"They raid{n} in Dorra {n}.", "answer": answer} for n, answer in enumerate(events)]
        lines(here / "events.jsonl", rows)
        call("init", "events.jsonl")
        task = yaml.safe_load((here / "events.yaml").read_text())["task"]
        assert task["fields"] == {"type": ["attack", "meeting"], "trigger": "span", "place": ["span"]}
        assert "single" not in task and task["slots"] == ["record"]


class TestRefusals:
    def test_it_never_writes_over_a_file(self, here: Path) -> None:
        data = own_data.flat(here)
        (here / "flat.yaml").write_text("mine")
        assert 'flat.yaml" is there already' in call("init", data.name, code=2).output.replace("\n", " ")
        assert (here / "flat.yaml").read_text() == "mine"
        call("init", data.name, "--force")
        assert "task:" in (here / "flat.yaml").read_text()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["flta.jsonl"], 'There is no file or folder "flta.jsonl". Did you mean "flat.jsonl"?'),
            (["x" * 5000], "There is no file or folder"),
            (["flat.jsonl", "--out", "x" * 5000 + ".yaml"], "Cannot write"),
            (["owner/name"], "For a data set of the Hugging Face hub add --hub."),
            (["flat.jsonl", "--text", "txt"], 'has no column "txt". Did you mean "text"?'),
            (["flat.jsonl", "--slots", "labels"], 'has no column "labels". Did you mean "label"?'),
            (["flat.jsonl", "--kind", "lable"], 'There is no kind "lable". Expected label, span, free or record.'),
            (["flat.jsonl", "--out", "no/x.yaml"], 'There is no folder "no" for x.yaml.'),
            (["."], "has no train file. Expected train.*, dev.* or valid.*, test.*; it has"),
            (["."], "Or give one file, from which dev and test are cut."),
            (["ids.csv"], 'no column but "text" can be told to hold answers'),
            (["constant.csv"], 'the columns are: urgency (always "high"), id.'),
            (["headless.csv"], "headless.csv: its first line (A bad stay., bad) looks like a row of data"),
            (["pairs.jsonl"], "looks like preference pairs"),
            (["empty.jsonl"], "is empty"),
            (["nested.jsonl", "--kind", "span"], "nested: the answers hold objects or lists in lists (relations)"),
            (["tools.jsonl"], "looks like OpenAI messages, but no record can be read"),
        ],
    )
    def test_one_message(self, here: Path, words: list[str], message: str) -> None:
        own_data.flat(here)
        (here / "ids.csv").write_text("id,text\n1,a text\n2,another text\n")
        (here / "constant.csv").write_text("text,urgency,id\na text,high,1\nanother text,high,2\n")
        (here / "headless.csv").write_text("".join(f"A {label} stay.,{label}\n" for label in ["bad", "good"] * 9))
        lines(here / "pairs.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
        (here / "empty.jsonl").write_text("")
        nested = [{"text": f"Text {n}", "answer": {"relations": [{"head": "a", "tail": "b"}]}} for n in range(9)]
        lines(here / "nested.jsonl", nested)
        lines(here / "tools.jsonl", [{"messages": [{"role": "user", "content": "a"}]}])
        told = call("init", *words, code=2).output
        assert message in " ".join(told.split())
        assert not list(here.glob("*.yaml"))
