"""Labels by slot, several labels, numbers and ranges, functions as wordings: from YAML, data to a parsed answer."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sde_ray import metrics
from sde_ray.cli.app import app
from sde_ray.config.names import refuse_untrusted
from sde_ray.config.trial import TrialConfig
from sde_ray.data import schema_of
from sde_ray.data.jsonl import load_jsonl
from sde_ray.design.axes import AXES
from sde_ray.design.designs import make_design, parse_design
from sde_ray.design.render import completion_of, parse_completion, render_instruction
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.models.predictor import names_on_card, read_card, read_task, write_card
from sde_ray.plugins import TRUSTED
from sde_ray.tasks import fingerprint
from sde_ray.tasks.checks import check_task
from sde_ray.tasks.custom import code_in, load_task, task_from_yaml
from sde_ray.tasks.rationales.generate import save
from sde_ray.tasks.wording_notes import wording_notes
from sde_ray.testing.tasks import TOPIC_EXAMPLES, TOPICS
from sde_ray.types import Example, Parsed, Task

TICKETS: Mapping[str, Any] = {
    "name": "tickets",
    "kind": "label",
    "labels": {"urgency": ["low", "high"], "product": ["app", "router", "high"]},
    "data": {"path": "data.jsonl"},
}
ROWS: list[dict[str, Any]] = [
    {"text": "It hangs.", "answer": {"urgency": "high", "product": "app"}},
    {"text": "The box is slow.", "product": "router", "urgency": ""},
    {"text": "Thanks.", "answer": {}},
    {"text": "High end?", "answer": {"product": "high", "urgency": "low"}},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, ROWS)


def write(folder: Path, rows: list[dict[str, Any]], name: str = "data.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return folder


def build(folder: Path, **changes: Any) -> Task:
    section = {key: value for key, value in {**TICKETS, **changes}.items() if value is not None}
    return check_task(task_from_yaml(section, folder))


def faults(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        build(folder, **changes)
    return str(error.value)


def all_answers(task: Task) -> list[dict[str, tuple[str, ...]]]:
    examples = [example for split in ("train", "dev", "test") for example in task.load(split)]  # type: ignore[arg-type]
    return [dict(example.answer) for example in sorted(examples, key=lambda one: one.id)]


# ---- labels by slot --------------------------------------------------------------------------------------------------


def test_labels_by_slot_name_the_slots(folder: Path) -> None:
    task = build(folder)
    assert task.slots == ("urgency", "product") and task.labels == ("low", "high", "app", "router")
    assert (task.labels_of("urgency"), task.labels_of("product")) == (("low", "high"), ("app", "router", "high"))
    assert (task.objective, task.placeholder, task.numbers) == ("kappa", "unmentioned", {})
    assert task.metrics == ("kappa", "macro_kappa", "accuracy", "sentence_accuracy", "macro_f1")
    assert build(folder, slots=["product", "urgency"]).slots == (
        "product",
        "urgency",
    )  # or they are named, in any order
    assert all_answers(task) == [
        {"urgency": ("high",), "product": ("app",)},
        {"product": ("router",)},
        {},
        {"urgency": ("low",), "product": ("high",)},
    ]


def test_three_wordings_show_each_slot_with_its_labels(folder: Path) -> None:
    for language, shown in (
        ("en", "urgency (low, high, unmentioned), product (app, router, high, unmentioned)"),
        ("zh", "urgency（low、high、未提及），product（app、router、high、未提及）"),
    ):
        task = build(folder, language=language)
        asked = [render_instruction(task, make_design(), n, "above") for n in range(3)]
        assert all(shown in one for one in asked) and len(set(asked)) == 3
    assert render_instruction(build(folder), make_design(), 0, "below").startswith(
        "Read the text below and give the label of each aspect, from those in brackets: urgency (low, high, unmen"
    )


ONE = {
    ("label", "en"): "Read the text below and give its topic. Choose from a, b.\nIf there is none, write: ",
    ("label", "zh"): "阅读下面这段文本，给出topic。请从以下类别中选择：a、b。如果没有，输出：",
    ("span", "en"): "Read the text below and list its spans of the type topic.\nIf there is none, write: ",
    ("free", "en"): "Read the text below and give the topic.\nIf there is none, write: ",
}


@pytest.mark.parametrize(("kind", "language"), ONE)
def test_one_slot_is_asked_for_without_talk_of_each(tmp_path: Path, kind: str, language: str) -> None:
    section = {"name": "x", "kind": kind, "slots": ["topic"], "language": language, "data": {"path": "a.jsonl"}}
    (tmp_path / "a.jsonl").write_text('{"text": "a", "answer": "a"}\n')
    task = task_from_yaml({**section, **({"labels": ["a", "b"]} if kind == "label" else {})}, tmp_path)
    asked = [render_instruction(task, make_design(unmentioned="omit"), n, "below") for n in range(3)]
    assert asked[0].startswith(ONE[kind, language]) and len(set(asked)) == 3
    assert not any(word in one for one in asked for word in ("each", "every", "A ", "每个", "{"))


def test_a_slot_that_is_called_label_has_a_class(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "a"}\n')
    section = {"name": "x", "kind": "label", "labels": {"label": ["a", "b"]}, "data": {"path": "a.jsonl"}}
    task = task_from_yaml(section, tmp_path)
    assert "label: class." in render_instruction(task, make_design(), 0, "below")
    task = task_from_yaml({**section, "nouns": {"value": "kind"}, "multilabel": True}, tmp_path)
    said = render_instruction(task, make_design(), 0, "below")
    assert "There may be several." in said and "label: kind, kind." in said


def test_a_task_with_labels_by_slot_goes_all_the_way(folder: Path) -> None:
    task = pickle.loads(pickle.dumps(build(folder)))  # noqa: S301 - our own bytes, as Ray sends them
    examples = [*task.load("train"), *task.load("dev")]
    for design in design_space(task, False).designs:
        parsed = [parse_completion(completion_of(example, task, design), task, design) for example in examples]
        assert set(metrics.score(task, examples, parsed).values()) == {1.0}


def test_one_list_written_slot_by_slot_is_one_list(folder: Path) -> None:
    labels = ["low", "high", "app", "router"]
    one = build(folder, slots=["urgency", "product"], labels=labels)
    other = build(folder, labels={"urgency": labels, "product": labels})
    assert other.slot_labels == {} and fingerprint(one) == fingerprint(other)


def test_numbers_by_slot(folder: Path) -> None:
    task, design = (
        build(folder, numbers={"urgency": {"low": 1, "high": 5}, "unmentioned": -9}),
        make_design(labels="number"),
    )
    assert (
        "Write for urgency low as 1, high as 5; for product app as 0, router as 1, high as 2; unmentioned as -9."
        in (render_instruction(task, design, 0, "above"))
    )
    assert parse_completion("urgency: 5, product: 2.", task, design) == Parsed(
        {"urgency": ("high",), "product": ("high",)}
    )


def test_numbers_by_slot_of_one_list(folder: Path) -> None:
    labels = ["low", "high", "app", "router"]
    numbers = {"urgency": dict(zip(labels, "0123", strict=True)), "product": dict(zip(labels, "9876", strict=True))}
    task = build(folder, slots=["urgency", "product"], labels=labels, numbers=numbers)
    parsed = parse_completion("urgency: 1, product: 7.", task, make_design(labels="number"))
    assert parsed == Parsed({"urgency": ("high",), "product": ("app",)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"urgency": ["low", "high"]}, "slots": ["urgency", "product"]}, "labels has none for product."),
        ({"labels": {"urgency": ["low", "high"], "product": []}}, "labels has none for product. Give each slot"),
        ({"labels": {"urgency": ["low", "high"], "product": None}}, "labels has none for product."),
        ({"slots": ["urgency", "produkt"]}, 'labels names "product". Did you mean "produkt"? Slots: urgency, produkt.'),
        ({"labels": {"urgency": ["low", "low"], "product": ["a", "b"]}}, 'labels.urgency: "low" stands twice'),
        ({"labels": {"urgency": ["low", True], "product": ["a", "b"]}}, "labels.urgency: True is no text. Put it in"),
        ({"labels": {"urgency": ["high"], "product": ["a", "b"]}}, '"high" is the only label of "urgency", so'),
        ({"labels": {"urgency": ["high"], "product": []}}, '"high" is the only label of "urgency", so'),
        ({"labels": ["high"], "slots": ["urgency"]}, '"high" is the only label, so there is nothing to choose.'),
        ({"placeholder": "high"}, '"high" is a label of "urgency" and the word for absent slots. Set placeholder to'),
        ({"placeholder": "app"}, '"app" is a label of "product" and the word for absent slots.'),
        ({"labels": {"a": ["1", "1.0"], "b": ["x", "y"]}}, 'labels of "a" name one number twice: 1, 1.0.'),
        ({"numbers": {"urgncy": {"low": 1}}}, 'numbers names "urgncy". Did you mean "urgency"? Slots: urgency'),
        ({"numbers": {"urgency": {"lwo": 1}}}, 'numbers.urgency names "lwo". Did you mean "low"? Known: low, high.'),
        ({"numbers": {"urgency": {"low": 1}}}, "numbers of urgency lacks high. Give every label a number, or none."),
        ({"numbers": {"urgency": {"low": 1, "high": 1}}}, "numbers of urgency gives one number to several labels"),
        ({"numbers": {"urgency": {"low": 0, "high": -1}}}, 'numbers of urgency: "-1" stands for high and unmentioned.'),
        ({"kind": "span"}, 'the kind "span" takes no labels. Delete them.'),
        ({"multilabel": ["prodct"]}, 'multilabel names "prodct". Did you mean "product"? Slots: urgency, product; or'),
        ({"multilabel": True, "kind": "free", "labels": None, "slots": ["a"]}, 'the kind "free" takes no multilabel.'),
        ({"range": [0, 1]}, 'range is for the kind "free", not for "label".'),
        ({"labels": None}, 'the key "slots" is missing'),
        ({"slots": ["a", "b"], "labels": [["low", "high"], ["app"]]}, "labels is a list of lists. Name the slot of"),
        ({"multilable": True}, 'unknown key "multilable". Did you mean "multilabel"?'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_once(folder: Path, changes: dict[str, Any], message: str) -> None:
    told = faults(folder, **changes)
    assert message in told and told.count(message) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"urgency": "app"}, '"urgency" has the unknown label "app". It is a label of "product". Known: low, high'),
        ({"product": "rooter"}, '"product" has the unknown label "rooter". Did you mean "router"? Known: app'),
        ({"urgency": ["low", "high"]}, '"urgency" has 2 labels, expected one. A slot with several needs "multi'),
        ({"urgency": "NaN"}, 'has the unknown label "NaN". Leave it empty where nothing is said (an empty cell'),
        ({"urgncy": "low"}, 'answer names the unknown slot "urgncy". Did you mean "urgency"?'),
    ],
)  # fmt: skip
def test_data_against_labels_of_the_slot(folder: Path, answer: dict[str, Any], message: str) -> None:
    task = build(write(folder, [*ROWS, {"text": "x", "answer": answer}]))
    with pytest.raises(UserError) as error:
        all_answers(task)
    assert message in str(error.value)


# ---- several labels a slot -------------------------------------------------------------------------------------------


def test_several_labels_in_every_spelling_of_the_data(folder: Path) -> None:
    answers = [["router", "app"], "router; app", "app|router", "app, router", '["router", "app"]', "app", [], None]
    rows = [{"text": f"text {n}", "answer": {"product": answer}} for n, answer in enumerate(answers)]
    task = build(write(folder, rows), multilabel=["product"])
    both = {"product": ("app", "router")}  # in the order of the task: one target for one set
    assert all_answers(task) == [both] * 5 + [{"product": ("app",)}, {}, {}]
    assert (task.multilabel, task.objective) == (("product",), "micro_f1")
    assert task.metrics == ("micro_f1", "macro_f1", "exact_match", "sentence_accuracy")
    assert build(folder, multilabel=True).multilabel == task.slots


def test_several_labels_in_a_table(folder: Path) -> None:
    rows = "id,text,product,urgency\n1,a,app; router,low\n2,b,router,\n3,c,,high\n"
    (folder / "data.csv").write_text(rows, encoding="utf-8")
    task = build(folder, multilabel=["product"], data={"format": "table", "path": "data.csv"})
    assert all_answers(task) == [
        {"urgency": ("low",), "product": ("app", "router")},
        {"product": ("router",)},
        {"urgency": ("high",)},
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("app; rooter", '"product" has the unknown label "app; rooter"'),
        (["app", "app"], '"product" has a label twice: app, app'),
        (["app", "unmentioned"], 'has the unknown label "unmentioned". "unmentioned" stands alone.'),
    ],
)
def test_several_labels_that_are_wrong(folder: Path, answer: Any, message: str) -> None:
    task = build(write(folder, [*ROWS, {"text": "x", "answer": {"product": answer}}]), multilabel=["product"])
    with pytest.raises(UserError) as error:
        all_answers(task)
    assert message in str(error.value)


def test_a_label_with_a_separator_in_it_is_one_label(folder: Path) -> None:
    rows = [{"text": f"{n}", "answer": {"tag": tag}} for n, tag in enumerate(["a, b", "a, b; c", "c"])]
    task = build(write(folder, rows), labels={"tag": ["a, b", "c"]}, multilabel=True)
    assert all_answers(task) == [{"tag": ("a, b",)}, {"tag": ("a, b", "c")}, {"tag": ("c",)}]


@pytest.mark.parametrize("example", TOPIC_EXAMPLES, ids=lambda example: example.id)
def test_several_labels_survive_a_file_of_reasons(folder: Path, example: Example) -> None:
    save(folder, TOPICS, {"train": [example]})
    (again,) = load_jsonl(folder / "train.jsonl", schema_of(TOPICS))
    assert {slot: set(values) for slot, values in again.answer.items()} == {
        slot: set(values) for slot, values in example.answer.items()
    }
    assert again.rationale == example.rationale


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_labels_that_are_numbers(folder: Path) -> None:
    values: list[Any] = [4, "4", 4.0, "1.50", 1.5, ""]
    rows = [{"text": f"{n}", "stars": value} for n, value in enumerate(values)]
    task = build(write(folder, rows), labels=[1, 1.5, 4], slots=["stars"])
    assert task.labels == ("1", "1.5", "4")
    assert [answer.get("stars") for answer in all_answers(task)] == [("4",)] * 3 + [("1.5",)] * 2 + [None]
    assert task.metrics[:2] == ("kappa", "quadratic_weighted_kappa")
    assert design_space(task, True).pinned["labels"] == "the labels of tickets are numbers already"
    assert build(folder, labels=[1, 2, 3], slots=["s"], objective="quadratic_weighted_kappa").objective in task.metrics
    named = build(folder, labels=["a", "b"], slots=["s"])
    assert not AXES["labels"].pinned(named, True)


PRICES = {"kind": "free", "labels": None, "slots": ["price"], "range": [0, 100]}


def test_free_values_that_are_numbers(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"{n}", "price": value} for n, value in enumerate([12, "12.50", 99.9, None, "1e1"])
    ]
    task = build(write(folder, rows), **PRICES)
    assert [answer.get("price") for answer in all_answers(task)] == [("12",), ("12.50",), ("99.9",), None, ("1e1",)]
    assert task.metrics == ("neg_nmae", "neg_mae", "parsable", "exact_match") and task.ranges == {"price": (0.0, 100.0)}
    ranges = {"price": [0, 9], "share": [-1, 1]}
    several = build(folder, **{**PRICES, "slots": ["price", "share", "note"], "range": ranges})
    assert several.metrics == ("neg_nmae", "parsable", "exact_match")  # in no common unit
    assert several.ranges == {"price": (0.0, 9.0), "share": (-1.0, 1.0)}


@pytest.mark.parametrize("limits", [[1, 0], [0], "0-100", [0, "x"], [0, float("inf")], [True, 2], [1, 1]])
def test_a_range_that_is_none(folder: Path, limits: Any) -> None:
    told = faults(folder, **{**PRICES, "range": limits})
    assert "expected two numbers, the lower first, such as [0, 100]" in told and "range of price is" in told


@pytest.mark.parametrize(
    ("value", "message"),
    [("12 km", '"price" is "12 km", expected a plain number'), (101, '"price" is 101, outside its range of 0 to 100'),
     ("NaN", "expected a plain number"), ("1,5", "expected a plain number")],
)  # fmt: skip
def test_data_that_are_no_number(folder: Path, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        all_answers(build(write(folder, [{"text": f"{n}", "price": value} for n in range(3)]), **PRICES))
    assert message in str(error.value)


# ---- wordings and metrics of one's own -------------------------------------------------------------------------------


def test_a_function_as_wording(folder: Path) -> None:
    section = {**TICKETS, "instruction": ["helpers.extra_metrics:ask", "helpers.extra_metrics:ask_with_form"]}
    (folder / "task.yaml").write_text(json.dumps(section), encoding="utf-8")  # JSON is YAML
    task = load_task(folder / "task.yaml")
    assert render_instruction(task, make_design(), 0, "below") == (
        "Look below and sort it. urgency (low, high, unmentioned), product (app, router, high, unmentioned).\n"
        "Form:\naspect 1: label, aspect 2: label."
    )
    assert render_instruction(task, make_design(format="lines"), 1, "above") == (
        "Write it as aspect 1: label\naspect 2: label, as the text above says."
    )
    assert code_in(section) == ["helpers.extra_metrics"] * 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ask_wrongly", 'The wording "helpers.extra_metrics:ask_wrongly" of tickets fails with TypeError: ask_wr'),
        ("ask_nothing", "returned ' '. Return the instruction as a text."),
        ("asc", 'has no "asc". Did you mean "ask"?'),
        ("NOT_A_METRIC", "is of type int, and a wording must be of type function"),
    ],
)  # fmt: skip
def test_a_function_that_gives_no_wording(folder: Path, name: str, message: str) -> None:
    (folder / "task.yaml").write_text(
        json.dumps({**TICKETS, "instruction": f"helpers.extra_metrics:{name}"}), encoding="utf-8"
    )
    task = load_task(folder / "task.yaml")
    with pytest.raises(UserError) as error:
        render_instruction(task, make_design(), 0, "above")
    assert message in str(error.value)


def test_a_wording_that_nobody_has_named_is_not_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "[]")
    task = build(folder, instruction="helpers.extra_metrics:ask")
    with pytest.raises(UserError, match="--trust-code helpers.extra_metrics"):
        render_instruction(task, make_design(), 0, "above")


def test_a_sentence_with_a_colon_is_no_function(folder: Path) -> None:
    task = build(folder, instruction="Sort it: {labels}")
    assert render_instruction(task, make_design(), 0, "above").startswith("Sort it: urgency (low, high")
    chinese = build(folder, instruction="判断类别:只写答案")  # each part of it could be a name in Python
    assert render_instruction(chinese, make_design(), 0, "above").startswith("判断类别:只写答案")
    assert code_in({**TICKETS, "instruction": "Sort my.module:name like {labels}"}) == []


@pytest.mark.parametrize(
    ("instruction", "note"),
    [
        ("Sort it.", "does not name the slots urgency, product and the labels low, high, app, router. Write {slots}"),
        ("Sort it by {slots}.", "does not name the labels low, high, app, router. Write {labels} where they should"),
        ("Sort it: {labels}.", ""),
        ("Say urgency (low or high) and product (app or router).", ""),
        ("helpers.extra_metrics:ask", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_an_instruction_that_leaves_something_out_is_told(folder: Path, instruction: str | None, note: str) -> None:
    (folder / "task.yaml").write_text(
        json.dumps({**TICKETS, **({"instruction": instruction} if instruction else {})}), encoding="utf-8"
    )
    notes = wording_notes(load_task(folder / "task.yaml"))
    assert len(notes) == bool(note) and note in "".join(notes)


def test_the_package_s_own_tasks_name_all_that_they_ask_for() -> None:
    from sde_ray.tasks import TASKS

    assert [note for task in TASKS.values() for variant in range(3) for note in wording_notes(task, variant)] == []


# ---- the adapter's card, the command, a plan -------------------------------------------------------------------------


def test_the_card_of_an_adapter_has_the_whole_definition(folder: Path) -> None:
    """Labels by slot, several labels, numbers and a function as wording travel in `sde.json`."""
    section = {
        **TICKETS,
        "labels": {"urgency": ["low", "high"], "product": ["app", "router"], "stars": [1, 2.5]},
        "numbers": {"urgency": {"low": 7, "high": 8}},
        "multilabel": ["product"],
        "definitions": {"urgency": "How soon. At once: high.", "app": "the app"},
        "label_words": {"urgency": {"low": "later"}, "router": "box"},
        "instruction": "helpers.extra_metrics:ask",
        "metrics": ["micro_f1", "helpers.extra_metrics:same_slots"],
    }
    task = build(folder, **section)
    config = TrialConfig("tickets", make_design(format="json_object"), "tiny", 0, 10, 10, definition=section)
    write_card(folder, config, 8)
    card = read_card(folder)
    answered = read_task(card)
    for name in (
        "slots",
        "labels",
        "slot_labels",
        "slot_numbers",
        "multilabel",
        "instructions",
        "numbers",
        "nouns",
        "definitions",
        "label_words",
    ):
        assert getattr(answered, name) == getattr(task, name), name
    assert names_on_card(folder)[:2] == ["tickets", "helpers.extra_metrics:ask"]  # who registers it ships that module
    design = parse_design(card.design)
    example = Example("1", "x", {"urgency": ("low",), "product": ("app", "router"), "stars": ("2.5",)})
    assert completion_of(example, answered, design) == '{"urgency": "low", "product": ["app", "router"], "stars": 2.5}'
    assert parse_completion(completion_of(example, task, design), answered, design) == Parsed(example.answer)


def sweep_file(folder: Path, **changes: Any) -> Path:
    """A sweep of the tickets, with data enough for a plan."""
    write(folder, [{"text": f"{n}", "answer": {"urgency": "low", "product": "app"}} for n in range(40)])
    section = {**TICKETS, **changes}
    path = folder / "sweep.yaml"
    values = {"task": section, "model": "tiny", "train_sizes": [8], "eval_size": 4, "designs": ["baseline"]}
    path.write_text(json.dumps({**values, "search": {"method": "grid"}, "storage_path": str(folder)}), encoding="utf-8")
    return path


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("command", ["plan", "show"])
def test_commands_tell_of_an_instruction_that_leaves_something_out(folder: Path, command: str) -> None:
    told = call(command, sweep_file(folder, instruction="Sort it."))
    note = 'note: The instruction of "tickets" does not name the slots urgency, product and the labels low, high'
    assert told.exit_code == 0 and note in told.stderr and note not in told.stdout
    assert "note: The instruction" not in call(command, sweep_file(folder)).stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["helpers.extra_metrics:beyond"]}, "is declared as @bounded(0.0, 1.0). Correct one of the two."),
        ({"objective": "helpers.extra_metrics:failing"}, 'failing" fails on the item "data:'),
        ({"objective": "helpers.extra_metrics:two_arguments"}, "Expected a function of three arguments"),
        ({"instruction": "helpers.extra_metrics:ask_nothing"}, "Return the instruction as a text."),
    ],
)
def test_a_function_that_cannot_work_ends_the_plan(folder: Path, changes: dict[str, Any], message: str) -> None:
    """Before anything is trained."""
    told = call("plan", sweep_file(folder, **changes))
    assert told.exit_code == 2 and message in told.stderr and "Traceback" not in told.output


def test_code_that_only_results_name_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep.yaml in a folder of results names no function as a wording that the user has not named."""
    monkeypatch.setenv(TRUSTED, "[]")
    values = json.loads(sweep_file(folder, instruction="helpers.extra_metrics:ask").read_text(encoding="utf-8"))
    with pytest.raises(UserError, match='names what you have not named yourself: the module "helpers.extra_metrics"'):
        refuse_untrusted(values, "sweep.yaml")
