"""Axes beyond the paper's: in a design only where named, neutral at their default; each changes what it says alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sde_ray.config.load import load_config
from sde_ray.design.axes import AXES, OPTIONAL, without_neutral_options
from sde_ray.design.designs import make_design, paper_label, parse_design
from sde_ray.design.render import completion_of, parse_completion, prompt_of, render_sample
from sde_ray.design.space import design_for, design_space
from sde_ray.errors import UserError
from sde_ray.sweep.plan import plan
from sde_ray.tasks import get_task
from sde_ray.testing.axis_option import is_possible
from sde_ray.testing.tasks import ALL, ENTITIES, QUESTIONS, REVIEWS
from sde_ray.types import Example, Parsed, Task

MEANINGS = {"food": "What is eaten. Not drinks.", "positive": "praise", "wine": "is not asked for"}
DEFINED = replace(REVIEWS, definitions=MEANINGS)
TASKS = [*ALL, (DEFINED, [Example("a", "Nice soup.", {"food": ("positive",)})])]
OF_DECODING = ("decoding",)  # the axes that change no sample
OF_DECODING = ("decoding",)  # the axes that change no sample
OPTIONS = [(name, option) for name, axis in OPTIONAL.items() for option in axis.options if option != axis.default]


def instruction(task: Task, **options: str) -> str:
    prompt = prompt_of("a text", task, make_design(**options))
    return next(segment.text for segment in prompt if segment.role == "instruction")


@pytest.mark.parametrize("name", OPTIONAL)
def test_the_default_is_the_design_without_the_axis(name: str) -> None:
    axis = OPTIONAL[name]
    with_axis, without = make_design(**{name: axis.default}), make_design()
    assert without_neutral_options(dict(with_axis.options)) == dict(without.options)
    assert paper_label(with_axis) == paper_label(without)
    for task, examples in TASKS:
        for example in examples:
            assert render_sample(example, task, with_axis) == render_sample(example, task, without)


def test_a_sweep_that_names_none_has_none() -> None:
    assert {axis for design in design_space(REVIEWS, True).designs for axis, _ in design.options} == set(AXES)


@pytest.mark.parametrize(("name", "option"), [pair for pair in OPTIONS if pair[0] not in OF_DECODING])
def test_an_option_changes_the_samples_of_a_task_that_it_is_not_pinned_on(name: str, option: str) -> None:
    changed = 0
    for task, examples in TASKS:
        design = make_design(**{name: option})
        if OPTIONAL[name].pinned(task, True) or not is_possible(task, design):
            continue
        samples = [[render_sample(one, task, each) for one in examples] for each in (design, make_design())]
        changed += samples[0] != samples[1]
        if OPTIONAL[name].stage == "prompt":  # the writer is unchanged
            assert [one.completion for one in samples[0]] == [one.completion for one in samples[1]]
    assert changed


def test_the_form_is_described_shown_or_left_out() -> None:
    described = instruction(REVIEWS)
    assert described == (
        "Rate food, drinks, price of the review above: positive, negative, neutral, unmentioned.\n"
        "Form:\naspect 1: sentiment, aspect 2: sentiment, ..."
    )
    assert instruction(REVIEWS, form_in_prompt="none") == described.partition("\nForm")[0]
    assert instruction(REVIEWS, form_in_prompt="example") == (
        described.partition("\nForm")[0] + "\nFor example:\nfood: positive, drinks: unmentioned, price: neutral."
    )
    omitted = instruction(REVIEWS, form_in_prompt="none", unmentioned="omit", labels="number", reasoning="cot")
    assert omitted.splitlines()[1:] == ["Write positive as 1, negative as -1, neutral as 0."], "meaning, not form"


@pytest.mark.parametrize("format_name", AXES["format"].options)
def test_the_shown_answer_is_one_of_the_task(format_name: str) -> None:
    for task, _ in ALL:
        for absent in ("placeholder", "omit"):
            design = make_design(format=format_name, unmentioned=absent, form_in_prompt="example")
            if is_possible(task, design) and not OPTIONAL["form_in_prompt"].pinned(task, True):
                shown = instruction(task, **dict(design.options)).partition("For example:\n")[2]
                assert task.language == "zh" or parse_completion(shown, task, design).faults == ()


def test_definitions_say_what_words_mean_short_or_in_full() -> None:
    assert "\nMeanings:\n- food: What is eaten.\n- positive: praise\n- wine: is not asked for\n" in instruction(
        DEFINED, definitions="short"
    )
    assert "- food: What is eaten. Not drinks.\n" in instruction(DEFINED, definitions="guideline")
    pinned = design_space(REVIEWS, True, {"definitions": ["none", "short"]}).pinned
    assert pinned["definitions"] == "reviews defines neither slots nor labels"


def test_many_wordings_are_all_in_use_in_training_and_the_configured_one_at_inference() -> None:
    design, one = make_design(wordings="many"), make_design()
    samples = [render_sample(Example(str(n), "a text", {}), REVIEWS, design) for n in range(40)]
    assert {sample.prompt for sample in samples} == {prompt_of("a text", REVIEWS, one, n) for n in range(3)}
    assert samples == [render_sample(Example(str(n), "a text", {}), REVIEWS, design, 2) for n in range(40)]
    assert prompt_of("a text", REVIEWS, design, 1) == prompt_of("a text", REVIEWS, one, 1)
    alone = replace(REVIEWS, instructions=REVIEWS.instructions[:1])
    assert render_sample(Example("x", "a text", {}), alone, design) == render_sample(
        Example("x", "a text", {}), alone, one
    )
    assert "wordings" in design_space(alone, True, {"wordings": ["one", "many"]}).pinned


def test_the_order_of_lines_is_fixed_shuffled_or_that_of_the_text() -> None:
    text = "RNA-7 then IL-2 then p65."
    example = Example("x", text, {"DNA": ("p65", "IL-2"), "RNA": ("RNA-7",)})
    written = {
        option: completion_of(example, ENTITIES, make_design(order=option)) for option in OPTIONAL["order"].options
    }
    assert written["fixed"] == "DNA: p65, IL-2; RNA: RNA-7; protein: none."
    assert written["text"] == "RNA: RNA-7; DNA: IL-2, p65; protein: none."
    orders = [completion_of(replace(example, id=str(n)), ENTITIES, make_design(order="shuffled")) for n in range(30)]
    assert len(set(orders)) == 6 and {len(order) for order in orders} == {len(written["fixed"])}
    assert "order=text" in design_space(REVIEWS, True, {"order": ["fixed", "text"]}).dropped
    assert design_space(QUESTIONS, True, {"order": ["fixed", "shuffled"]}).pinned["order"] == "questions has one field"


def test_without_an_instruction_nothing_of_it_is_varied() -> None:
    axes = {"instruction": ["last", "none"], "form_in_prompt": ["described", "none"], "wordings": ["one", "many"]}
    axes |= {name: [AXES[name].default] for name in AXES if name != "instruction"}
    space = design_space(REVIEWS, True, axes)
    assert len(space.designs) == 5, "four with an instruction, one without"
    assert list(space.dropped) == ["3 designs with instruction=none"]


def test_a_format_for_spans_is_not_tried_on_labels() -> None:
    space = design_space(REVIEWS, True, {"format": ["lines", "inline"]})
    assert space.axes["format"] == ("lines",)
    assert space.dropped == {"format=inline": "the answers of reviews are no words of the text"}
    alone = design_space(REVIEWS, True, {"format": ["inline"]})
    assert alone.axes["format"] == ("natural",) and "no words of the text" in alone.pinned["format"]


def test_a_listed_design_that_the_task_cannot_have_is_refused(tmp_path: Path) -> None:
    sweep = tmp_path / "x.yaml"
    sweep.write_text("name: x\ntask: masa:d1\nmodel: tiny\ndesigns: [baseline, format=inline]\n")
    with pytest.raises(UserError, match="format=inline.*masa:d1.*no words of the text"):
        plan(load_config(sweep))
    both = plan(load_config(sweep, ["task=[masa:d1,nested_ner]"]))
    assert ("design format=inline on masa:d1", "the answers of masa:d1 are no words of the text") in both.dropped
    assert {(trial.task, trial.design["format"]) for trial in both.trials} == {
        ("masa:d1", "natural"), ("nested_ner", "natural"), ("nested_ner", "inline"),
    }  # fmt: skip


def test_a_design_is_fitted_to_a_task_that_cannot_have_it() -> None:
    design = make_design(format="inline", labels="number", reasoning="cot", order="text")
    assert design_for(REVIEWS, design) == make_design(labels="number", reasoning="cot", order="fixed")
    assert design_for(ENTITIES, design) == make_design(format="inline", order="text")


def test_axes_may_be_named_in_any_order() -> None:
    slug = "order=shuffled,form_in_prompt=none,format=lines"
    assert parse_design(slug) == make_design(form_in_prompt="none", format="lines", order="shuffled")
    assert [axis for axis, _ in parse_design(slug).options][-2:] == ["form_in_prompt", "order"]


# ---- inline ----------------------------------------------------------------------------------------------------------

INLINE = {"format": "inline", "unmentioned": "omit"}
TEXT = "The IL-2 gene and NF-kappa B p65 [sic] bind."


@pytest.mark.parametrize(
    ("options", "answer", "completion"),
    [
        ({}, {}, r"The IL-2 gene and NF-kappa B p65 \[sic\] bind."),
        ({}, {"DNA": ("IL-2 gene",), "protein": ("IL-2", "p65")},
         r"The [[IL-2 | protein] gene | DNA] and NF-kappa B [p65 | protein] \[sic\] bind."),
        ({"format": "inline_xml"}, {"DNA": ("IL-2 gene",), "protein": ("IL-2",)},
         "The <DNA><protein>IL-2</protein> gene</DNA> and NF-kappa B p65 [sic] bind."),
        ({}, {"DNA": ("in",)}, r"The IL-2 gene and NF-kappa B p65 \[sic\] b[in | DNA]d."),
        ({}, {"DNA": ("gene and",), "RNA": ("and NF",)},  # they cross
         r"The IL-2 [gene and | DNA] NF-kappa B p65 \[sic\] bind." + "\n---\nRNA: and NF"),
        ({"unmentioned": "placeholder"}, {"DNA": ("p65",), "RNA": ("p50",)},
         r"The IL-2 gene and NF-kappa B [p65 | DNA] \[sic\] bind." + "\n---\nRNA: p50\nprotein: none"),
        ({"reasoning": "cot"}, {"DNA": ("p65",)},
         "DNA: a: gene\n---\n".replace("a: gene", '"a: gene"')
         + r"The IL-2 gene and NF-kappa B [p65 | DNA] \[sic\] bind."),
        ({"reasoning": "rcot"}, {"DNA": ("p65",)},
         r"The IL-2 gene and NF-kappa B [p65 | DNA] \[sic\] bind." + '\n---\nDNA: "a: gene"'),
    ],
)  # fmt: skip
def test_spans_are_marked_where_they_stand(
    options: dict[str, str], answer: dict[str, tuple[str, ...]], completion: str
):
    design = make_design(**{**INLINE, **options})
    example = Example("x", TEXT, answer, {"DNA": "a: gene"} if "reasoning" in options else {})
    assert completion_of(example, ENTITIES, design) == completion
    assert parse_completion(completion, ENTITIES, design, TEXT) == Parsed(answer)


def test_a_value_that_is_named_twice_is_marked_twice() -> None:
    example = Example("x", "p65, p65 and p65", {"DNA": ("p65", "p65")})
    completion = completion_of(example, ENTITIES, make_design(**INLINE))
    assert completion == "[p65 | DNA], [p65 | DNA] and p65"
    assert parse_completion(completion, ENTITIES, make_design(**INLINE), example.text) == Parsed(example.answer)


@pytest.mark.parametrize(
    ("options", "completion", "answer", "kinds"),
    [
        ({}, "a [b | DNA] c", {"DNA": ("b",)}, []),
        ({}, "a [b | DNA] d", {"DNA": ("b",)}, ["copy_error"]),
        ({}, "a b", {}, ["copy_error"]),
        ({}, "a [b] c", {}, ["syntax"]),
        ({}, "a [b | DNA c", {}, ["syntax"]),
        ({}, "a b | DNA] c", {}, ["syntax"]),
        ({}, "a [b | cell] c", {}, ["unknown_slot"]),
        ({}, "a b c\n---\nDNA: none", {}, ["unexpected_placeholder"]),
        ({}, "a b c\n---\nDNA: x\n---\nRNA: y", {"DNA": ("x",)}, ["syntax"]),
        ({"unmentioned": "placeholder"}, "a [b | DNA] c\n---\nDNA: none\nRNA: none", {"DNA": ("b",)},
         ["missing_slot", "syntax"]),
        ({"format": "inline_xml"}, "a <DNA>b</RNA> c", {}, ["syntax", "syntax"]),
        ({"format": "inline_xml"}, "a <DNA>b</DNA> c", {"DNA": ("b",)}, []),
        ({"format": "inline_xml"}, "a <b c", {}, ["syntax"]),
        ({"reasoning": "cot"}, "a [b | DNA] c", {"DNA": ("b",)}, ["missing_rationale"]),
    ],
)  # fmt: skip
def test_departures_of_marked_texts_are_faults(options, completion, answer, kinds) -> None:
    parsed = parse_completion(completion, ENTITIES, make_design(**{**INLINE, **options}), "a b c")
    assert (dict(parsed.answer), sorted(fault.kind for fault in parsed.faults)) == (answer, kinds)


@pytest.mark.parametrize("text", ["[" * 5000 + "x" * 5000 + " | DNA]" * 5000, "<DNA>" * 5000 + "x" * 5000])
def test_deep_marks_are_read_in_little_time_and_space(text: str) -> None:
    for name in ("inline", "inline_xml"):
        parsed = parse_completion(text, ENTITIES, make_design(format=name), "x")
        assert parsed.faults and sum(map(len, parsed.answer.get("DNA", ()))) < 1_000_000


def test_the_bundled_entities_all_stand_in_their_texts() -> None:
    task, design = get_task("nested_ner"), make_design(**INLINE)
    completions = [completion_of(example, task, design) for example in task.load("dev")]
    assert completions and not any("\n---\n" in completion for completion in completions)
