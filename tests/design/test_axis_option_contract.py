"""The contract of axis options, for those that a user would add from outside the package.

The options of the package keep it too: tests/laws/test_round_trip.py runs the same laws over every design at once.
"""

from __future__ import annotations

import json

import pytest

from sde_ray.design.base import FormatOption, collect, rows
from sde_ray.testing import AxisOptionContract
from sde_ray.types import Line


class TestXml(AxisOptionContract):
    axis = "format"
    option = "helpers.extra_axes:XML"


class TestReversed(AxisOptionContract):
    axis = "helpers.extra_axes:ORDER"
    option = "reversed"


class TestPolite(AxisOptionContract):
    axis = "helpers.extra_axes:TONE"
    option = "polite"


def _read_careless(row: str) -> Line:
    slot, _, value = row.partition("=")
    return Line(slot, (value,))


CARELESS = FormatOption(
    label="Careless",
    entry=lambda line, form: f"{line.slot}={','.join(line.values)}",
    separator=lambda form: "\n",
    marker=lambda form: "-",
    read=lambda text, form: collect(rows(text), _read_careless),
)
RAISING = FormatOption(
    label="Raising",
    entry=lambda line, form: json.dumps([line.slot, *line.values]),
    separator=lambda form: "\n",
    marker=lambda form: "-",
    read=lambda text, form: (tuple(Line(slot, tuple(values)) for slot, *values in map(json.loads, rows(text))), ()),
)


@pytest.mark.parametrize(
    ("option", "law"),
    [
        ("CARELESS", "test_reading_undoes_writing"),
        ("RAISING", "test_any_text_is_read"),
        ("RAISING", "test_hostile_text_is_read"),
    ],
)
def test_an_option_that_breaks_the_contract_is_seen(option: str, law: str) -> None:
    class Broken(AxisOptionContract):
        axis = "format"

    Broken.option = f"{__name__}:{option}"
    with pytest.raises((AssertionError, ValueError, RecursionError)):
        getattr(Broken(), law)()
