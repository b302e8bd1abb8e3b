"""The legend says what every short name of the package says, and only those that occur."""

from __future__ import annotations

from helpers.planted import ALL

from sde_ray.analysis.legend import MEANINGS, legend
from sde_ray.design.axes import AXES, OPTIONAL
from sde_ray.design.designs import NAMED, make_design, paper_label


def test_every_option_of_the_package_is_explained() -> None:
    assert {axis: set(meanings) for axis, meanings in MEANINGS.items()} == {
        name: set(axis.options) for name, axis in {**AXES, **OPTIONAL}.items()
    }
    whole = legend(ALL)
    for design in ALL[::17]:
        for name in paper_label(design).split(", "):
            assert f"{name}: " in whole


def test_only_what_occurs_is_explained() -> None:
    one = legend([NAMED["baseline"]])
    assert one.startswith("Inst-last: instruction after the text · No-MI: no loss on the input · Natural: ")
    graded = [make_design(input_modeling=weight) for weight in ("on", 0.5, 0.1)]
    assert "MI-0.1/MI-0.5: loss on the input with this weight, MI: loss on the input as well · " in legend(graded)
    assert "OU" not in one and "CoT: no reason written" in one
    both = legend([make_design(), make_design(unmentioned="omit")])
    assert "PU: what is not mentioned has a placeholder, OU: what is not mentioned is left out" in both
