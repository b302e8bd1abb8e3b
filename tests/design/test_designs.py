"""Designs: made, named, parsed, labelled; the space of a task; options and axes from outside the package."""

from __future__ import annotations

import sys
import textwrap
from types import ModuleType

import pytest

from sde_ray.design import axes, designs
from sde_ray.design.axes import AXES, find_axis, find_option, load_axis
from sde_ray.design.render import completion_of, parse_completion, prompt_of, render_sample
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.testing.tasks import ENTITIES, ENTITY_EXAMPLES, REVIEW_EXAMPLES, REVIEWS
from sde_ray.types import Parsed


def test_table_of_axes():
    assert {axis.name: list(axis.options) for axis in AXES.values()} == {
        "instruction": ["first", "last", "none"],
        "input_modeling": ["off", "on"],
        "format": [
            "natural",
            "lines",
            "json",
            "pairs",
            "json_object",
            "inline",
            "inline_xml",
            "terse",
            "tool_call",
            "xml",
            "yaml",
            "code",
        ],
        "unmentioned": ["placeholder", "omit"],
        "labels": ["text", "number", "letter", "words"],
        "reasoning": ["none", "cot", "rcot", "rcot_cut", "think", "keywords"],
    }
    assert [axis.stage for axis in AXES.values()] == ["prompt", "prompt", "format", "answer", "answer", "answer"]
    swept = {name for axis in AXES.values() for name, option in axis.options.items() if option.swept}
    assert swept == {
        *("first", "last", "none", "off", "on", "natural", "lines", "json"),
        *("placeholder", "omit", "text", "number", "cot", "rcot"),
    }


def test_labels_are_the_papers_names():
    assert {name: designs.paper_label(design) for name, design in designs.NAMED.items()} == {
        "baseline": "Inst-last, No-MI, Natural, PU, TxtLabel, No-CoT",
        "es-sde": "Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT",
        "ew-sde": "Inst-last, No-MI, Natural, OU, TxtLabel, No-CoT",
        "heuristic": "Inst-first, No-MI, Pairs, OU, TxtLabel, No-CoT",
    }
    other = designs.make_design(
        instruction="none", input_modeling="on", format="json", labels="number", reasoning="rcot"
    )
    assert designs.paper_label(other) == "No-inst, MI, JSON, PU, NumLabel, R-CoT"
    assert ", JSON-object, " in designs.paper_label(designs.make_design(format="json_object"))


def test_parse_takes_names_slugs_and_mappings():
    wanted = designs.make_design(format="lines", instruction="first")
    for given in (
        "es-sde",
        "format=lines, instruction=first",
        wanted.slug,
        {"format": "lines", "instruction": "first"},
    ):
        assert designs.parse_design(given) == wanted
    assert designs.parse_design(wanted) is wanted
    assert (
        wanted.slug
        == "format=lines,input_modeling=off,instruction=first,labels=text,reasoning=none,unmentioned=placeholder"
    )


def test_yaml_truth_values_are_options():
    assert designs.make_design(input_modeling=True)["input_modeling"] == "on"
    assert design_space(REVIEWS, True, axes={"input_modeling": [False, True]}).axes["input_modeling"] == ("off", "on")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("es_sde", 'Unknown design "es_sde". Did you mean "es-sde"?'),
        ("", 'Unknown design "". Give one of baseline, es-sde, ew-sde, heuristic, or options'),
        ("formt=lines", 'Unknown axis "formt". Did you mean "format"? Known: augment, '),
        (
            "format=line",
            'Unknown option of format "line". Did you mean "lines"? Known: code, inline, inline_xml, json, ',
        ),
        ({"format": None}, 'Unknown option of format "None".'),
    ],
)
def test_unknown_designs_are_explained(given, message):
    with pytest.raises(UserError) as error:
        designs.parse_design(given)
    assert message in str(error.value)


def test_all_faults_of_a_design_are_told_at_once():
    with pytest.raises(UserError) as error:
        designs.make_design(format="line", reason="cot", labels="numbers")
    assert [
        part for part in ("3 faults", '"lines"?', '"reasoning"?', '"number"?') if part not in str(error.value)
    ] == []


# ---- the space -------------------------------------------------------------------------------------------------------


def test_space_of_a_label_task_is_the_papers_grid():
    space = design_space(REVIEWS, rationales=True)
    assert len(space.designs) == len(set(space.designs)) == 216 and space.pinned == {}
    assert space.axes["format"] == ("natural", "lines", "json") and designs.NAMED["baseline"] in space.designs


def test_axes_that_cannot_change_samples_are_pinned():
    space = design_space(ENTITIES, rationales=False)
    assert len(space.designs) == 3 * 2 * 3 * 2
    assert space.pinned == {
        "labels": "the answers of entities are not labels",
        "reasoning": "the examples of entities have no rationales",
    }
    # The reason is true: the pinned axis would only give the same samples under another name.
    for example in ENTITY_EXAMPLES:
        for base in space.designs:
            assert render_sample(example, ENTITIES, base) == render_sample(
                example, ENTITIES, base.replace(labels="number")
            )


def test_every_other_axis_changes_samples():
    example = REVIEW_EXAMPLES[1]
    base = designs.make_design()
    samples = {render_sample(example, REVIEWS, base)}
    for axis in AXES.values():
        for option in axis.options:
            if option != axis.default:
                samples.add(render_sample(example, REVIEWS, base.replace(**{axis.name: option})))
    as_lines = render_sample(example, REVIEWS, base.replace(format="lines"))
    assert as_lines == render_sample(example, REVIEWS, base.replace(format="yaml"))  # of plain labels they are the same
    assert len(samples) == sum(len(axis.options) - 1 for axis in AXES.values())


def test_space_can_be_narrowed_and_widened():
    space = design_space(REVIEWS, True, axes={"reasoning": ["none"], "format": ["lines", "pairs", "lines"]})
    assert space.pinned == {"reasoning": "fixed by the sweep"}
    assert space.axes["format"] == ("lines", "pairs") and len(space.designs) == 3 * 2 * 2 * 2 * 2
    assert design_space(ENTITIES, True, axes={"labels": ["number"]}).axes["labels"] == ("text",)


def test_faults_of_a_space_are_told_at_once():
    with pytest.raises(UserError) as error:
        design_space(REVIEWS, True, axes={"lables": ["text"], "format": [], "reasoning": ["cot", "rcott"]})
    assert [part for part in ('"labels"?', '"format" lists no option', '"rcot"?') if part not in str(error.value)] == []


# ---- from outside the package ----------------------------------------------------------------------------------------


def test_an_option_from_outside_keeps_the_law():
    space = design_space(REVIEWS, True, axes={"format": ["lines", "helpers.extra_axes:XML"]})
    assert len(space.designs) == 144
    ours = [design for design in space.designs if design["format"] == "helpers.extra_axes:XML"]
    for task, examples in ((REVIEWS, REVIEW_EXAMPLES), (ENTITIES, ENTITY_EXAMPLES)):
        for example in examples:
            for design in ours:
                completion = render_sample(example, task, design).completion.text
                assert parse_completion(completion, task, design) == Parsed(example.answer), completion
    assert designs.paper_label(ours[0]) == "Inst-first, No-MI, XML, PU, TxtLabel, No-CoT"
    assert designs.parse_design(ours[0].slug) == ours[0]
    parsed = parse_completion("<slot>food</slot><value>positive</value>\n<next/>\nbroken", REVIEWS, ours[0])
    assert [fault.kind for fault in parsed.faults] == ["syntax", "missing_slot", "missing_slot"]


def test_the_worked_example_of_the_docstring_works(monkeypatch):
    code = textwrap.dedent(axes.__doc__.split("my_axes.py`:\n")[1].split("is used as")[0])
    module = ModuleType("worked_example")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "worked_example", module)
    for design in design_space(REVIEWS, True, axes={"format": ["worked_example:ROWS"]}).designs:
        for task, examples in ((REVIEWS, REVIEW_EXAMPLES), (ENTITIES, ENTITY_EXAMPLES)):
            for example in examples:
                assert parse_completion(completion_of(example, task, design), task, design) == Parsed(example.answer)
    assert (
        parse_completion('["food"]', REVIEWS, designs.make_design(format="worked_example:ROWS")).faults[0].kind
        == "syntax"
    )


def test_an_option_from_outside_stands_in_the_prompt():
    design = designs.make_design(format="helpers.extra_axes:XML", unmentioned="omit")
    instruction = next(s.text for s in prompt_of("x", REVIEWS, design) if s.role == "instruction")
    assert "<slot>aspect 1</slot><value>sentiment</value>\n<next/>\n" in instruction
    assert "write: <none/>\n" in instruction


def test_axes_from_outside_join_the_space():
    space = design_space(
        REVIEWS,
        True,
        axes={
            "helpers.extra_axes:ORDER": ["task", "reversed"],
            "helpers.extra_axes:TONE": ["polite"],
            "format": ["lines"],
        },
    )
    assert len(space.designs) == 72 * 2
    design = designs.make_design(
        **{"format": "lines", "helpers.extra_axes:ORDER": "reversed", "helpers.extra_axes:TONE": "polite"}
    )
    assert design in [designs.make_design(**dict(one.options)) for one in space.designs]
    sample = render_sample(REVIEW_EXAMPLES[0], REVIEWS, design)
    assert sample.completion.text == "price: neutral\ndrinks: negative\nfood: positive"
    assert sample.prompt[-1].text == "\nThank you.\nOutput: "
    assert "Begin with the last aspect.\n" in sample.prompt[-2].text
    assert parse_completion(sample.completion.text, REVIEWS, design) == Parsed(REVIEW_EXAMPLES[0].answer)
    assert designs.paper_label(design).endswith("No-CoT, Reversed, Polite")
    assert load_axis("helpers.extra_axes:ORDER") is find_axis("helpers.extra_axes:ORDER")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:AXIS", 'Cannot import "no_such_module" for an axis "no_such_module:AXIS"'),
        ("helpers.extra_axes:ORDRE", 'Module "helpers.extra_axes" has no "ORDRE". Did you mean "ORDER"?'),
        (
            "helpers.extra_axes:NOT_AN_AXIS",
            '"helpers.extra_axes:NOT_AN_AXIS" is of type int, and an axis must be of type Axis.',
        ),
        ("extra_axes", '"extra_axes" is no import path of an axis. Write it as "my_pkg.my_module:NAME".'),
    ],
)
def test_wrong_import_paths_are_explained(path, message):
    with pytest.raises(UserError) as error:
        load_axis(path)
    assert message in str(error.value)


def test_an_option_must_be_of_its_axis_stage():
    with pytest.raises(
        UserError,
        match='"helpers.extra_axes:XML" is of type FormatOption, and an option of labels must be of type AnswerOption',
    ):
        find_option("labels", "helpers.extra_axes:XML")
