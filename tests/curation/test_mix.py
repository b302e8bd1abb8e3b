"""Mixing: nested shares of another task's samples, equal in samples or in tokens, in that task's own prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.config.curation import Curation, Mix
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.curation.mix import nearest_prefix
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.design.render import parse_completion, render_sample
from sde_ray.design.space import design_for
from sde_ray.errors import UserError
from sde_ray.sweep.curation import carried_out
from sde_ray.tasks import get_task
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.types import Sample

ONE = {"instruction": "last", "input_modeling": "off", "format": "lines", "unmentioned": "omit", "labels": "text"}


def trial(share: float, task: str = "masa:d2", equal: Any = "samples", size: int = 40, **options: str) -> TrialConfig:
    config = TrialConfig("masa:d1", make_design(**options, mix=share), "tiny", 3, size, 20)
    return carried_out(replace(config, curation=Curation(mix=Mix(task=task, equal=equal))))


class Counting:
    """Workers that count a sample's words as its tokens."""

    def call(self, method: str, config: TrialConfig, samples: Sequence[Sample]) -> list[list[int]]:
        assert method == "count_tokens"
        return [[words(sample) for sample in samples]]


def words(sample: Sample) -> int:
    return sum(len(segment.text.split()) for segment in (*sample.prompt, sample.completion))


def mixed(config: TrialConfig, folder: Path) -> tuple[list[Sample], list[Sample], dict[str, float]]:
    """The samples of the trial's own task and the others, and what was counted."""
    train = get_task("masa:d1").load("train")
    drawn = draw(train, config.train_size, config.seed)
    preparation = Preparation(config, folder, Counting(), drawn, methods_of(config))  # type: ignore[arg-type]
    samples = preparation.run()
    plain = {sample.id: sample for sample in preparation.render(drawn)}
    own = [sample for sample in samples if plain.get(sample.id) == sample]
    assert own == samples[: len(own)] == list(plain.values())[: len(own)]
    return own, samples[len(own) :], preparation.counts


@pytest.mark.parametrize("equal", ["samples", "tokens"])
def test_draws_are_nested_and_the_total_stays(equal: str, tmp_path: Path) -> None:
    shares = (0.1, 0.25, 0.5, 0.75, 1)
    parts = [mixed(trial(share, equal=equal), tmp_path) for share in shares]
    for (own, others, _), (less, more, _) in pairwise(parts):
        assert less == own[: len(less)] and len(less) < len(own)
        assert others == more[: len(others)] and len(others) < len(more)
    plain = draw(get_task("masa:d1").load("train"), 40, 3)
    drawn = [render_sample(one, get_task("masa:d1"), make_design()) for one in plain]
    for share, (own, others, counts) in zip(shares, parts, strict=True):
        assert counts == {
            "mix/own_samples": len(own),
            "mix/own_tokens": sum(map(words, own)),
            "mix/mixed_samples": len(others),
            "mix/mixed_tokens": sum(map(words, others)),
            "samples": len(own) + len(others),
        }
        if equal == "samples":
            assert (len(own), len(others)) == (40 - round(share * 40), round(share * 40))
        else:
            total, half = sum(map(words, drawn)), max(map(words, [*drawn, *others])) / 2
            assert abs(counts["mix/own_tokens"] - (1 - share) * total) <= half
            assert abs(counts["mix/mixed_tokens"] - share * total) <= half


@pytest.mark.parametrize("name", ["masa:d2", "nested_ner", "events", "qa"])
def test_any_task_is_written_in_its_own_prompt(name: str, tmp_path: Path) -> None:
    """And in the trial's design, where it can have it; what is written reads back in the other task's form."""
    other = get_task(name)
    train = {one.id: one for one in other.load("train")}
    config = trial(0.25, task=name, size=16, format="json", labels="number", reasoning="cot")
    _, others, _ = mixed(config, tmp_path)
    assert len(others) == 4
    design = design_for(other, config.design)
    assert design["format"] == "json" and design["instruction"] == config.design["instruction"]
    assert (design["reasoning"] == "cot") == other.has_rationales
    assert (design["labels"] == "number") <= (other.kind == "label")
    for sample in others:
        assert sample == render_sample(train[sample.id], other, design)
        assert parse_completion(sample.completion.text, other, design).answer == train[sample.id].answer


@pytest.mark.parametrize(
    ("sizes", "budget", "count"), [([], 5, 0), ([4, 4, 4], 0, 0), ([4, 4, 4], 5, 1), ([4, 4], 6, 1), ([4, 4], 99, 2)]
)
def test_the_nearest_prefix(sizes: list[int], budget: float, count: int) -> None:
    assert nearest_prefix(sizes, budget) == count


def test_the_other_tasks_data_are_in_the_key_and_scores_are_of_the_own_task() -> None:
    d2, qa = trial(0.5), trial(0.5, task="qa")
    plain = replace(d2, design=make_design(), data="")
    assert len({d2.key, qa.key, trial(0.5, equal="tokens").key, plain.key}) == 4
    assert d2.tasks_read == ("masa:d2",) and d2.data != qa.data
    assert d2.task == "masa:d1" and d2.out_of_domain == ()
    assert d2.resolved()["curation"] == {"mix": {"task": "masa:d2", "equal": "samples"}}


def sweep(task: str, shares: list[float], **values: Any) -> Any:
    axes = {**ONE, "reasoning": "none", "mix": shares}
    return plan_of(axes=axes, curation={"mix": {"task": task}}, **values)


@pytest.mark.parametrize(
    ("task", "share", "message"),
    [
        ("", 0.5, "mix has no source. Set curation.mix.task"),
        ("masa", 0.5, "curation.mix.task is masa:d1, the sweep's own task"),
        ("masa:d3", 0.5, 'Unknown task "masa:d3".'),
        ("masa:d2", 0.01, "mix=0.01 of 40 samples mixes in none. Set mix to 0.025 or more."),
    ],
)
def test_a_source_that_cannot_be_is_told_by_the_plan(task: str, share: float, message: str) -> None:
    with pytest.raises(UserError) as error:
        sweep(task, [0, share])
    assert message in str(error.value)


@pytest.mark.parametrize("share", [1.1, -0.1, "half"])
def test_a_share_is_a_number_of_0_to_1(share: Any) -> None:
    with pytest.raises(UserError, match="is no option of mix. Expected a number of 0 or more, at most 1"):
        check({"name": "x", "task": "masa:d1", "axes": {"mix": [share]}})


def test_too_small_a_source_and_one_that_holds_scored_items_are_refused(tmp_path: Path) -> None:
    few = written(tmp_path / "few.jsonl", [(f"soup number {n}", "food") for n in range(15)])
    with pytest.raises(UserError, match=r"takes 20 samples of .*few.jsonl, whose train split has 1?\d\."):
        sweep(few, [0.5])
    scored = [(one.text, "food") for one in get_task("masa:d1").load("dev")[:9]]
    leaking = written(tmp_path / "leaking.jsonl", scored + [(f"soup number {n}", "food") for n in range(40)])
    with pytest.raises(UserError, match=r"[1-9] train texts of .*leaking.jsonl are items of masa:d1's dev or test"):
        sweep(leaking, [0.25])


def written(path: Path, rows: list[tuple[str, str]]) -> str:
    """The name of `masa:d1` on data of one's own."""
    import json

    lines = [
        json.dumps({"id": str(n), "text": text, "answer": {slot: "positive"}}) for n, (text, slot) in enumerate(rows)
    ]
    path.write_text("".join(line + "\n" for line in lines))
    return f"masa:d1@{path}"


def test_the_plan_says_what_the_other_task_cannot_have() -> None:
    notes = "\n".join(plan_of(axes={**ONE, "labels": "number", "reasoning": "none", "mix": [0.5]},
                              curation={"mix": {"task": "qa"}}).curation)  # fmt: skip
    assert "mix: samples of qa in place of masa:d1's" in notes
    assert "answers of another kind: free, en; here label, en" in notes
    assert "qa cannot have every option of every design; its samples then have labels=text" in notes
