"""Draft of the slots and fields of a task of records, from the objects that a survey has found.

{"people": [{"name": ..}], "works": [..]}      slots people and works, any number of records each
[{"head": .., "tail": ..}, ..]                 one slot, any number of records
{"name": .., "address": {"city": ..}}          one slot, one record a text
[["Curie", "born in", "Warsaw"], ..]           relations: head, relation, tail
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.data.answer_records import mention_text, with_arguments
from sde_ray.data.record_inference import infer_fields
from sde_ray.data.record_values import Fields, leaf_paths
from sde_ray.data.survey import Survey
from sde_ray.errors import UserError
from sde_ray.tasks.yaml_records import DEFAULT_SLOT
from sde_ray.types import RecordField

TRIPLE = ("head", "relation", "tail")


def draft_fields(name: str, survey: Survey) -> tuple[dict[str, tuple[RecordField, ...]], bool, list[str]]:
    """Fields by slot, whether each text has one record, and doubts, each a sentence for the author.

    Raises UserError: when the answers are no objects, or not of one form.
    """
    objects = [value if value not in (None, "") else {} for value in survey.objects]
    odd = sum(not isinstance(value, dict | list) for value in objects)
    if not objects or odd == len(objects) or not any(objects):
        raise UserError(
            f'{name}: no answer is a JSON object or a list of some. Expected answers such as {{"head": "aspirin", '
            '"tail": "fever"}; is the right column named?'
        )
    doubts = [f"{odd} of {len(objects)} answers are no JSON: faults when they are loaded"] if odd else []
    by_slot, single = _by_slot(name, [value if isinstance(value, dict | list) else {} for value in objects])
    fields: dict[str, Fields] = {}
    for slot, records in by_slot.items():
        flat = [
            (_flat(record), text) for several, text in zip(records, survey.texts, strict=True) for record in several
        ]
        if not flat:
            doubts.append(f"{slot} has no record in these data, so its fields are not known: it is left out")
            continue
        fields[slot] = infer_fields([record for record, _ in flat], [text for _, text in flat])
    doubts += _closed_fields(fields)
    return fields, single, doubts


def _by_slot(name: str, objects: Sequence[Any]) -> tuple[dict[str, list[list[Any]]], bool]:
    """The records of each answer by slot, and whether an answer is one record."""
    present = [value for value in objects if value]
    if all(isinstance(value, list) for value in present):
        return {DEFAULT_SLOT: [[_named(name, one) for one in value] for value in objects]}, False
    if not all(isinstance(value, dict) for value in present):
        raise UserError(f"{name}: some answers are objects and some lists. Write them in one way.")
    if all(_is_list_of_objects(inner) for value in present for inner in value.values()):
        slots = dict.fromkeys(str(slot) for value in present for slot in value)
        return {slot: [list((value or {}).get(slot) or ()) for value in objects] for slot in slots}, False
    return {DEFAULT_SLOT: [[value] if value else [] for value in objects]}, True


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _named(name: str, value: Any) -> Any:
    """A record of a list: an object, or a triple."""
    if isinstance(value, list) and len(value) == len(TRIPLE):
        return dict(zip(TRIPLE, value, strict=True))
    if not isinstance(value, dict):
        raise UserError(f"{name}: a list of answers holds {str(value)[:60]!r}, expected objects with named fields.")
    return value


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with an event's arguments as fields, and mentions as their words."""
    flat = with_arguments(record)
    if len(flat) == len(record) and {*flat} == {*record}:
        return flat
    return {key: [mention_text(one) for one in value] if isinstance(value, list) else mention_text(value)
            for key, value in flat.items()}  # fmt: skip


def _closed_fields(fields: Mapping[str, Fields]) -> list[str]:
    leaves = [leaf for several in fields.values() for leaf in leaf_paths(several)]
    closed = [f"{path} ({len(one.labels)} labels)" for path, one in leaves if one.labels]
    return [f"taken for closed labels, as their values are few and repeat: {', '.join(closed)}"] if closed else []
