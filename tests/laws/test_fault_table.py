"""The table of faults in docs/cluster.md: each row names tests that exist, and what a user sees is in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "cluster.md"


def rows() -> list[list[str]]:
    """The cells of the table's rows: what happens, what the user sees, what is kept, the tests."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| what happens |"))
    table = lines[start + 2 :]
    end = next(n for n, line in enumerate(table) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[:end]]


def functions(path: Path) -> set[str]:
    """Test functions of a file, those of classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_is_found() -> None:
    assert len(rows()) >= 20
    assert {len(row) for row in rows()} == {4}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_every_row_names_tests_that_exist(row: list[str]) -> None:
    named = re.findall(r"`([^`]+)`", row[3])
    assert named, "a row without a test is a promise"
    for one in named:
        file, colons, function = one.partition("::")
        assert colons and (TESTS / file).is_file(), one
        assert function in functions(TESTS / file), one


def test_every_test_of_faults_is_named() -> None:
    """A file of fault tests that the table forgets would be forgotten."""
    named = {one.partition("::")[0] for row in rows() for one in re.findall(r"`([^`]+)`", row[3])}
    assert {f"cluster/{path.name}" for path in TESTS.glob("cluster/test_*_faults.py")} - named == set()
