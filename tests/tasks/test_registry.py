"""Tasks by name: the table, the user's own data and objects, and what a definition must keep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sde_ray.errors import UserError
from sde_ray.metrics import metric_names
from sde_ray.tasks import TASKS, fingerprint, get_task
from sde_ray.tasks.checks import check_task
from sde_ray.testing.tasks import ALL, ENTITIES, REVIEWS, TICKETS


def test_table_of_tasks():
    assert list(TASKS) == [
        "masa:d1", "masa:d2", "masa_zh:d1", "masa_zh:d2", "masa_zh:all",
        "mams", "nested_ner", "events", "events:phee", "events:phee_arguments", "qa", "qa:location", "qa:other",
        "matching", "imputation", "errors", "schema", "relations:d1", "relations:d2",
    ]  # fmt: skip
    assert [len(task.slots) for task in TASKS.values()] == [6, 5, 6, 5, 11, 8, 5, 10, 2, 2, *[1] * 9]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_complete(name):
    task = get_task(name)
    assert task.name == name and len(task.instructions) == 3
    assert task.objective in task.metrics and set(task.metrics) <= set(metric_names(task))
    assert all(get_task(domain).domains == (name,) and get_task(domain).kind == task.kind for domain in task.domains)
    assert task.kind != "label" or set(task.numbers) == {*task.labels, task.placeholder}


def test_a_bare_name_is_the_first_domain():
    assert get_task("masa").name == "masa:d1" and get_task("masa_zh").name == "masa_zh:d1"


@pytest.mark.parametrize(
    "name", ["masa:d1", "masa:d2", "nested_ner", "events", "qa", "matching", "imputation", "errors", "schema"]
)
def test_bundled_examples_belong_to_their_task(name):
    task = get_task(name)
    for example in task.load("dev"):
        assert set(example.answer) <= set(task.slots) and set(example.rationale) <= set(task.slots)
        assert not task.labels or {label for (label,) in example.answer.values()} <= set(task.labels)
    assert task.load("dev") == task.load("dev") and task.load("dev") != task.load("train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mazza:d1", 'Did you mean "masa:d1"?'),
        ("masa:d3", 'Unknown task "masa:d3". Did you mean "masa:d'),
        ("nested-ner", 'Did you mean "nested_ner"?'),
        ("sde_ray.testing.tasks:NOTHING", 'Module "sde_ray.testing.tasks" has no "NOTHING"'),
        ("nowhere.yaml", "There is no file"),
        ("mams@nowhere", "there is no file nowhere"),
    ],
)
def test_unknown_tasks_are_explained(name, message):
    with pytest.raises(UserError) as error:
        get_task(name)
    assert message in str(error.value)


def test_a_task_without_data_says_how_to_name_some():
    with pytest.raises(UserError, match='"mams" has no bundled data. Name yours: the task "mams@PATH"'):
        get_task("mams").load("train")


def test_a_task_object_of_the_users():
    assert get_task("sde_ray.testing.tasks:REVIEWS") is REVIEWS


# ---- the user's own data ---------------------------------------------------------------------------------------------


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def test_own_data_by_name_and_by_mapping(tmp_path):
    for split, label in (("train", "positive"), ("dev", "negative"), ("test", "neutral")):
        write_rows(tmp_path / f"{split}.jsonl", [{"id": split, "text": f"{split} text", "answer": {"food": label}}])
    named = get_task(f"masa:d1@{tmp_path}")
    assert [named.load(split)[0].answer for split in ("train", "dev", "test")] == [
        {"food": ("positive",)}, {"food": ("negative",)}, {"food": ("neutral",)},
    ]  # fmt: skip
    assert named.name == f"masa:d1@{tmp_path}" and named.domains == ()
    mapped = get_task("masa:d1", {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}, base=tmp_path)
    assert mapped.name == "masa:d1" and mapped.load("dev") == named.load("dev")


def test_own_data_in_a_named_format(tmp_path):
    rows = [{"id": str(n), "text": f"gene {n}", "answer": {"DNA": [f"gene {n}"]}} for n in range(30)]
    task = get_task(f"nested_ner@jsonl:{write_rows(tmp_path / 'all.jsonl', rows)}")
    answers = [e.answer for split in ("train", "dev", "test") for e in task.load(split)]
    assert sorted(answer["DNA"][0] for answer in answers) == sorted(f"gene {n}" for n in range(30))


def test_asap_columns_are_the_papers_aspects(tmp_path):
    from sde_ray.data.asap import SLOTS

    value = {"dish_taste": "1", "service_parking_convenience": "-1"}
    values = ",".join(value.get(column, "-2") for column in SLOTS)
    rows = [f'{n},"菜好{n}，车难停",5,{values}' for n in range(30)]
    path = tmp_path / "train.csv"
    path.write_text("\ufeffindex,reviewbody,star," + ",".join(SLOTS) + "\n" + "\n".join(rows), encoding="utf-8")
    task = get_task(f"masa_zh:d1@{path}")
    assert {frozenset(e.answer.items()) for e in task.load("train")} == {
        frozenset({("食品评价", ("正面",)), ("停车方便程度", ("负面",))})
    }
    assert task.domains == (f"masa_zh:d2@{path}",)
    assert {*get_task(task.domains[0]).load("dev")[0].answer} == set()


# ---- fingerprint and check -------------------------------------------------------------------------------------------


def test_fingerprint_follows_definition_and_data():
    task = get_task("masa:d1")
    assert fingerprint(task) == fingerprint(get_task("masa")) and len(fingerprint(task)) == 16
    reworded = replace(task, instructions=("Rate.", *task.instructions[1:]))
    fewer = replace(task, load=lambda split: get_task("masa:d1").load(split)[:-1])
    assert len({fingerprint(one) for one in (task, reworded, fewer, get_task("masa:d2"))}) == 4


def test_fingerprint_does_not_read_test_splits():
    def load(split):
        assert split != "test"
        return []

    assert fingerprint(replace(REVIEWS, load=load))
    with pytest.raises(AssertionError):
        fingerprint(replace(REVIEWS, load=load), ("test",))


def test_tasks_of_the_tests_pass_the_check():
    assert [check_task(task) for task, _ in ALL] == [task for task, _ in ALL]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (replace(REVIEWS, slots=("food", "food")), "slots food stand twice"),
        (replace(REVIEWS, slots=()), "no slot or no instruction"),
        (replace(REVIEWS, labels=None), 'kind "label" needs labels'),
        (replace(ENTITIES, labels=("a",)), 'kind "span" takes no labels'),
        (replace(REVIEWS, placeholder="neutral"), 'placeholder "neutral" is also a label'),
        (replace(REVIEWS, placeholder="not there, sorry"), 'placeholder "not there, sorry" holds a delimiter'),
        (replace(ENTITIES, placeholder=""), 'placeholder ""'),
        (replace(REVIEWS, numbers={"positve": "1"}), "numbers name positve, which is no label"),
        (
            replace(REVIEWS, numbers={"positive": "1", "negative": "1"}),
            'numbers: "1" stands for positive and negative. Give each',
        ),
        (replace(REVIEWS, definitions={"fod": "x"}), 'definitions name "fod", which is no slot and no label. Did you'),
        (replace(REVIEWS, label_words={"": {"good": "x"}}), "label_words name good, which is no label."),
        (
            replace(TICKETS, label_words={"urgency": {"app": "x"}}),
            "label_words name app, which is no label of urgency.",
        ),
        (
            replace(REVIEWS, label_words={"": {"positive": "negative", "negative": "positive"}}),
            '"negative" stands for positive, and negative is it, too',
        ),
        (
            replace(REVIEWS, label_words={"price": {"positive": "a", "neutral": "a"}}),
            '"a" stands for positive, and neu',
        ),
        (replace(REVIEWS, label_words={"": {"positive": "unmentioned"}}), "and unmentioned is it, too. Choose another"),
        (replace(REVIEWS, label_words={"": {"positive": " "}}), "the word for positive is empty"),
        (replace(REVIEWS, positive="yes"), 'positive is "yes", expected a label'),
        (replace(REVIEWS, nouns=replace(REVIEWS.nouns, slot="sentiment")), "nouns sentiment stand twice"),
    ],
)
def test_definitions_that_could_be_misread_are_refused(task, message):
    with pytest.raises(UserError) as error:
        check_task(task)
    assert message in str(error.value)
