"""Tables of the user's own: pairs of records in Ditto's, DeepMatcher's and plain forms, cells, and rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sde_ray.data.magellan import MAGELLAN
from sde_ray.data.recognition import read_any, recognise
from sde_ray.data.schema import Schema
from sde_ray.data.table_rows import CELLS, ROWS
from sde_ray.errors import UserError

DITTO = (
    "COL title VAL the old mill COL year VAL 1998\tCOL title VAL old mill COL year VAL \t1\n"
    "COL title VAL A COL B COL year VAL 1\tCOL title VAL VAL x COL year VAL 2\t0\n"
)
TEXTS = [
    ('A: [title: "the old mill", year: "1998"]\nB: [title: "old mill", year: nan]', "yes"),
    ('A: [title: "A COL B", year: "1"]\nB: [title: "VAL x", year: "2"]', "no"),
]
FORMS = {
    "pairs.txt": DITTO,
    "joined.csv": (
        "id,label,left_id,left_title,left_year,right_id,right_title,right_year\n"
        "0,1,7,the old mill,1998,8,old mill,\n1,0,7,A COL B,1,9,VAL x,2\n"
    ),
    "tables.csv": (
        "_id,label,ltable_id,ltable_title,ltable_year,rtable_id,rtable_title,rtable_year\n"
        "0,1,7,the old mill,1998,8,old mill,\n1,0,7,A COL B,1,9,VAL x,2\n"
    ),
    "pairs.jsonl": "\n".join(
        json.dumps(row)
        for row in (
            {"left": {"title": "the old mill", "year": 1998}, "right": {"title": "old mill", "year": None}, "label": 1},
            {"left": {"title": "A COL B", "year": 1}, "right": {"title": "VAL x", "year": "2"}, "label": False},
        )
    ),
    "ids.csv": "ltable_id,rtable_id,label\n7,8,1\n17,9,0\n",
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", FORMS)
def test_pairs_in_every_form_are_the_same(tmp_path, name):
    write(tmp_path, "tableA.csv", "id,title,year\n7,the old mill,1998\n17,A COL B,1\n")
    write(tmp_path, "tableB.csv", "id,title,year\n8,old mill,\n9,VAL x,2\n")
    path = write(tmp_path, name, FORMS[name])
    assert [(one.text, *one.answer["match"]) for one in MAGELLAN(path)] == TEXTS


@pytest.mark.parametrize("name", ["pairs.txt", "joined.csv", "tables.csv", "pairs.jsonl"])
def test_pairs_are_recognised(tmp_path, name):
    records = read_any(write(tmp_path, name, FORMS[name]))
    assert recognise(records).format == "magellan"


def test_swapping_the_sides_does_not_change_the_answer(tmp_path):
    swapped = "\n".join("\t".join((b, a, label)) for a, b, label in (row.split("\t") for row in DITTO.split("\n")[:2]))
    before, after = MAGELLAN(write(tmp_path, "a.txt", DITTO)), MAGELLAN(write(tmp_path, "b.txt", swapped))
    assert [one.answer for one in before] == [one.answer for one in after]
    for one, other in zip(before, after, strict=True):
        (a, b), (c, d) = one.text.split("\n"), other.text.split("\n")
        assert (a[3:], b[3:]) == (d[3:], c[3:])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "COL a VAL b\tCOL a VAL c\t1\nCOL a VAL b\t0\n", "line 2: 2 parts between tabs, expected 3"),
        ("a.txt", "COL a VAL b\tCOL a VAL c\t1\nx\ty\t0\n", "line 2: a record has no COL name VAL value"),
        ("a.txt", "COL a VAL b COL a VAL b\tCOL a VAL c\t1\n", '"a" stands twice in a record'),
        ("a.txt", "COL a VAL b\tCOL a VAL c\t3\n", "the label is '3', expected 1 or 0"),
        ("a.csv", "left_a,right_a\n1,2\n", 'there is no "label"'),
        ("a.csv", "a,b,label\n1,2,1\n", "there are no two records"),
        ("a.jsonl", '{"left": [], "right": {"a": 1}, "label": 1}', "record A is []"),
        ("a.jsonl", '{"left": {"a": {}}, "right": {"a": 1}, "label": 1}', "a holds no plain value"),
        ("ids.csv", "ltable_id,rtable_id,label\n7,8,1\n", "there is no"),
    ],
)
def test_faults_are_told_with_their_place(tmp_path, name, text, message):
    with pytest.raises(UserError) as error:
        MAGELLAN(write(tmp_path, name, text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,title\n7,x\n", 'line 2: tableB.csv has no record with the rtable_id "8"'),
        ("key,title\n8,x\n", 'no column "id", which the pairs name its records by. It has: key, title.'),
        ("id,title\n8,x\n8,y\n", 'line 3: the id "8" stands twice'),
        ("id,title\n8,x\n,y\n", "line 3: there is no id"),
    ],
)
def test_tables_that_do_not_have_the_records_of_the_pairs_are_told(tmp_path, table, message):
    write(tmp_path, "tableA.csv", "id,title\n7,x\n")
    write(tmp_path, "tableB.csv", table)
    with pytest.raises(UserError) as error:
        MAGELLAN(write(tmp_path, "train.csv", "ltable_id,rtable_id,label\n7,8,1\n"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "of"), [(MAGELLAN, "the labels yes and no"), (CELLS, "the labels yes and no"), (ROWS, "free values")]
)
def test_a_format_is_for_tasks_of_its_own_answers(tmp_path, wanted, of):
    path = write(tmp_path, "a.csv", "left_a,right_a,attribute,label\n1,2,left_a,1\n")
    for schema in (Schema("label", ("match",), ("a", "b"), "c"), Schema("span", ("x",)), Schema("free", ("x", "y"))):
        with pytest.raises(UserError, match=f"this format is for tasks with one slot of {of}"):
            wanted(path, schema)


# ---- cells and rows --------------------------------------------------------------------------------------------------


def test_cells_flat_and_nested(tmp_path):
    flat = write(tmp_path, "a.csv", "id,name,city,attribute,label\n1,mill,Tarsn,city,1\n2,inn,Welby,name,0\n")
    rows = [
        {"record": {"name": "mill", "city": "Tarsn"}, "attribute": "city", "label": True},
        {"record": {"name": "inn", "city": "Welby"}, "attribute": "name", "label": "no"},
    ]
    nested = write(tmp_path, "b.jsonl", "\n".join(map(json.dumps, rows)))
    expected = [
        ('[name: "mill", city: "Tarsn"]\nCell: [city: "Tarsn"]', "yes"),
        ('[name: "inn", city: "Welby"]\nCell: [name: "inn"]', "no"),
    ]
    for path in (flat, nested):
        assert [(one.text, *one.answer["error"]) for one in CELLS(path)] == expected
    with pytest.raises(UserError, match='there is no attribute "town"'):
        CELLS(write(tmp_path, "c.csv", "city,attribute,label\nTarsin,town,0\n"))
    with pytest.raises(UserError, match='the key "attribute" is missing'):
        CELLS(write(tmp_path, "d.csv", "city,label\nTarsin,0\n"))


def test_rows_lack_their_target(tmp_path):
    path = write(tmp_path, "a.csv", "id,name,city\n1,mill,Tarsin\n2,inn,\n3,den,Welby\n")
    examples = ROWS(path, target="city")
    assert [(one.text, *one.answer["value"]) for one in examples] == [
        ('[name: "mill"]\nMissing: city', "Tarsin"),
        ('[name: "den"]\nMissing: city', "Welby"),
    ]
    with pytest.raises(UserError, match='there is no column "town"'):
        ROWS(path, target="town")
    with pytest.raises(UserError, match="it is not said which is missing"):
        ROWS(path)
