"""Any records of a task, as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from sde_ray.data.record_values import canonical
from sde_ray.types import RecordField, Task


def record_values(task: Task, slot: str, words: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """The values that a slot of records may have; perhaps none, where a record is empty."""
    record = records(task.fields[slot], words).map(lambda one: canonical(one, task.fields[slot])[0])
    several = st.lists(record, min_size=1, max_size=1 if slot in task.single else 3)
    return several.map(lambda texts: tuple(text for text in texts if text is not None and text != "{}"))


def records(fields: Sequence[RecordField], words: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Records of any values that these fields may have; `words`: the texts and spans."""
    scalars = {
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
        "integer": st.integers(-(10**20), 10**20),
        "boolean": st.booleans(),
    }

    def value(one: RecordField) -> st.SearchStrategy[Any]:
        if one.type == "record":
            return records(one.fields, words)
        if one.labels:
            return st.sampled_from([int(label) for label in one.labels] if one.type == "integer" else one.labels)
        return scalars.get(one.type, words)

    def values(one: RecordField) -> st.SearchStrategy[Any]:
        return st.lists(value(one), max_size=3) if one.many else value(one)

    return st.fixed_dictionaries(
        {one.name: values(one) for one in fields if not one.optional},
        optional={one.name: values(one) for one in fields if one.optional},
    )
