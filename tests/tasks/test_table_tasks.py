"""Table tasks: settings in a name and in YAML, batches, the bundled rows, and what is asked of the user's own."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from helpers.plans import plan_of

from sde_ray.data import synthetic
from sde_ray.data.batches import join_texts, split_texts
from sde_ray.design import designs
from sde_ray.design.axes import AXES
from sde_ray.design.render import parse_completion, render_sample
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.tasks import fingerprint, get_task
from sde_ray.tasks.custom import load_task, task_from_yaml
from sde_ray.types import Parsed

FAMILIES = ("matching", "imputation", "errors", "schema")
BASE = designs.make_design()


def shown(task, example, **options):
    sample = render_sample(example, task, designs.make_design(**options))
    return "".join(segment.text for segment in sample.prompt) + "|" + sample.completion.text


def test_a_sample_for_people_to_read():
    task = get_task("matching:batch=2,serialization=sentences,attributes=name+city")
    example = task.load("dev")[0]
    records = {number: text.split("\n") for number, text in split_texts(example.text).items()}
    assert all(a.startswith("A: name: ") and ". city: " in b and "phone" not in b for a, b in records.values())
    assert shown(task, replace(example, text="TEXT", answer={"1": ("no",), "2": ("yes",)})) == (
        "TEXT\n---\n"
        "Read the pairs of records above: do the records A and B describe the same thing? "
        "Give the answer of each number: 1, 2. Choose from yes, no, not asked.\n"
        "Form:\n1: answer, 2: answer.\n"
        "Output: |1: no, 2: yes."
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_one_is_the_plain_task_to_the_character(family):
    plain, one = get_task(family), get_task(f"{family}:batch=1")
    assert fingerprint(replace(one, name=family)) == fingerprint(plain)
    assert shown(one, one.load("dev")[3]) == shown(plain, plain.load("dev")[3])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_holds_every_instance_of_its_split(family):
    plain, batch = get_task(family), get_task(f"{family}:batch=3")
    by_text = {example.text: example for example in plain.load("dev")}
    asked = [
        (text, example.answer[number], example.rationale[number])
        for example in batch.load("dev")
        for number, text in split_texts(example.text).items()
    ]
    assert len(asked) == len(by_text) == 500 and len(batch.load("dev")) == 167
    for text, answer, why in asked:
        assert (answer, why) == (*by_text[text].answer.values(), *by_text[text].rationale.values())


def test_answers_follow_their_numbers_under_permutation():
    """In every form: lines in another order give the same answers, instances in another order permuted ones."""
    task = get_task("errors:batch=3")
    example = task.load("train")[0]
    turned = replace(
        example,
        text=join_texts([*split_texts(example.text).values()][::-1]),
        answer=dict(zip("123", [example.answer[n] for n in "321"], strict=True)),
    )
    for form, number in itertools.product(AXES["format"].options, AXES["labels"].options):
        design = BASE.replace(format=form, labels=number)
        for one in (example, turned):
            written = render_sample(one, task, design).completion.text
            assert parse_completion(written, task, design) == Parsed(one.answer)
    shuffled = parse_completion("3: yes, 1: no, 2: yes.", task, BASE)
    assert shuffled == Parsed({"1": ("no",), "2": ("yes",), "3": ("yes",)})


def test_a_missing_number_is_a_fault_and_no_answer():
    parsed = parse_completion("1: no, 3: yes.", get_task("errors:batch=3"), BASE)
    assert parsed.answer == {"1": ("no",), "3": ("yes",)}
    assert [(fault.kind, fault.detail) for fault in parsed.faults] == [("missing_slot", "2")]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_question_has_an_answer_so_unmentioned_stands_still(family):
    space = design_space(get_task(family), rationales=True)
    assert f"of {family} has an answer" in space.pinned["unmentioned"]
    assert len(space.designs) == (108 if family != "imputation" else 54)
    assert "unclear" not in shown(get_task(family), get_task(family).load("dev")[0])


# ---- bundled rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_bundled_rows_are_the_same_everywhere_and_apart_in_their_splits(family):
    first = repr(synthetic.table_items(family))
    synthetic.table_items.cache_clear()
    assert repr(synthetic.table_items(family)) == first
    for name in (family, f"{family}:serialization=sentences"):
        texts = {split: {one.text for one in get_task(name).load(split)} for split in synthetic.SPLITS}
        assert {split: len(own) for split, own in texts.items()} == synthetic.SIZES
        assert len(set.union(*texts.values())) == 3500


@pytest.mark.parametrize(("family", "share"), [("matching", 0.25), ("errors", 0.25), ("schema", 1 / 3)])
def test_positives_are_the_fewer(family, share):
    answers = [example.answer for example in get_task(family).load("train")]
    assert sum("yes" in values for answer in answers for values in answer.values()) == pytest.approx(
        share * len(answers), rel=0.1
    )


def test_the_sides_of_a_pair_may_be_swapped():
    """What decides is symmetric: same restaurant or not, same concept or not."""
    for family, keys in (("matching", ("phone",)), ("schema", ("column", "description"))):
        answers: dict[frozenset[tuple[str, ...]], set[str]] = {}
        for item in synthetic.table_items(family)["train"]:
            sides = [
                tuple("".join(c for c in fields[key] if c.isalnum()) for key in keys) for _, fields in item.records
            ]
            if family == "matching":
                assert (sides[0] == sides[1]) == (item.answer == "yes")
            answers.setdefault(frozenset(sides), set()).add(item.answer)
        assert all(len(found) == 1 for found in answers.values())


def test_a_missing_city_follows_from_the_phone():
    for item in synthetic.table_items("imputation")["dev"]:
        ((_, fields),) = item.records
        assert fields["phone"].startswith(synthetic.tables.CITIES[item.answer]) and "city" not in fields


def test_a_cell_is_wrong_where_it_is_not_what_it_should_be():
    cities, cuisines = synthetic.tables.CITIES, synthetic.tables.CUISINES
    for item in synthetic.table_items("errors")["train"]:
        ((_, fields),), ((asked, value),) = item.records, item.cell.items()
        right = {
            "city": value in cities and fields["phone"].startswith(cities[value]),
            "cuisine": value in cuisines,
            "phone": len(value) == 12 and value[:3] == cities.get(fields["city"]),
        }
        assert fields[asked] == value and right[asked] == (item.answer == "no")


def test_with_few_attributes_splits_stay_apart():
    texts = [{one.text for one in get_task("matching:attributes=cuisine").load(s)} for s in synthetic.SPLITS]
    assert all(texts) and not texts[0] & texts[1] and not (texts[0] | texts[1]) & texts[2]


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("matching:bach=2", 'unknown setting "bach". Did you mean "batch"?'),
        ("matching:batch=0", "batch is '0', expected the instances in one prompt, from 1 to 100"),
        ("matching:batch=1000000000", "expected the instances in one prompt"),
        ("matching:batch=2,batch=3", '"batch=3" stands twice'),
        ("matching:d1", '"d1" is no setting. Expected KEY=VALUE'),
        ("matching:serialization=xml", "serialization is 'xml', expected pairs or sentences"),
        ("matching:target=x", 'unknown setting "target"'),
        ("imputation:target=phone", 'lacks its column "city", not "phone"'),
        ("matching:attributes=nmae", 'no attribute "nmae". Did you mean "name"?'),
    ],
)
def test_wrong_settings_are_explained(name, message):
    with pytest.raises(UserError) as error:
        get_task(name).load("dev")
    assert message in str(error.value)


def test_a_section_of_yaml_says_the_same_as_a_name(tmp_path):
    rows = [
        {"left": {"title, x": str(n)}, "right": {"title, x": str(n + n % 2)}, "label": 1 - n % 2} for n in range(40)
    ]
    (tmp_path / "books.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "books.yaml").write_text(
        'name: books\ntable: matching\nbatch: 2\nattributes: ["title, x"]\ndata: {path: books.jsonl}\n',
        encoding="utf-8",
    )
    task, named = load_task(tmp_path / "books.yaml"), get_task(f"matching:batch=2@{tmp_path / 'books.jsonl'}")
    assert task.name == "books" and named.name == f"matching:batch=2@{tmp_path / 'books.jsonl'}"
    assert task.load("train") == named.load("train")
    assert split_texts(task.load("train")[0].text)["1"].startswith('A: ["title, x": "')
    bundled = task_from_yaml({"name": "mine", "table": "imputation", "serialization": "sentences"}, tmp_path)
    assert bundled.load("dev") == get_task("imputation:serialization=sentences").load("dev")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "x", "table": "matchin"}, 'Did you mean "matching"?'),
        ({"name": "x", "table": "matching", "slots": ["a"]}, 'unknown key "slots"'),
        ({"table": "matching"}, 'the key "name" is missing'),
        ({"name": "x", "table": "matching", "batch": True}, "batch is True"),
        ({"name": "x", "table": "matching", "attributes": {"a": 1}}, "attributes is {'a': 1}, expected a list"),
        ({"name": "x", "table": "matching", "data": "books.csv"}, "data is 'books.csv', expected a mapping"),
        ({"name": "x", "table": "errors", "data": {"path": "x", "attributes": ["a"]}}, "attributes is a setting of"),
    ],
)
def test_faults_of_a_section_are_told(tmp_path, section, message):
    with pytest.raises(UserError) as error:
        task_from_yaml(section, tmp_path)
    assert message in str(error.value)


def test_a_batch_that_is_larger_than_a_split_is_refused_by_the_plan(tmp_path):
    rows = "".join(f"COL a VAL {n}\tCOL a VAL {n + n % 2}\t{1 - n % 2}\n" for n in range(60))
    (tmp_path / "pairs.txt").write_text(rows, encoding="utf-8")
    with pytest.raises(UserError, match=r"batch is 20, but the dev split of .*pairs.txt has 5 instances, .* at most"):
        plan_of(task=f"matching:batch=20@{tmp_path / 'pairs.txt'}", train_sizes=[2], eval_size=2)
    assert len(get_task(f"matching:batch=5@{tmp_path / 'pairs.txt'}").load("dev")) == 1


def test_rows_of_ones_own_are_filled_in(tmp_path):
    rows = "\n".join(f"item {n},maker {n % 3}" for n in range(40))
    (tmp_path / "buy.csv").write_text(f"product,manufacturer\n{rows}\n", encoding="utf-8")
    task = get_task(f"imputation:target=manufacturer@{tmp_path / 'buy.csv'}")
    example = task.load("dev")[0]
    number = int(example.text.split('"')[1].split()[1])
    assert example.text == f'[product: "item {number}"]\nMissing: manufacturer'
    assert example.answer == {"value": (f"maker {number % 3}",)}
    with pytest.raises(UserError, match="Name the column that is filled in: target"):
        get_task(f"imputation@{tmp_path / 'buy.csv'}").load("dev")
