"""ASAP: Chinese restaurant reviews with 18 aspects, in CSV with a byte-order mark and multi-line quoted reviews.

    index,reviewbody,star,location_traffic,...     values 1 / 0 / -1 / -2: positive / neutral / negative / not mentioned

The paper's eleven aspects are not ASAP's (PAPER.md 1.5). Any CSV of this form loads: a slot is a column, and a value is
the label with this number in the task (else by name: positive, neutral, negative or 正面, 中性, 负面).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sde_ray.data.csv_file import read_csv
from sde_ray.data.format import Format
from sde_ray.data.records import BadRecord, Record, field
from sde_ray.data.schema import SENTIMENT_NUMBERS, Schema, check_slots
from sde_ray.types import Example

SLOTS = (
    "location_traffic",
    "location_distance_from_business_district",
    "location_easy_to_find",
    "service_wait_time",
    "service_waiters_attitude",
    "service_parking_convenience",
    "service_serving_speed",
    "price_level",
    "price_cost_effective",
    "price_discount",
    "environment_decoration",
    "environment_noise",
    "environment_space",
    "environment_cleaness",
    "dish_portion",
    "dish_taste",
    "dish_look",
    "dish_recommendation",
)
LABELS = ("正面", "中性", "负面")
VALUES = ("1", "0", "-1")
ABSENT = "-2"


def _convert(record: Record, schema: Schema) -> Iterator[Example]:
    check_slots(schema, record.fields, "The file")
    number_of = {**SENTIMENT_NUMBERS, **dict(schema.numbers)}
    label_of = {number_of.get(label, number_of.get(label.casefold())): label for label in schema.labels}
    if not {*VALUES} <= {*label_of}:
        raise BadRecord(f"the task's labels are {', '.join(schema.labels)}; ASAP needs ones numbered 1, 0 and -1")
    values = {slot: str(record.fields[slot]).strip().removesuffix(".0") for slot in schema.slots}
    wrong = [f'{slot} is "{value}"' for slot, value in values.items() if value not in (*VALUES, ABSENT)]
    if wrong:
        raise BadRecord(f"{', '.join(wrong)}; expected 1, 0, -1, or -2 for not mentioned")
    answer = {slot: (label_of[value],) for slot, value in values.items() if value != ABSENT}
    yield Example(str(field(record.fields, "index", (str, int))), field(record.fields, "reviewbody", str), answer)


ASAP = Format(read_csv, _convert, Schema("label", SLOTS, LABELS, "未提及"))


def load_asap(path: str | Path, schema: Schema | None = None) -> list[Example]:
    """The reviews of an ASAP file."""
    return ASAP(path, schema)
