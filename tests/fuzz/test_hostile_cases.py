"""The cases of hostile input: how many there are, what they are like, and that a test of them can fail."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from fuzz.hostile import CASES, HangError, Outcomes, bounded, hostile, mutated, spoiled, twisted
from hypothesis import find, seed, settings

from sde_ray.errors import UserError

LEAST = 100_000
VALUE = {"a": [1, 2], "b": {"c": "d"}}


def test_the_long_profile_has_a_hundred_thousand_cases() -> None:
    import fuzz.test_hostile_adapters
    import fuzz.test_hostile_configs
    import fuzz.test_hostile_files
    import fuzz.test_hostile_texts  # noqa: F401  each adds its own

    assert sum(count for name, count in CASES.items() if name.startswith("test_")) >= LEAST


def test_a_failing_case_is_made_small() -> None:
    def judge(outcomes: Outcomes, text: str) -> None:
        assert not set("{}[]") & set(text)

    with pytest.raises(AssertionError) as error:
        seed(0)(hostile(20_000, text=mutated("a text"))(judge))(outcomes=Outcomes())
    told = "\n".join(error.value.__notes__)
    assert re.search(r"text='\[\]?a text'", told), f"one short piece was put in, and nothing else: {told}"
    assert "@reproduce_failure" in told


def test_a_refusal_without_a_word_is_an_error() -> None:
    def refuse(message: str) -> None:
        raise UserError(message)

    outcomes = Outcomes()
    assert outcomes.value_of(lambda: refuse("no such file")) is None and outcomes.refused == 1
    with pytest.raises(AssertionError, match="without a word"):
        outcomes.value_of(lambda: refuse(" "))


def test_a_hang_is_ended() -> None:
    with pytest.raises(HangError), bounded(0.05):
        while True:
            time.monotonic()


@pytest.mark.parametrize(
    "wanted",
    [
        lambda value: value == VALUE,
        lambda value: not isinstance(value, dict),
        lambda value: isinstance(value, dict) and set(value) > set(VALUE),
        lambda value: isinstance(value, dict) and set(value) < set(VALUE),
        lambda value: isinstance(value, dict) and "b" in value and value["b"] in ({}, None, True),
        lambda value: isinstance(value, dict) and value.get("a") == [1, 2, 1],
        lambda value: isinstance(value, dict) and value.get("b") == {"c": ["d"]},
    ],
    ids=["as it is", "another kind", "more", "less", "another value", "doubled", "wrapped"],
)
def test_values_are_twisted_in_every_way(wanted: Any) -> None:
    find(twisted(VALUE), wanted, settings=settings(max_examples=20_000))
    assert json.dumps(VALUE) == '{"a": [1, 2], "b": {"c": "d"}}', "the given value stays"


def test_texts_and_bytes_are_spoiled_in_every_way() -> None:
    many = settings(max_examples=20_000)
    for wanted in (lambda text: text == "abcd", lambda text: text == "abd", lambda text: text.endswith("cd")):
        assert wanted(find(mutated("abcd"), wanted, settings=many))
    assert len(find(mutated("abcd"), lambda text: len(text) > 2000, settings=many)) > 2000
    assert len(find(spoiled(b"abcd"), lambda data: len(data) < 4, settings=many)) < 4
    assert b"\xff\xfe" in find(spoiled(b"abcd"), lambda data: b"\xff\xfe" in data, settings=many)
