"""For the tests of hostile input: how their cases went, in a folder of their own."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.hostile import Outcomes

MAX_MEMORY = 800  # MiB that the cases of a test may add


@pytest.fixture
def outcomes(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outcomes]:
    """Counts the cases: of some, not all may be refused; of many, not all accepted either. Memory must not grow."""
    monkeypatch.setattr("os.fsync", lambda file: None)  # what is written here need not outlive the machine
    monkeypatch.chdir(tmp_path)
    counts, before = Outcomes(), _peak_memory()
    yield counts
    request.node.user_properties.append(("hostile cases", counts.cases))  # tests/conftest.py adds them up
    grown = _peak_memory() - before
    assert grown < MAX_MEMORY, f"{request.node.name} added {grown} MiB"
    one_sided = f"one-sided: {counts.accepted} accepted, {counts.refused} refused"
    assert counts.accepted or counts.refused < 200, one_sided
    assert counts.refused or counts.accepted < 1000, one_sided


def _peak_memory() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
