"""Hostile input, 100,000 cases and more of it: a value or a `UserError`, nothing else, in bounded time.

    pytest tests/laws/test_fuzz.py                                    the standard run: fixed seed
    SDE_FUZZ=1000000 pytest tests/laws/test_fuzz.py                   a long one: fresh seed, told at the end
    SDE_FUZZ_SEED=7 SDE_FUZZ_CASE=412 pytest tests/laws/test_fuzz.py -k ledger      one case again

The families are in `fuzz_*.py`, what they share in `fuzz_engine.py`.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzz import adapters as fuzz_adapters  # noqa: F401  each fills the table of families
from fuzz import configs as fuzz_configs  # noqa: F401
from fuzz import files as fuzz_files  # noqa: F401
from fuzz import texts as fuzz_texts  # noqa: F401
from fuzz.engine import FAMILIES, TALLY, Family, Found, Hang, Room, bounded, planned, run, seed, smallest, wanted

LEAST = 100_000


@pytest.mark.parametrize("one", FAMILIES.values(), ids=list(FAMILIES))
@pytest.mark.filterwarnings("ignore")
def test_hostile(one: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)  # what is written here need not outlive the machine
    monkeypatch.chdir(tmp_path)  # given back, whatever a family does
    run(one, tmp_path)
    assert TALLY.ran[one.name] == wanted(one)


def test_the_run_was_as_large_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    if set(TALLY.ran) != set(FAMILIES):
        pytest.skip("not all families were run")
    total = sum(TALLY.ran.values())
    with capsys.disabled():
        print(
            f"\n{total:,} hostile cases, seed {seed()}, {TALLY.seconds:.0f} s of work; the slowest of each family in s:"
        )
        print(", ".join(f"{name} {seconds:.2f}" for name, seconds in TALLY.slowest.items()))
    assert TALLY.ran == {name: wanted(one) for name, one in FAMILIES.items()}
    assert planned() >= LEAST


# ---- the fuzzer itself can fail --------------------------------------------------------------------------------------


def test_a_crash_is_told_with_the_line_that_repeats_it(tmp_path: Path) -> None:
    def make(room: Room):  # type: ignore[no-untyped-def]
        def judge(text: str) -> None:
            assert "x" not in text

        def attempt(rng) -> None:  # type: ignore[no-untyped-def]
            room.given, room.again = "abc" * 9 + "x" * rng.randint(0, 1) + "def" * 9, judge
            judge(room.given)

        return attempt

    with pytest.raises(Found, match=r"repeat: SDE_FUZZ_SEED=\d+ SDE_FUZZ_CASE=\d+") as told:
        run(Family("planted", 50, make), tmp_path)
    assert "given: 'x'" in str(told.value)


def test_a_family_that_refuses_everything_is_told(tmp_path: Path) -> None:
    from sde_ray.errors import UserError

    def refuse() -> None:
        raise UserError("no")

    with pytest.raises(AssertionError, match="one-sided: 0 accepted, 5 refused"):
        run(Family("planted", 5, lambda room: lambda rng: room.law(refuse)), tmp_path)


def test_a_hang_is_ended() -> None:
    with pytest.raises(Hang), bounded(0.05):
        while True:
            time.monotonic()


def test_a_failing_text_is_made_small() -> None:
    def judge(text: str) -> None:
        assert not ("a" in text and "b" in text)

    assert smallest("zzzazzzzzzzzbzzz", judge, AssertionError) == "ab"
