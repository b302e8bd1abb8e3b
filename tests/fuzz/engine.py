"""A seeded fuzzer of our own: many cases, each bounded in time, each repeatable by its number.

    @family("ledger", 6000)
    def ledger(room: Room) -> Case: ...          called once; gives a function (random) -> None that tries one case

The same seed gives the same cases. `SDE_FUZZ=1000000` is the number of cases over all families (a fresh seed each
time), `SDE_FUZZ_SEED=7` sets the seed, `SDE_FUZZ_CASE=412` runs one case alone. A case that fails is shown, made
smaller where that is cheap, with the line that repeats it.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError

LIMIT = 30.0  # seconds of one case on the wall clock; the slowest takes a hundredth of it on a quiet machine
MEMORY = 800  # MiB that a family's cases may add
STANDARD_SEED = 20240
Random = random.Random
Try = Callable[[Random], None]


class Hang(AssertionError):
    """A case took longer than `LIMIT`."""


class Found(AssertionError):
    """A case that broke a law, with the input that did it."""


@dataclass
class Room:
    """What a family may use: a folder of its own, and a place to note the input at hand for the report."""

    folder: Path
    number: int = 0  # of the case
    given: Any = None
    again: Callable[[Any], None] | None = None  # tries a smaller input
    refused: int = 0
    accepted: int = 0

    def law(self, action: Callable[[], Any]) -> Any:
        """The action's value, or None where it is refused by a `UserError` that says something."""
        try:
            value = action()
        except UserError as told:
            self.refused += 1
            assert str(told).strip(), "a UserError without a word"
            return None
        self.accepted += 1
        return value


@dataclass(frozen=True)
class Family:
    name: str
    cases: int
    make: Callable[[Room], Try]


@dataclass
class Tally:
    """What was run, for the count at the end."""

    ran: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # of this process' own work


FAMILIES: dict[str, Family] = {}
TALLY = Tally()


def family(name: str, cases: int) -> Callable[[Callable[[Room], Try]], Callable[[Room], Try]]:
    """Put a family into the table, with its share of a standard run."""

    def add(make: Callable[[Room], Try]) -> Callable[[Room], Try]:
        FAMILIES[name] = Family(name, cases, make)
        return make

    return add


def planned() -> int:
    """How many cases a standard run has."""
    return sum(one.cases for one in FAMILIES.values())


def wanted(one: Family) -> int:
    """How many cases of a family this run has."""
    total = int(os.environ.get("SDE_FUZZ", "0"))
    return max(1, round(one.cases * total / planned())) if total else one.cases


def seed() -> int:
    """The seed of this run: fixed for the standard run, fresh for a long one."""
    given = os.environ.get("SDE_FUZZ_SEED")
    if given is None and os.environ.get("SDE_FUZZ"):
        given = os.environ["SDE_FUZZ_SEED"] = str(random.SystemRandom().randrange(10**9))
    return int(given or STANDARD_SEED)


def run(one: Family, folder: Path) -> None:
    """Try a family's cases; `Found` for the first that fails."""
    room = Room(folder)
    attempt, base = one.make(room), memory()
    alone = os.environ.get("SDE_FUZZ_CASE")
    numbers = [int(alone)] if alone else range(wanted(one))
    slowest, own = 0.0, time.process_time()
    for number in numbers:
        room.number, room.given, room.again = number, None, None
        begun = time.monotonic()
        try:
            with bounded(LIMIT):
                attempt(random.Random(f"{seed()}/{one.name}/{number}"))
        except Exception as error:
            raise Found(_story(one, number, room, error)) from error
        slowest = max(slowest, time.monotonic() - begun)
    assert memory() - base < MEMORY, f"{one.name} added {memory() - base} MiB"
    assert alone or (room.accepted and room.refused) or not (room.accepted or room.refused), (
        f"{one.name} is one-sided: {room.accepted} accepted, {room.refused} refused"
    )
    TALLY.ran[one.name], TALLY.slowest[one.name] = len(numbers), slowest
    TALLY.seconds += time.process_time() - own


def memory() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextmanager
def bounded(limit: float) -> Iterator[None]:
    """Raise `Hang` in the main thread after so many seconds."""

    def late(*_: Any) -> None:
        raise Hang(f"more than {limit:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- the report of a failure -----------------------------------------------------------------------------------------


def _story(one: Family, number: int, room: Room, fault: Exception) -> str:
    given = smallest(room.given, room.again, type(fault)) if room.again else room.given
    repeat = f"SDE_FUZZ_SEED={seed()} SDE_FUZZ_CASE={number} pytest 'tests/laws/test_fuzz.py' -k '{one.name}'"
    return f"{type(fault).__name__}: {str(fault)[:300]}\nrepeat: {repeat}\ngiven: {given!r:.3000}"


def smallest(given: Any, again: Callable[[Any], None], kind: type[Exception], seconds: float = 5.0) -> Any:
    """The input with pieces left out, as long as it fails in the same way."""
    end = time.monotonic() + seconds
    size = max(1, len(given) // 2)
    while size and time.monotonic() < end:
        start, shrunk = 0, False
        while start < len(given) and time.monotonic() < end:
            shorter = given[:start] + given[start + size :]
            if _fails(shorter, again, kind):
                given, shrunk = shorter, True
            else:
                start += size
        size = size if shrunk and size > 1 else size // 2
    return given


def _fails(given: Any, again: Callable[[Any], None], kind: type[Exception]) -> bool:
    try:
        with bounded(LIMIT):
            again(given)
    except kind:
        return True
    except Exception:
        return False
    return False


# ---- mutations -------------------------------------------------------------------------------------------------------

PIECES = [
    *" \t\n\r\0\v\x1b\x7f,:;.\"'\\=<>[]{}()!&*#|%@`~-+?_/$^", "\r\n", "\ufeff", "\u2028", "\x85", "\u3000", "\u202e",
    "：", "，", "；", "。", "“", "é", "e\u0301", "😀", "日本", "\\ud800", "\\u0000", "\\x", "null", "true", "NaN",
    "Infinity", "-0", "1e999", "9" * 5000, "0x", "~", "[]", "{}", "[[", '{"a":', "none", "None", "无", "=> ", " <= ",
    "!!python/object/apply:os.system ['id']", "&a ", "*a", "<<: *a", "---\n", "%YAML 9\n", "__import__('os')", "../",
    "/etc/passwd", "${HOME}", "%s", "{0}", "a" * 3000, '"' * 200, "\\" * 200, "[" * 3000, '{"":' * 500, "- " * 300,
]  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5, 1e308, float("inf"),
    float("-inf"), float("nan"), "", " ", "0", "none", "a" * 5000, "../../etc", "/etc/passwd", "\0", "a\0b", "é😀",
    [], {}, [[]], [None], {"": None}, {"a": {"b": {"c": []}}}, ["x", "x"], [1, "1", None], "masa:d1", "x" * 300 + "/y",
]  # fmt: skip


def some(rng: Random, size: int = 12) -> str:
    """A short text of odd pieces and any characters."""
    return "".join(
        rng.choice(PIECES) if rng.random() < 0.6 else chr(_codepoint(rng)) for _ in range(rng.randrange(size))
    )


def _codepoint(rng: Random) -> int:
    point = rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000)))
    return 0xFFFD if 0xD800 <= point <= 0xDFFF else point


def mutated(text: str, rng: Random, most: int = 4) -> str:
    """The text with some places cut, doubled, swapped or overwritten."""
    for _ in range(rng.randint(1, most)):
        start, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        end = end if rng.random() < 0.3 else min(end, start + rng.randrange(8))
        part = text[start:end]
        new = rng.choice((some(rng, 4), part * rng.randint(0, 3), part[::-1], "", rng.choice(PIECES)))
        text = text[:start] + new + text[end:]
        if len(text) > 20_000:
            text = text[:20_000]
    return text


def spoiled(data: bytes, rng: Random, most: int = 3) -> bytes:
    """The same for bytes: flipped, cut, overwritten."""
    for _ in range(rng.randint(1, most)):
        at, length = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        new = rng.choice((b"", rng.randbytes(length), b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\xed\xa0\x80"))
        data = data[:at] + new + data[at + rng.choice((0, len(new), length)) :]
    return data


def odd(rng: Random) -> Any:
    """A value of any kind."""
    return some(rng) if rng.random() < 0.25 else rng.choice(ODD_VALUES)


def twisted(value: Any, rng: Random, rate: float = 0.15) -> Any:
    """Plain values with some of them of another kind, lost, renamed or wrapped."""
    if rng.random() < rate / 2:
        return rng.choice((odd(rng), [value], {"x": value}, str(value)))
    if isinstance(value, dict):
        changed = {_key(key, rng, rate): twisted(inner, rng, rate) for key, inner in value.items()}
        for key in [key for key in changed if rng.random() < rate / 4]:
            del changed[key]
        if rng.random() < rate / 2:
            changed[some(rng, 3)] = odd(rng)
        return changed
    if isinstance(value, list):
        items = [twisted(inner, rng, rate) for inner in value if rng.random() > rate / 4]
        return items + items[: rng.randrange(3)] if rng.random() < rate / 2 else items
    return rng.choice((odd(rng), mutated(str(value), rng))) if rng.random() < rate else value


def _key(key: Any, rng: Random, rate: float) -> Any:
    return rng.choice((mutated(str(key), rng), "", 1, True, None)) if rng.random() < rate / 4 else key
