"""The axis `memory_level`: facts of one level, equal by relation, nested, the same numbers for all levels."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import run_trial

from sde_ray.config.load import check
from sde_ray.config.memory_file import MISSING
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.curation.memory.memory_level import MemoryLevel, in_turn
from sde_ray.data.facts import relation_of
from sde_ray.errors import UserError
from sde_ray.sweep.plan import plan
from sde_ray.tasks.trial_task import trial_examples
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation as TrialPreparation
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example, Sample

LEVELS = [0, 1, 2, 3, 4]
COUNTS = {"P17": 8, "P19": 8, "P36": 3}  # training facts of each level, by relation; D4 has no P36


def level_of(relation: str, number: int) -> int:
    return number % 5 if relation != "P36" else number % 4


def write_levels(path: Path, model: str = "tiny", **changes: int) -> None:
    facts: dict[str, Any] = {}
    for relation, count in COUNTS.items():
        for n in range(count * 5 if relation != "P36" else count * 4):
            name = f"{relation}.train:{n + 1}"
            level = changes.get(name.replace(".", "_").replace(":", "_"), level_of(relation, n))
            facts[name] = {"split": "train", "level": {"words": level, "substring": 0}}
    facts["P17.dev:1"] = {"split": "dev", "level": {"words": 0, "substring": 0}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model": model, "facts": facts, "splits": {}, "findings": {}}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Facts of three relations with their levels measured, and one more fact of each that is not."""
    for split, extra in (("train", 0), ("dev", 10_000), ("test", 20_000)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for relation, count in COUNTS.items():
            numbers = range((count * 5 if relation != "P36" else count * 4) + 1) if split == "train" else range(4)
            rows = [{"question": f"Where is {relation} {n + extra}?", "answers": [f"town {n}"]} for n in numbers]
            (tmp_path / "data" / split / f"{relation}.{split}.json").write_text(json.dumps(rows))
    write_levels(tmp_path / "runs" / "facts" / "memory.json")
    return tmp_path


def sweep(folder: Path, **values: Any) -> SweepConfig:
    task = {
        "name": "places",
        "kind": "free",
        "slots": ["answer"],
        "nouns": {"text": "question", "slot": "field"},
        "data": {"format": "entityquestions", "path": str(folder / "data")},
    }
    axes = {"instruction": "last", "input_modeling": "off", "format": "natural", "unmentioned": "placeholder"}
    whole = {
        "name": "facts", "task": task, "model": "tiny", "train_sizes": 6, "eval_size": 4,
        "storage_path": str(folder / "runs"), "axes": {**axes, "memory_level": ["any", *LEVELS]},
        "search": {"method": "grid", "points_to_evaluate": []}, "train": {"learning_rate": 0.01, "train_batch_size": 4},
        "generation": {"max_new_tokens": 3}, **values,
    }  # fmt: skip
    return check(whole)


def trials(folder: Path, **values: Any) -> dict[str, TrialConfig]:
    """Trials by option; the last training size of several."""
    return {one.design["memory_level"]: one for one in plan(sweep(folder, **values)).trials}


class Preparation:
    """What the method takes of a trial's preparation."""

    def __init__(self, pool: Sequence[Example]) -> None:
        self.pool, self.counts = lambda: list(pool), dict[str, float]()

    def count(self, name: str, number: float) -> None:
        self.counts[name] = number


def drawn(config: TrialConfig) -> tuple[list[Example], MemoryLevel, dict[str, float]]:
    (method,) = methods_of(config)
    assert isinstance(method, MemoryLevel)
    preparation: Any = Preparation(trial_examples(config.task, "train", config.definition))
    return list(method.examples([], preparation)), method, preparation.counts


class Counting:
    """Workers that count one token a sample."""

    def call(self, method: str, config: TrialConfig, samples: Sequence[Sample]) -> list[list[int]]:
        return [[1] * len(samples)]


def written(config: TrialConfig, folder: Path) -> list[Sample]:
    """The samples that a trial trains on."""
    return TrialPreparation(config, folder, Counting(), [], methods_of(config)).run()  # type: ignore[arg-type]


def relations(examples: Sequence[Example]) -> Counter[str]:
    return Counter(relation_of(one.id) for one in examples)


# ---- the draw --------------------------------------------------------------------------------------------------------


def test_facts_of_one_level_equal_by_relation_and_the_same_numbers_for_all_levels(folder: Path) -> None:
    options = trials(folder, train_sizes=[9])
    compositions = {}
    for level in LEVELS:
        examples, _, counts = drawn(options[str(level)])
        for one in examples:
            relation, number = one.id.split(".train:")
            assert level_of(relation, int(number) - 1) == level
        assert len({one.id for one in examples}) == 9
        compositions[level] = relations(examples)
        assert counts == {f"D{level}": 9, "relations": 2 if level == 4 else 3}
    assert all(compositions[level] == {"P17": 3, "P19": 3, "P36": 3} for level in (0, 1, 2, 3))
    assert sorted(compositions[4].values()) == [4, 5]  # D4 has no P36, so the others take its turns
    axes = {**sweep(folder).axes, "memory_level": [0]}
    whole, _, _ = drawn(trials(folder, axes=axes, train_sizes=[19])["0"])
    assert relations(whole) == {"P17": 8, "P19": 8, "P36": 3}


def test_a_smaller_draw_is_part_of_a_larger_and_seeds_differ(folder: Path) -> None:
    for option in ("2", "mixed"):
        axes = {**sweep(folder).axes, "memory_level": [option]}
        ids = {
            (one.train_size, one.seed): [e.id for e in drawn(one)[0]]
            for one in plan(sweep(folder, axes=axes, train_sizes=[5, 15], seeds=[0, 1])).trials
        }
        assert ids[5, 0] == ids[15, 0][:5] and ids[5, 1] == ids[15, 1][:5]
        assert ids[15, 0] != ids[15, 1]


def test_mixed_has_every_level_alike_and_divided_the_same_facts(folder: Path) -> None:
    axes = {**sweep(folder).axes, "memory_level": ["mixed", "divided"]}
    options = trials(folder, axes=axes, train_sizes=[15])
    mixed, _, counts = drawn(options["mixed"])
    divided, method, _ = drawn(options["divided"])
    assert {f"D{level}": 3 for level in LEVELS} == {name: n for name, n in counts.items() if name != "relations"}
    assert mixed == divided
    plain = [(7, 1, 4, 0), (2, 9, 11, 3), (5, 6, 8, 10), (12, 13, 14, 2), (0, 1)]
    steps = method.steps(plain, [None] * 15)  # type: ignore[list-item]
    assert list(map(len, steps)) == list(map(len, plain))
    order = [index for step in steps for index in step]
    assert sorted(order[:15]) == list(range(15)) and sorted(order[15:]) == [0, 1, 2]
    levels = [method.prepared[index] for index in order]
    assert levels[:15] == sorted(levels[:15], reverse=True) and levels[15:] == sorted(levels[15:], reverse=True)
    assert drawn(options["mixed"])[1].steps(plain, []) == plain


def test_groups_in_turn() -> None:
    letters = [Example(name, "text", {}) for name in "abcdef"]
    assert [one.id for one in in_turn([letters[:3], letters[3:4], letters[4:]])] == ["a", "d", "e", "b", "f", "c"]


# ---- keys, faults, trust ---------------------------------------------------------------------------------------------


def test_the_key_is_of_the_levels_not_of_where_they_are(folder: Path) -> None:
    here = trials(folder)
    path = folder / "runs" / "facts" / "memory.json"
    moved = folder / "elsewhere.json"
    shutil.copy(path, moved)
    there = trials(folder, curation={"memory_level": {"levels": str(moved)}})
    assert {option: one.key for option, one in here.items()} == {option: one.key for option, one in there.items()}
    assert str(folder) not in json.dumps(here["2"].resolved()["curation"])
    write_levels(path, P17_train_1=3)
    other = trials(folder)
    assert other["any"].key == here["any"].key and other["2"].key != here["2"].key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_sizes": [20]}, "memory_level=0 of tiny has 19 training facts, but train_sizes asks for 20."),
        ({"curation": {"memory_level": {"rule": "substring"}}}, "memory_level=1 of tiny has no training fact: of"),
        ({"name": "other"}, "There are no memory levels at"),
    ],
)
def test_a_plan_says_which_level_lacks_facts(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        plan(sweep(folder, **values))
    assert message in str(error.value) and "sde-ray memory SWEEP.yaml" in str(error.value)


def test_levels_of_another_model_or_none_are_refused(folder: Path) -> None:
    path = folder / "runs" / "facts" / "memory.json"
    write_levels(path, model="gpt2")
    with pytest.raises(UserError, match="are of gpt2, the trial trains tiny: levels are a model's own"):
        plan(sweep(folder))
    for text in ("[]", '{"model": "tiny"}', '{"model": "tiny", "facts": {"a": 3}}', "{", '{"facts": {"a": {"split": '):
        path.write_text(text)
        with pytest.raises(UserError, match="does not hold memory levels|cannot be read"):
            plan(sweep(folder))
    assert sweep(folder).curation.memory_level.key_values["levels"] == MISSING


def test_a_folder_of_results_does_not_lead_to_a_file(folder: Path, tmp_path: Path) -> None:
    values = {"name": "x", "task": "qa", "curation": {"memory_level": {"levels": "/somebody/elses.json"}}}
    with pytest.raises(UserError, match="/somebody/elses.json"):
        check(values, trusted=False)


def test_a_mix_takes_the_place_of_the_last_facts_of_the_level(folder: Path, tmp_path: Path) -> None:
    """The level is drawn first; so facts of the level and samples of the other task are both nested over shares."""
    axes = {**sweep(folder).axes, "memory_level": [2], "mix": [0, 0.25, 0.5]}
    made = plan(sweep(folder, axes=axes, train_sizes=[8], curation={"mix": {"task": "qa"}})).trials
    ids = {one.design["mix"]: [sample.id for sample in written(one, tmp_path / one.key)] for one in made}
    level = [one.id for one in drawn(next(one for one in made if one.design["mix"] == "0"))[0]]
    facts = {one.id for one in trial_examples("qa", "train")}
    assert ids["0"] == level and ids["0.25"][:6] == level[:6] and ids["0.5"][:4] == level[:4]
    assert ids["0.5"][4:6] == ids["0.25"][6:] and set(ids["0.5"][4:]) <= facts and len(ids["0.5"]) == 8


# ---- trials ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


def test_a_trial_learns_the_facts_of_its_level(folder: Path, runner: TrialRunner, tmp_path: Path) -> None:
    options = trials(folder)
    plain = {axis: option for axis, option in options["any"].design.options if axis != "memory_level"}
    design = replace(options["any"].design, options=tuple(plain.items()))
    results = {
        "plain": run_trial(runner, replace(options["any"], design=design), tmp_path / "plain"),
        **{option: run_trial(runner, options[option], tmp_path / option) for option in ("any", "1", "4")},
    }
    assert all(one.status == "finished" for one in results.values()), [one.error for one in results.values()]
    assert results["any"].losses == results["plain"].losses and results["any"].scores == results["plain"].scores
    assert results["any"].key == results["plain"].key and not results["any"].curation
    assert results["1"].losses != results["4"].losses != results["plain"].losses
    assert results["4"].curation == {"memory_level/D4": 6, "memory_level/relations": 2, "samples": 6}


def test_divided_trains_the_mixed_facts_in_another_order(folder: Path, runner: TrialRunner, tmp_path: Path) -> None:
    axes = {**sweep(folder).axes, "memory_level": ["mixed", "divided"]}
    options = trials(folder, axes=axes, train_sizes=[10])
    mixed, divided = (run_trial(runner, options[name], tmp_path / name) for name in ("mixed", "divided"))
    assert mixed.status == divided.status == "finished", mixed.error + divided.error
    assert mixed.curation == divided.curation and mixed.curation["memory_level/D3"] == 2
    assert len(mixed.losses) == len(divided.losses) == 3 and mixed.losses != divided.losses
    again = run_trial(runner, options["divided"], tmp_path / "again")
    assert again.losses == divided.losses and again.scores == divided.scores
