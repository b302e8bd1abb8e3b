"""The page on configuration is current, and says something of every key."""

from __future__ import annotations

from pathlib import Path

from sde_ray.config.reference import page
from sde_ray.config.renamed import FOREIGN, FORMER, fields

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_docstrings_say() -> None:
    again = "python -m sde_ray.config.reference > docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == page(), f"out of date: {again}"


def test_every_key_and_every_foreign_one_is_on_the_page() -> None:
    text = page()
    for _, name in fields():
        assert f"| `{name}` |" in text, name
    for key in (*FORMER, *FOREIGN):
        assert f"| `{key}` |" in text, key


def test_every_row_has_a_meaning_and_types_are_in_words() -> None:
    rows = [line for line in page().split("## Keys of other tools")[0].splitlines() if line.startswith("| `")]
    assert len(rows) == len(list(fields()))
    for row in rows:
        name, kind, default, meaning = (cell.strip() for cell in row.strip("|").split(" | "))
        assert kind and len(meaning) > 8, name
        assert default, name
    text = "\n".join(rows)
    assert "| `learning_rate` | number above 0, below 100 | `0.0001` | Peak learning rate" in text
    assert "| `max_new_tokens` | whole number at least 1 or empty | empty | Longest completion" in text
    assert "| `lr_scheduler_type` | `linear`, `cosine`, `constant`, `constant_with_warmup` | `linear` |" in text
