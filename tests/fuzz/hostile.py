"""Hostile input as Hypothesis strategies: odd texts, odd values, and good ones that are spoiled in a few places.

    @hostile(3_000, text=mutated("train.learning_rate=1e-3"))
    def test_sets(outcomes: Outcomes, text: str) -> None:
        outcomes.value_of(lambda: assign({}, text))        its value, or None after a `UserError`; all else fails

`hostile` is Hypothesis' `given` with a number of cases, each bounded in time. The profile `long` tries them all, more
than 100,000 over all tests; the usual one a small share, the same cases each time. Hypothesis makes a failing case
small, shows it, and prints the line that repeats it.
"""

from __future__ import annotations

import copy
import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from sde_ray.errors import UserError

LIMIT = 30.0  # seconds of one case on the wall clock; the slowest takes a hundredth of it on a quiet machine
SHARE = {"usual": 0.03, "long": 1.0}  # of the cases, by Hypothesis' profile (tests/conftest.py)
CASES: dict[str, int] = {}  # of each test in the long profile


class HangError(AssertionError):
    """A case took longer than `LIMIT`."""


class Outcomes:
    """What became of the cases of a test."""

    def __init__(self) -> None:
        self.cases = self.accepted = self.refused = 0

    def value_of(self, action: Callable[[], Any]) -> Any:
        """The action's value, or None where it is refused by a `UserError` that says something."""
        try:
            value = action()
        except UserError as error:
            self.refused += 1
            assert str(error).strip(), "a UserError without a word"
            return None
        self.accepted += 1
        return value


def hostile(cases: int, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of so many cases in the long profile, drawn from the strategies; it takes the fixture `outcomes`."""
    current = settings.get_current_profile_name()

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        CASES[test.__name__] = cases

        @functools.wraps(test)
        def bounded_test(*arguments: Any, outcomes: Outcomes, **drawn: Any) -> None:
            outcomes.cases += 1
            with bounded(LIMIT):
                test(*arguments, outcomes=outcomes, **drawn)

        # The folder of a test is that of all of its cases, each of which writes its files over those of the one before.
        unhealthy = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
        number = max(1, round(cases * SHARE.get(current, SHARE["usual"])))
        chosen = settings(max_examples=number, suppress_health_check=unhealthy)
        return pytest.mark.filterwarnings("ignore")(chosen(given(**strategies)(bounded_test)))

    return decorate


@contextmanager
def bounded(limit: float) -> Iterator[None]:
    """Raise `HangError` in the main thread after so many seconds."""

    def raise_hang(*_: Any) -> None:
        raise HangError(f"more than {limit:g} seconds")

    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- texts and bytes -------------------------------------------------------------------------------------------------

PIECES = [
    *" \t\n\r\0\v\x1b\x7f,:;.\"'\\=<>[]{}()!&*#|%@`~-+?_/$^", "\r\n", "\ufeff", "\u2028", "\x85", "\u3000", "\u202e",
    "：", "，", "；", "。", "“", "é", "e\u0301", "😀", "日本", "\\ud800", "\\u0000", "\\x", "null", "true", "NaN",
    "Infinity", "-0", "1e999", "9" * 5000, "0x", "~", "[]", "{}", "[[", '{"a":', "none", "None", "无", "=> ", " <= ",
    "!!python/object/apply:os.system ['id']", "&a ", "*a", "<<: *a", "---\n", "%YAML 9\n", "__import__('os')", "../",
    "/etc/passwd", "${HOME}", "%s", "{0}", "a" * 3000, '"' * 200, "\\" * 200, "[" * 3000, '{"":' * 500, "- " * 300,
]  # fmt: skip
MAX_TEXT = 20_000
_pieces = st.sampled_from(PIECES)
_characters = st.characters(exclude_categories=["Cs"])


def odd_texts(max_size: int = 12) -> SearchStrategy[str]:
    """Short texts of odd pieces and any characters."""
    return st.lists(st.one_of(_pieces, _characters), max_size=max_size).map("".join)


def one_in(draw: DrawFn, count: int) -> bool:
    """True in one of so many cases."""
    return draw(st.integers(1, count)) == count


@st.composite
def mutated(draw: DrawFn, text: str | SearchStrategy[str], max_changes: int = 4) -> str:
    """The text with some places cut, doubled, reversed or overwritten; now and then as it is."""
    text = text if isinstance(text, str) else draw(text)
    for _ in range(draw(st.integers(0, max_changes))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, len(text) if one_in(draw, 4) else 8)))
        part = text[start:end]
        repeated = st.integers(0, 3).map(lambda count, part=part: part * count)  # type: ignore[misc]
        new = draw(st.one_of(odd_texts(4), repeated, st.just(part[::-1]), _pieces))
        text = (text[:start] + new + text[end:])[:MAX_TEXT]
    return text


@st.composite
def spoiled(draw: DrawFn, data: bytes, max_changes: int = 3) -> bytes:
    """The same for bytes: put in, cut out, overwritten."""
    for _ in range(draw(st.integers(1, max_changes))):
        start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        marks = st.sampled_from((b"", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\xed\xa0\x80"))
        data = data[:start] + draw(st.one_of(marks, st.binary(max_size=8))) + data[start + length :]
    return data


@st.composite
def encoded(draw: DrawFn, text: str, spoiled_one_in: int = 7) -> bytes:
    """The text as UTF-8, some of it spoiled."""
    raw = text.encode("utf-8", "replace")
    return draw(spoiled(raw)) if one_in(draw, spoiled_one_in) else raw


# ---- plain values ----------------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5, 1e308, float("inf"),
    float("-inf"), float("nan"), "", " ", "0", "none", "a" * 5000, "../../etc", "/etc/passwd", "\0", "a\0b", "é😀",
    [], {}, [[]], [None], {"": None}, {"a": {"b": {"c": []}}}, ["x", "x"], [1, "1", None], "masa:d1", "x" * 300 + "/y",
]  # fmt: skip
ODD_KEYS: list[Any] = ["", 1, True, None]


def odd_values() -> SearchStrategy[Any]:
    """A value of any kind."""
    return st.one_of(st.sampled_from(ODD_VALUES).map(copy.deepcopy), odd_texts())


@st.composite
def twisted(draw: DrawFn, value: Any, max_changes: int = 4) -> Any:
    """Plain values with some of their parts of another kind, lost, doubled, renamed or wrapped; or as they are."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, max_changes))):
        path = draw(st.sampled_from(list(_paths(value))))
        value = _with(value, path, lambda part: _changed(draw, part))
    return value


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a value are, from the whole of it to the last leaf."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _paths(part, (*path, key))


def _with(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """The value with the part at a path changed."""
    if not path:
        return change(value)
    value[path[0]] = _with(value[path[0]], path[1:], change)
    return value


def _changed(draw: DrawFn, part: Any) -> Any:
    inner = (
        {"lose", "add", "rename"} if isinstance(part, dict) else {"lose", "double"} if isinstance(part, list) else ()
    )
    how = draw(st.sampled_from(["replace", "mutate", "wrap", *sorted(inner if part else ())]))
    if how == "replace":
        return draw(odd_values())
    if how == "mutate":
        return draw(mutated(str(part)[:MAX_TEXT]))
    if how == "wrap":
        return draw(st.sampled_from(([part], {"x": part}, str(part)[:MAX_TEXT])))
    if isinstance(part, list):
        at = draw(st.integers(0, len(part) - 1))
        return part[:at] + part[at + 1 :] if how == "lose" else part + part[: at + 1]
    if how == "add":
        return {**part, draw(odd_texts(3)): draw(odd_values())}
    gone = draw(st.sampled_from(list(part)))
    new = draw(st.one_of(mutated(str(gone)), st.sampled_from(ODD_KEYS)))
    renamed = {new if key == gone else key: value for key, value in part.items()}
    return renamed if how == "rename" else {key: value for key, value in part.items() if key != gone}
