"""The alias table: one object or one a line; faults are told at once, wherever a sweep names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_ray.config.alias_file import read_aliases
from sde_ray.config.load import check
from sde_ray.data.facts import with_aliases
from sde_ray.errors import UserError
from sde_ray.types import Example

TABLE = {"Czech Republic": ("Czechia",), "Prague": ("Praha", "Prag")}


@pytest.mark.parametrize(
    "text",
    [
        '{"Czech Republic": ["Czechia"],\n "Prague": ["Praha", "Prag", "Prag"]}',
        '{"Czech Republic": ["Czechia"]}\n\n{"Prague": ["Praha", "Prag"]}\n',
    ],
)
def test_a_table_as_one_object_or_one_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "aliases"
    path.write_text(text)
    assert read_aliases(str(path)) == TABLE and read_aliases("") == {}


def test_examples_with_further_names() -> None:
    prague = Example(
        "P36.dev:1", "What is the capital of Bohemia?", {"answer": ("Prague",)}, aliases={"answer": ("Prag",)}
    )
    brno = Example("P36.dev:2", "What is the capital of Moravia?", {"answer": ("Brno",)})
    named, same = with_aliases([prague, brno], TABLE)
    assert named.aliases == {"answer": ("Prag", "Praha")} and same == brno
    assert with_aliases([prague, brno], {}) == [prague, brno]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "line 1: it is [1], expected an object of answers"),
        ('{"Prague": "Praha"}', "the aliases of \"Prague\" are 'Praha', expected a list of one text or more"),
        ('{"Prague": []}', 'the aliases of "Prague" are []'),
        ('{"Prague": ["Praha", " "]}', "expected a list of one text or more"),
        ('{"": ["Praha"]}', "an answer is empty"),
        ('{"Prague": ["Praha"]}\n{"Prague": ["Prag"]}', 'line 2: the answer "Prague" has stood before'),
        ('{"Prague": ["Praha"]}\nPrague, Prag', "line 2: it is 'Prague, Prag', expected an object"),
        ("", "is empty"),
    ],
)
def test_a_bad_table_is_one_message_of_the_sweep(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "aliases.json"
    path.write_text(text)
    values = {"name": "x", "task": "qa", "model": "tiny", "curation": {"memory_level": {"aliases": str(path)}}}
    with pytest.raises(UserError) as error:
        check(values)
    assert message in str(error.value) and "curation.memory_level.aliases: " in str(error.value)
    assert not text or 'Write {"answer": ["alias", ...], ...}' in str(error.value)


def test_no_file_and_a_file_that_only_a_folder_of_results_names(tmp_path: Path) -> None:
    values = {"name": "x", "task": "qa", "model": "tiny", "curation": {"memory_level": {"aliases": "/no/where.json"}}}
    with pytest.raises(UserError, match="There is no file /no/where.json"):
        check(values)
    with pytest.raises(UserError, match="/no/where.json"):
        check(values, trusted=False)
