"""Memory levels of facts that the tiny base was taught with skewed frequency, where the truth is known."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from helpers.taught_memory import FREQUENCIES, TEMPLATES, taught_facts, taught_model

from sde_ray.curation.memory.completions import MemoryMeter, MemorySettings
from sde_ray.data.facts import Fact

COUNT = 8  # facts of each frequency, in each of two splits


@pytest.mark.slow
def test_a_fact_has_the_level_of_how_often_it_was_taught(tmp_path: Path) -> None:
    taught = [*taught_facts("train", COUNT), *taught_facts("dev", COUNT)]
    settings = MemorySettings(templates=6, samples=4, max_new_tokens=8)
    meter = MemoryMeter(str(taught_model(tmp_path, taught)), settings, dtype="float32", batch_size=192)
    facts = [Fact(f"R1.train:{n}", "R1", one.subject, (one.object,)) for n, one in enumerate(taught)]
    measured = [memory for memory, _ in meter(facts, TEMPLATES)]
    of = {
        often: [memory for one, memory in zip(taught, measured, strict=True) if one.frequency == often]
        for often in FREQUENCIES
    }
    never, once, thrice, always = ([memory.rate("words") for memory in of[often]] for often in FREQUENCIES)
    assert max(never) == 0 < fmean(once) < 0.4 < fmean(thrice) < 0.85 < fmean(always)
    assert {memory.level("words") for memory in of[FREQUENCIES[0]]} == {0}
    assert {memory.level("words") for memory in of[FREQUENCIES[-1]]} == {4}
