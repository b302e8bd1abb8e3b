"""Which sizes a level has not the facts for: said by `sde-ray memory`, before a trial is planned.

too_few(config, memories)     ["memory_level=2 has 18 measured training facts: too few for 60, 240."]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sde_ray.config.schema import SweepConfig
from sde_ray.curation.memory.levels import FactMemory

AXIS, SIZE = "memory_level", "train_size"


def too_few(config: SweepConfig, memories: Sequence[FactMemory]) -> list[str]:
    """A sentence for each level of the sweep that has fewer of these training facts than a size asks for."""
    return list(_too_few(config, memories))


def _too_few(config: SweepConfig, memories: Sequence[FactMemory]) -> Iterator[str]:
    rule = config.curation.memory_level.rule
    for option in map(str, config.axes.get(AXIS, ())):
        if option == "any":
            continue
        count = sum(memory.level(rule) == int(option) for memory in memories) if option.isdigit() else len(memories)
        sizes = [size for size in _sizes(config) if size > count]
        if sizes:
            short = ", ".join(f"{size:,}" for size in sizes)
            yield f"memory_level={option} has {count:,} measured training facts: too few for {short}."


def _sizes(config: SweepConfig) -> list[int]:
    listed = [option for option in map(str, config.axes.get(SIZE, ())) if option.isdigit()]
    return sorted({*map(int, listed)} or set(config.train_sizes))
