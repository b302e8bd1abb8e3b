"""Recorded tables: complete, the same designs as the task's space, and merged from ledgers without loss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sde_ray.bench.tables.__main__ import main, merge_run
from sde_ray.bench.tables.by_design import score_designs
from sde_ray.bench.tables.merge import check_one_configuration
from sde_ray.bench.tables.table import (
    TABLES,
    RecordedTable,
    design_of_row,
    load,
    read,
    recorded_tables,
    save,
    whole_tables,
)
from sde_ray.cli.app import app
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.metrics import metric_bounds
from sde_ray.storage.ledger import Ledger
from sde_ray.tasks import get_task
from sde_ray.types import Design, TrialResult


def ended(design: Design, seed: int = 0, kappa: float = 0.5, away: float | None = None, size: int = 240) -> TrialResult:
    trial = TrialConfig("masa:d1", design, "tiny", seed, size, 120, ("dev",))
    scores = {"dev": {"weighted_kappa": kappa, "format_adherence": 1.0}}
    scores |= {"dev_ood": {"weighted_kappa": away}} if away is not None else {}
    return TrialResult(trial.key, trial.resolved(), "finished", scores, tokens={"output": 20.0}, seconds={"total": 9.0})


def run_of(folder: Path, *results: TrialResult) -> Path:
    ledger = Ledger(folder / "ledger.jsonl")
    for result in results:
        ledger.append(result)
    return folder


@pytest.mark.parametrize("name", whole_tables())
def test_a_whole_table_holds_every_design_of_its_task_and_scores_within_bounds(name: str) -> None:
    table, task = load(name), get_task(TABLES[name].task)
    scores = table.scores()
    rationales = any(row["reasoning"] != "none" for row in table.rows)
    assert table.objective == task.objective
    assert set(scores) == set(design_space(task, rationales).designs)
    low, high = metric_bounds(table.objective) or (0.0, 0.0)
    assert all(low <= score <= high for by_seed in scores.values() for score in by_seed.values())
    assert len({(design_of_row(row), row["seed"]) for row in table.rows}) == len(table.rows)
    assert {NAMED["baseline"], NAMED["es-sde"]} <= set(scores)


@pytest.mark.parametrize("name", sorted({*recorded_tables()} - {*whole_tables()}))
def test_a_table_of_chosen_designs_has_the_baseline_with_every_seed(name: str) -> None:
    table = load(name)
    scores = table.scores()
    assert table.objective == get_task(TABLES[name].task).objective
    assert set(scores[NAMED["baseline"]]) >= {seed for by_seed in scores.values() for seed in by_seed}
    assert len({(design_of_row(row), row["seed"]) for row in table.rows}) == len(table.rows)


def planted(gain: float, noise: float) -> RecordedTable:
    """Two designs with four seeds each, `gain` apart."""
    scores = {"natural": 0.5, "lines": 0.5 + gain}
    rows = [
        {
            **dict(make_design(format=form).options),
            "seed": str(seed),
            "weighted_kappa": str(score + noise * (-1) ** seed),
        }
        for form, score in scores.items()
        for seed in range(4)
    ]
    return RecordedTable("weighted_kappa", tuple(rows))


def test_designs_of_a_table_are_told_apart_beyond_the_noise_of_training_only() -> None:
    clear, reference = score_designs(planted(gain=0.2, noise=0.01))
    assert clear.design == make_design(format="lines") and reference.difference is None
    assert clear.mean == pytest.approx(0.7) and clear.seeds == pytest.approx((0.71, 0.69, 0.71, 0.69))
    gap = clear.difference
    assert gap is not None and gap.low is not None and 0.1 < gap.low < 0.2 < (gap.high or 0) < 0.3
    noisy, _ = score_designs(planted(gain=0.02, noise=0.1))
    assert noisy.difference is not None and not noisy.difference.excludes_zero


def test_designs_have_no_difference_to_a_reference_that_the_table_lacks() -> None:
    scored = score_designs(planted(gain=0.2, noise=0.01), reference=make_design(format="json"))
    assert [one.difference for one in scored] == [None, None]


def test_the_command_prints_the_designs_of_a_table() -> None:
    shown = CliRunner().invoke(app, ["bench", "table", "masa_d2", "--designs", "-n", "2", "--json"]).stdout
    first, *others = json.loads(shown)
    assert first["mean"] == max([first["mean"], *(one["mean"] for one in others)])
    assert first["difference"]["low"] < first["difference"]["value"] < first["difference"]["high"]
    assert "Inst-" in CliRunner().invoke(app, ["bench", "table", "masa_d2", "--designs", "-n", "2"]).stdout


def test_searches_are_not_measured_on_a_table_of_chosen_designs() -> None:
    refused = CliRunner().invoke(app, ["bench", "search", "recorded", "--table", "mams_smollm2_300"])
    assert refused.exit_code != 0 and "holds chosen designs only" in refused.stderr + str(refused.exception or "")


def test_a_table_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    table = load("masa_d1")
    save(replace(table, rows=table.rows[::-1]), tmp_path / "again.csv")
    again = read(tmp_path / "again.csv")
    assert again == table and again.columns == table.columns


def test_a_run_adds_what_a_table_lacks_and_compares_the_rest(tmp_path: Path) -> None:
    path, one, other = tmp_path / "table.csv", make_design(), make_design(format="lines")
    first = merge_run(run_of(tmp_path / "a", ended(one, 0, 0.5), ended(one, 1, 0.6)), "masa_d1", path)
    assert (first.added, first.compared, first.differences) == (2, 0, ())
    assert "weighted_kappa_ood" not in read(path).columns
    run = run_of(tmp_path / "b", ended(other, 0, 0.7, away=0.4), ended(one, 0, 0.5, away=0.3), ended(one, 1, 0.65))
    second = merge_run(run, "masa_d1", path)
    assert (second.added, second.compared, len(second.differences)) == (1, 2, 1)
    assert "seed 1: weighted_kappa is 0.6000 in the table, 0.6500 in the run" in second.differences[0]
    assert read(path).scores() == {one: {0: 0.5, 1: 0.6}, other: {0: 0.7}}
    assert [row["weighted_kappa_ood"] for row in read(path).rows] == ["0.3000", "", "0.4000"]
    before = path.read_bytes()
    assert merge_run(run, "masa_d1", path).added == 0 and path.read_bytes() == before


def test_trials_of_other_tasks_or_of_several_configurations_are_refused() -> None:
    with pytest.raises(UserError, match=r"of the task mams; the run has finished trials of \['masa:d1'\]"):
        check_one_configuration([ended(make_design())], "mams")
    with pytest.raises(UserError, match=r"differ in train_size: \[480\] and \[240\]"):
        check_one_configuration([ended(make_design()), ended(make_design(), size=480)], "masa:d1")


def test_the_merging_command_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and "Tables: masa_d1" in capsys.readouterr().err
    assert main([str(tmp_path), "masa_d3"]) == 2 and 'Unknown table "masa_d3"' in capsys.readouterr().err
    assert main([str(tmp_path), "masa_d1"]) == 2 and "holds no ledger.jsonl" in capsys.readouterr().err


def test_the_command_lists_tables_and_prints_one() -> None:
    listed = json.loads(CliRunner().invoke(app, ["bench", "table", "--json"]).stdout)
    assert set(listed) == set(recorded_tables()) and listed["masa_d1"]["designs"] == 216
    assert "seeds" in CliRunner().invoke(app, ["bench", "table"]).stdout
    rows = json.loads(CliRunner().invoke(app, ["bench", "table", "masa_d1", "--json"]).stdout)
    assert float(rows[0]["weighted_kappa"]) >= float(rows[-1]["weighted_kappa"])
    shown = CliRunner().invoke(app, ["bench", "table", "masa_d1", "-n", "3"]).stdout
    assert "the best 3" in shown
    unknown = CliRunner().invoke(app, ["bench", "table", "masa_d9"])
    assert unknown.exit_code != 0 and "Unknown table" in (unknown.stderr + str(unknown.exception or ""))
