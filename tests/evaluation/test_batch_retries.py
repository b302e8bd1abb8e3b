"""What a batch leaves out is asked again alone: which prompts, which answers, and what the trial keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sde_ray import metrics
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.data.batches import join_texts, split_texts
from sde_ray.design import designs
from sde_ray.design.render import completion_of, prompt_of
from sde_ray.evaluation.batch_retries import ask_again, parse_answers
from sde_ray.evaluation.per_item import read_items
from sde_ray.evaluation.rescore import score_run
from sde_ray.models.base import load_tokenizer
from sde_ray.models.predictor import Predictor, prediction_rows
from sde_ray.models.tokenization import Encoder
from sde_ray.pipeline.prompting.measurement import measurements
from sde_ray.pipeline.prompting.run import _UntunedModel
from sde_ray.storage.layout import TRIALS
from sde_ray.tasks import get_task
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import make_runner
from sde_ray.types import Example, Fault, Parsed

TASK = get_task("errors:batch=3")
EXAMPLES = TASK.load("dev")[:2]
BASE = designs.make_design()
CONFIG = TrialConfig(TASK.name, BASE, "tiny", 1, 4, 2)
WHOLE = completion_of(EXAMPLES[1], TASK, BASE)


def gold(number: str, index: int = 0) -> str:
    return EXAMPLES[index].answer[number][0]


def test_only_what_is_missing_is_asked_again_alone():
    asked = []

    def decode(prompts):
        asked.extend(prompts)
        return [f"1: {gold('2')}, 2: not asked, 3: not asked." for _ in prompts], 7

    text = f"1: {gold('1')}, 3: {gold('3')}."
    (texts,), num_tokens = ask_again([(TASK, EXAMPLES, [text, WHOLE])], BASE, 0, decode)
    alone = join_texts([split_texts(EXAMPLES[0].text)["2"]])
    assert asked == [(f"{EXAMPLES[0].id}#2", prompt_of(alone, TASK, BASE))] and num_tokens == 7
    assert list(texts) == [EXAMPLES[0].id, EXAMPLES[1].id, f"{EXAMPLES[0].id}#2"]
    parsed = parse_answers(texts, EXAMPLES[0], TASK, BASE)
    assert parsed == Parsed(parsed.answer, (Fault("missing_slot", "2"),)) and parsed.answer == EXAMPLES[0].answer
    assert parse_answers(texts, EXAMPLES[1], TASK, BASE) == Parsed(EXAMPLES[1].answer)


@pytest.mark.parametrize("reply", ["", "no idea", "2: yes.", "1: perhaps."])
def test_a_retry_without_an_answer_is_no_no(reply):
    text = f"1: {gold('1')}, 3: {gold('3')}."
    (texts,), _ = ask_again([(TASK, EXAMPLES[:1], [text])], BASE, 0, lambda prompts: ([reply] * len(prompts), 1))
    assert "2" not in parse_answers(texts, EXAMPLES[0], TASK, BASE).answer


def test_nothing_is_asked_where_nothing_is_missing():
    def decode(prompts):
        raise AssertionError(prompts)

    single = get_task("errors")
    one = single.load("dev")[0]
    parts = [(TASK, EXAMPLES[1:], [WHOLE]), (single, [one], [""])]
    assert ask_again(parts, BASE, 0, decode) == ([{EXAMPLES[1].id: WHOLE}, {one.id: ""}], 0)


def test_in_every_design_a_question_without_an_answer_is_a_fault():
    omit = designs.make_design(unmentioned="omit")
    short = {EXAMPLES[0].id: "1: yes, 3: no."}
    assert parse_answers(short, EXAMPLES[0], TASK, omit).faults == (Fault("missing_slot", "2"),)
    assert parse_answers(short, EXAMPLES[0], TASK, BASE).faults == (Fault("missing_slot", "2"),)
    refused = {EXAMPLES[0].id: "1: yes, 2: not asked, 3: no."}
    assert parse_answers(refused, EXAMPLES[0], TASK, BASE).faults == (Fault("unexpected_placeholder", "2"),)
    unknown = {EXAMPLES[0].id: "1: yes, 2: perhaps, 3: no."}
    assert [fault.kind for fault in parse_answers(unknown, EXAMPLES[0], TASK, BASE).faults] == ["unknown_label"]
    assert parse_answers({EXAMPLES[0].id: ""}, EXAMPLES[0], TASK, BASE) == Parsed({}, (Fault("empty"),))


def test_of_a_partial_batch_only_its_instances_are_missed():
    instances = split_texts(EXAMPLES[0].text)
    text = join_texts([instances["1"], instances["2"]])
    partial = replace(EXAMPLES[0], text=text, answer={"1": ("yes",), "2": ("no",)})
    assert parse_answers({partial.id: "1: yes, 2: no, 3: not asked."}, partial, TASK, BASE) == Parsed(partial.answer)


@pytest.mark.parametrize("form", ["natural", "lines", "json", "json_object"])
def test_numbers_out_of_range_or_twice_are_counted_and_answer_nothing(form):
    """In every form: the first answer to a number counts, and no other number's answer does."""
    design = BASE.replace(format=form)
    five = get_task("errors:batch=5")
    by_slot = {number: EXAMPLES[0].answer[number] for number in "123"}
    beyond = completion_of(Example("x", "", {**by_slot, "4": ("yes",), "5": ("no",)}), five, design)
    parsed = parse_answers({EXAMPLES[0].id: beyond}, EXAMPLES[0], TASK, design)
    assert parsed == Parsed(by_slot, (Fault("unknown_slot", "4"), Fault("unknown_slot", "5")))
    twice = (
        beyond.replace("4", "2").replace("5", "2")
        if form != "json_object"
        else beyond.replace('"4"', '"2"').replace('"5"', '"2"')
    )
    parsed = parse_answers({EXAMPLES[0].id: twice}, EXAMPLES[0], TASK, design)
    assert parsed.answer == by_slot and {fault.kind for fault in parsed.faults} == {"repeated_slot"}
    partial = Example("x", join_texts([split_texts(EXAMPLES[0].text)["1"]]), {"1": by_slot["1"]})
    whole = {"x": completion_of(EXAMPLES[0], TASK, design)}
    assert parse_answers(whole, partial, TASK, design) == Parsed(
        partial.answer, (Fault("unknown_slot", "2"), Fault("unknown_slot", "3"))
    )


def leaves_two_out(prompts, *_, **__):
    """A planted model: of several instances it leaves the second out, and alone it answers it."""
    written = ["".join(segment.text for segment in prompt) for _, prompt in prompts]
    several = "1: yes, 3: no."
    return [several if "\n3:\n" in text.rpartition("Example")[2] else "1: yes." for text in written], len(prompts)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(load_tokenizer("tiny"), 4096)


def test_trials_predict_and_the_prompting_study_ask_the_same_again(encoder):
    """Law: whoever asks, a number that was left out is asked again and counted, and the answers are the same."""
    (of_trial,), _ = ask_again(
        [(TASK, EXAMPLES, leaves_two_out([(one.id, prompt_of(one.text, TASK, BASE)) for one in EXAMPLES])[0])],
        BASE, 0, leaves_two_out,
    )  # fmt: skip
    answers = [parse_answers(of_trial, example, TASK, BASE) for example in EXAMPLES]
    assert [one.answer for one in answers] == [{"1": ("yes",), "2": ("yes",), "3": ("no",)}] * 2
    decoder = SimpleNamespace(generate=leaves_two_out, encoder=encoder)

    predictor = object.__new__(Predictor)
    predictor.task, predictor.design, predictor._decoder = TASK, BASE, decoder
    predictor.card = SimpleNamespace(instruction_variant=0, max_new_tokens=9, demonstrations=())
    texts = [example.text for example in EXAMPLES]
    assert [parsed for parsed, _ in predictor.predict(texts)] == answers
    (row, _) = prediction_rows(texts, predictor.answer(texts))
    assert (row["completion"], row["faults"], row["retries"]) == ("1: yes, 3: no.", ["missing_slot"], {"2": "1: yes."})

    study = object.__new__(_UntunedModel)
    study.decoder, study.rows, study.max_new_tokens, study.blank_line = decoder, 8, 9, []
    config = SweepConfig(name="x", task=TASK.name)
    (measured,) = measurements(config, TASK, "tiny", [BASE], EXAMPLES, TASK.load("train")[:1], (0, 1))
    for shots in (0, 1):
        values = study._score(measured, shots)
        assert values["score"] == metrics.score(TASK, EXAMPLES, answers)[TASK.objective]
        assert (values["retries"], values["adherence"], values["fewer"]) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("text", ["", "no batch", "7:\nx", "1:\nx\n7:\ny"])
def test_a_text_that_is_no_whole_batch_is_asked_for_what_it_has(text):
    """Anybody's text may be given to `sde-ray predict`: numbers that the task has not are not asked for."""
    example = Example("text 1", text, {})
    (texts,), _ = ask_again([(TASK, [example], [""])], BASE, 0, leaves_two_out)
    assert set(texts) == {"text 1", *(["text 1#1"] if text.startswith("1:") else [])}
    assert {*parse_answers(texts, example, TASK, BASE).answer} == ({"1"} if text.startswith("1:") else set())


def test_a_text_without_numbers_is_predicted_as_the_only_instance():
    predictor = object.__new__(Predictor)
    predictor.task, predictor.design, asked = TASK, BASE, []
    predictor.card = SimpleNamespace(instruction_variant=0, max_new_tokens=9, demonstrations=())
    predictor._decoder = SimpleNamespace(
        generate=lambda prompts, **_: (asked.extend(prompts) or ["1: no."] * len(prompts), 1)
    )
    (answered,) = predictor.answer(["[city: x]\nCell: [city: x]"])
    assert answered.parsed.answer == {"1": ("no",)} and answered.retries == {}
    assert [prompt[0].text for _, prompt in asked] == ["1:\n[city: x]\nCell: [city: x]"]


@pytest.mark.slow
def test_a_trial_keeps_its_retries_and_is_scored_again_the_same(tmp_path: Path):
    """A base that has not learned leaves numbers out; all its completions are on disk, and every reader agrees."""
    train = Train(learning_rate=1e-3, train_batch_size=4)
    config = replace(CONFIG, train=train, eval_size=4)
    runner = make_runner(RunnerResources())
    folder = tmp_path / TRIALS / config.key
    runner.start(config, folder)
    runner.train_rung(0)
    result = runner.finish()
    runner.close()
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    retries = [line["id"] for line in lines if "#" in line["id"]]
    assert len(lines) - len(retries) == 4 and retries
    assert 0 < result.tokens["retries"] < result.tokens["output"]
    (scored,) = score_run(tmp_path)
    assert scored.scores == result.scores
    items = read_items(result, folder, "dev", "f1")
    assert items.parts[0].measure(items.parts[0].rows.sum(axis=0)) == pytest.approx(result.scores["dev"]["f1"])
