"""Every shipped sweep loads, plans, and its samples read back; those on public data sets with a few made rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.shipped_sweeps import SWEEPS, planned

from sde_ray.config.load import load_config, open_tasks
from sde_ray.design import render
from sde_ray.design.designs import NAMED
from sde_ray.sweep.plan import plan


def test_the_promised_sweeps_are_there() -> None:
    wanted = {"quickstart", "mams", "genia", "phee", "paper", "paper_models", "bring_your_own", "masa_216", "zero3"}
    assert wanted | {"confirm_genia", "confirm_maven", "confirm_review11"} <= set(SWEEPS)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_plans_and_its_samples_read_back(name: str, tmp_path: Path) -> None:
    made = planned(name, tmp_path)
    assert made.count > 0
    assert len({trial.key for trial in made.trials}) == len(made.trials)
    tasks = open_tasks(made.config)
    examples = {task_name: task.load("train")[:3] for task_name, task in tasks.items()}
    for trial in made.trials:
        task = tasks[trial.task]
        for example in examples[trial.task]:
            parsed = render.parse_completion(
                render.completion_of(example, task, trial.design), task, trial.design, example.text
            )
            assert (dict(parsed.answer), parsed.faults) == (dict(example.answer), ())


@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_says_what_it_is_and_how_to_run_it(name: str) -> None:
    head = SWEEPS[name].read_text(encoding="utf-8").split("\nname:")[0]
    assert f"sde-ray run sweeps/{name}.yaml" in head
    assert load_config_name(name) == name


def load_config_name(name: str) -> str:
    line = next(line for line in SWEEPS[name].read_text(encoding="utf-8").splitlines() if line.startswith("name:"))
    return line.partition(":")[2].strip()


def test_counts_of_the_grid_and_of_the_papers_study(tmp_path: Path) -> None:
    assert planned("masa_216", tmp_path).count == 216
    paper = planned("paper", tmp_path)
    one_at_a_time = 1 + 2 + 1 + 2 + 1 + 1 + 2
    assert paper.count == one_at_a_time * 3 * 2 * 2  # seeds, training sizes, tasks


def test_the_papers_study_runs_on_several_models_sizes_and_domains(tmp_path: Path) -> None:
    made = planned("paper_models", tmp_path)
    assert made.count == 10 * 3 * 2 * 2 * 4  # designs, seeds, training sizes, tasks, models
    assert made.config.train_sizes == (500, 1000) and len(made.config.model) == 4
    assert {trial.out_of_domain for trial in made.trials} == {("masa:d2",), ("masa:d1",)}


@pytest.mark.parametrize("name", [name for name in SWEEPS if name.startswith("confirm_")])
def test_the_confirmation_runs_exactly_the_integrated_strategies(name: str, tmp_path: Path) -> None:
    made = planned(name, tmp_path)
    assert {trial.design for trial in made.trials} == {NAMED[n] for n in ("baseline", "heuristic", "ew-sde", "es-sde")}
    assert made.count == 4 * 3 * 2


def test_zero3_shards_each_trial_over_whole_gpus(tmp_path: Path) -> None:
    made = planned("zero3", tmp_path)
    assert {trial.num_workers for trial in made.trials} == {4}
    assert made.config.deepspeed["zero_optimization"]["stage"] == 3
    assert made.config.resources.resources_per_worker.GPU == 1


def test_rationales_are_pinned_where_a_data_set_has_none(tmp_path: Path) -> None:
    assert set(planned("genia", tmp_path).pinned) == {"labels", "reasoning"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("mams", "mams@{}/mams/MAMS-ACSA"),
        ("genia", "nested_ner@{}/genia"),
        ("phee", "events:phee@{}/phee"),
    ],
)
def test_sweeps_on_public_data_plan_on_the_real_files(name: str, task: str, realdata: Path, tmp_path: Path) -> None:
    config = load_config(SWEEPS[name], [f"task={task.format(realdata / 'data')}", f"storage_path={tmp_path}"])
    made = plan(config)
    assert made.count == len(made.trials) >= 6
