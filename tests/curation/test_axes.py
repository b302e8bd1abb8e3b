"""Data and training axes as rows of the table: today's keys stay, neutral is plain, one number has one spelling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.analysis.effects import estimate_effects, group_results
from sde_ray.cli.views.plan import summary
from sde_ray.config.load import check
from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.design.axes import AXES, CURATION, find_option, spell
from sde_ray.design.designs import NAMED, completed, essential, make_design, paper_label, parse_design
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.plugins import load_object
from sde_ray.storage.ledger import from_json, has_own_key, to_json
from sde_ray.tasks import get_task
from sde_ray.training.curation import Method, methods_of
from sde_ray.types import TrialResult

PINNED = {axis: "none" if axis == "reasoning" else row.default for axis, row in AXES.items()}
FEW = {**PINNED, "format": ["natural", "lines"]}


def trial(**options: object) -> TrialConfig:
    return TrialConfig("masa:d1", make_design(**options), "tiny", 0, 40, 20)


def result(score: float, seed: int = 0, lr: float = 1e-4, **options: object) -> TrialResult:
    config = replace(trial(**options), seed=seed, train=Train(learning_rate=lr))
    return TrialResult(config.key, config.resolved(), "finished", {"dev": {"weighted_kappa": score}})


# ---- today's designs, keys and lines ---------------------------------------------------------------------------------


def test_a_design_has_such_an_axis_only_where_it_is_named() -> None:
    assert list(AXES) == ["instruction", "input_modeling", "format", "unmentioned", "labels", "reasoning"]
    assert [axis for axis, _ in make_design().options] == list(AXES)
    assert not set(AXES) & set(CURATION)
    assert len(design_space(get_task("masa:d1"), True).designs) == 216


def test_keys_and_ledger_lines_of_plain_trials_are_those_of_before() -> None:
    config = trial()
    assert config.key == "9907b65673898c2d"
    assert "curation" not in config.resolved()
    assert "curation" not in to_json(TrialResult(config.key, config.resolved(), "finished"))


@pytest.mark.parametrize("axis", CURATION)
def test_the_neutral_option_is_the_plain_trial(axis: str) -> None:
    """Same key, so the same ledger line and the same adapter: nothing is trained twice."""
    neutral = trial(**{axis: CURATION[axis].default})
    assert neutral.resolved() == trial().resolved() and neutral.key == trial().key
    assert methods_of(neutral) == () and neutral.curated == {}
    assert paper_label(neutral.design) == paper_label(make_design())


def test_settings_of_a_method_are_in_the_key_of_its_trials_only() -> None:
    late = check({"name": "x", "task": "masa:d1", "curation": {"repeat": {"dropout_from": 0.5}}}).curation
    plain, repeated = trial(), trial(repeat=4)
    assert replace(plain, curation=late).key == plain.key
    assert replace(repeated, curation=late).key != repeated.key
    assert replace(repeated, curation=late).resolved()["curation"] == {"repeat": {"dropout_from": 0.5}}


def test_what_was_counted_is_in_the_ledger() -> None:
    config = trial(repeat=4)
    counted = TrialResult(config.key, config.resolved(), "finished", curation={"samples": 10.0})
    assert has_own_key(counted) and from_json(to_json(counted)) == counted


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "spellings", "name"),
    [
        ("repeat", [4, 4.0, "4", "4.0", "4e0"], "4"),
        ("learning_rate", [0.001, 1e-3, "1e-3", "0.0010"], "0.001"),
        ("learning_rate", [1e-5, "0.00001"], "1e-05"),
        ("lora_r", [16, "16", 16.0], "16"),
    ],
)
def test_one_number_has_one_spelling(axis: str, spellings: list[object], name: str) -> None:
    assert {spell(axis, one) for one in spellings} == {name}
    assert len({trial(**{axis: one}).key for one in spellings}) == 1
    space = design_space(get_task("masa:d1"), True, axes={axis: spellings})
    assert space.axes[axis] == (name,)


@pytest.mark.parametrize(
    ("axis", "option", "message"),
    [
        ("repeat", 2.5, '"2.5" is no option of repeat. Expected a whole number of 1 or more, at most 10000.'),
        ("repeat", 0, '"0" is no option of repeat.'),
        ("repeat", "nan", '"nan" is no option of repeat.'),
        ("repeat", True, '"on" is no option of repeat.'),
        ("learning_rate", 0, "Expected a number above 0, at most 99, or configured."),
        ("learning_rate", -1.0, '"-1.0" is no option of learning_rate.'),
        ("learning_rate", "fast", '"fast" is no option of learning_rate.'),
        ("lora_r", 0.5, "Expected a whole number of 1 or more"),
    ],
)
def test_a_number_that_is_no_option_is_refused_with_what_is(axis: str, option: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        check({"name": "x", "task": "masa:d1", "axes": {axis: [option]}})
    assert message in str(error.value)
    with pytest.raises(UserError):
        find_option(axis, str(option))


def test_an_unknown_axis_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match='"repeat"'):
        check({"name": "x", "task": "masa:d1", "axes": {"repaet": [1, 4]}})


def test_designs_are_named_with_what_is_not_neutral() -> None:
    assert paper_label(make_design(repeat=4)).endswith("No-CoT, 4 epochs of 1/4")
    assert paper_label(make_design(learning_rate=0.001)).endswith("No-CoT, rate 0.001")
    design = parse_design("repeat=4.0,format=lines")
    assert design == parse_design(design.slug) == make_design(format="lines", repeat="4")


# ---- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", CURATION)
def test_a_row_has_a_method_or_a_setting(axis: str) -> None:
    row = CURATION[axis]
    assert bool(row.carrier) != bool(row.setting)
    assert row.curates and row.default in row.options
    if row.carrier:
        assert issubclass(load_object(row.carrier, type, "a method"), Method)
    else:
        section, _, name = row.setting.rpartition(".")
        sections = {"train": Train.model_fields, "lora": Lora.model_fields, "": TrialConfig.__dataclass_fields__}
        assert name in sections[section]


# ---- plans and analysis ----------------------------------------------------------------------------------------------


def test_a_sweep_crosses_them_with_the_designs() -> None:
    made = plan_of(axes={**FEW, "repeat": [1, 4], "learning_rate": [0.001, 0.006]}, train={"learning_rate": 0.006})
    assert len(made.trials) == 8
    rates = {(one.design["learning_rate"], one.train.learning_rate) for one in made.trials}
    assert rates == {("0.001", 0.001), ("0.006", 0.006)}
    assert made.contests[0].reference_design == make_design(repeat=1), "a search knows designs without the rate"
    lines = "\n".join(summary(made))
    assert "repeat, training: 1, 4" in lines and "learning_rate, training: 0.001, 0.006; a test of robustness" in lines
    assert "4 designs × 2 nuisance values × 1 seed" in lines


def test_the_named_designs_are_tried_first_at_the_neutral_option() -> None:
    made = plan_of(
        axes={**FEW, "instruction": ["last", "first"], "repeat": [4, 1]}, search={"points_to_evaluate": ["es-sde"]}
    )
    assert made.contests[0].points_to_evaluate == (make_design(**dict(NAMED["es-sde"].options), repeat=1),)


def test_listed_designs_may_have_them() -> None:
    made = plan_of(designs=["baseline", "repeat=4", {"format": "lines", "repeat": 2}])
    repeats = {one.design["repeat"]: one for one in made.trials}
    assert sorted(repeats) == ["1", "2", "4"]
    assert [repeats["1"].key] == [one.key for one in plan_of(designs=["baseline"]).trials]


def test_a_plan_refuses_what_a_method_cannot_do() -> None:
    with pytest.raises(UserError, match="repeat=80 of 40 samples leaves less than one"):
        plan_of(axes={**FEW, "repeat": [1, 80]})


def test_a_trial_without_the_axis_reads_as_neutral() -> None:
    results = [
        *(result(0.5 + 0.01 * seed, seed) for seed in range(4)),
        *(result(0.3 + 0.01 * seed, seed, repeat=4) for seed in range(4)),
    ]
    assert [one.config["design"]["repeat"] for one in completed(results)] == ["1"] * 4 + ["4"] * 4
    (effect,) = estimate_effects(results, "weighted_kappa")
    assert (effect.axis, effect.option, effect.reference) == ("repeat", "4", "1")
    assert effect.difference == pytest.approx(-0.2, abs=0.02)
    assert completed(results[:4]) == results[:4]


def test_a_trial_without_a_nuisance_axis_has_its_own_setting() -> None:
    results = [result(0.5, 0, 0.001), result(0.6, 1, 0.001, learning_rate=0.001), result(0.2, 2, 0.5)]
    (grouped,) = group_results(results).values()
    assert [one.config["design"]["learning_rate"] for one in grouped] == ["0.001", "0.001", "configured"]


def test_a_nuisance_axis_with_one_value_is_a_setting() -> None:
    with pytest.raises(UserError, match=r"axes\.learning_rate has one value.*Set train\.learning_rate instead"):
        check({"name": "x", "task": "masa:d1", "axes": {"learning_rate": 0.001}})


def test_the_essential_design_has_neither_neutral_options_nor_nuisance_axes() -> None:
    assert essential(make_design(repeat=1, learning_rate=0.001)) == make_design()
    assert essential(make_design(repeat=4, lora_r=4)) == make_design(repeat=4)
