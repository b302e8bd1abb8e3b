"""`sde-ray predict`: what stands on a line of stdin."""

from __future__ import annotations

import pytest

from sde_ray.cli.predict import text_of


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Good soup.\n", "Good soup."),
        ('{"id": 1, "text": "A: [x: \\"1\\"]\\nB: [x: nan]"}\n', 'A: [x: "1"]\nB: [x: nan]'),
        ('{"texts": "x"}\n', '{"texts": "x"}'),
        ('{"text": 1}\n', '{"text": 1}'),
        ('{"text": "cut\n', '{"text": "cut'),
        ("{food} was fine", "{food} was fine"),
        ("{" * 9999, "{" * 9999),
    ],
)
def test_a_line_is_a_text_or_an_object_with_one(line: str, text: str) -> None:
    assert text_of(line) == text
