"""Designs of a sweep against one of them: planted differences are found, equal designs are not told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.small_run import HOTELS, train, write_hotels, write_sweep_file
from typer.testing import CliRunner

from sde_ray.analysis.design_comparison import compare_designs
from sde_ray.analysis.effects import Group
from sde_ray.analysis.study import Study
from sde_ray.cli.app import app
from sde_ray.design.designs import NAMED, make_design
from sde_ray.errors import UserError
from sde_ray.types import Design, TrialResult

BASELINE, OTHER = NAMED["baseline"], make_design(format="json", unmentioned="omit")  # two axes change together
SHUFFLED = make_design(order="shuffled")
SCORES = {BASELINE: (0.40, 0.43, 0.41, 0.44), OTHER: (0.61, 0.62, 0.64, 0.60), SHUFFLED: (0.41, 0.42, 0.43, 0.42)}


def study(scores: dict[Design, tuple[float, ...]], folder: Path) -> Study:
    results = [_result(design, seed, score) for design, row in scores.items() for seed, score in enumerate(row)]
    return Study(Group("masa:d1", "tiny", 80), "weighted_kappa", "dev", tuple(results), folder)


def _result(design: Design, seed: int, score: float) -> TrialResult:
    config = {"task": "masa:d1", "model": "tiny", "train_size": 80, "seed": seed, "design": dict(design.options)}
    scores = {"dev": {"weighted_kappa": score, "format_adherence": 0.5 + seed / 10}}
    return TrialResult(f"{design.slug}{seed}", config, "finished", scores, tokens={"output": 20.0 + seed})


def test_a_planted_difference_is_better_and_none_is_not_shown(tmp_path: Path) -> None:
    best, second, third = compare_designs(study(SCORES, tmp_path), BASELINE)
    assert (best.design, best.claim, best.trials) == (OTHER, "better", 4)
    assert best.score == pytest.approx(0.6175) and best.tokens == 21.5 and best.adherence == pytest.approx(0.65)
    assert best.paired is not None and best.paired.difference == pytest.approx(0.1975)
    assert best.paired.low is not None and best.paired.high is not None
    assert 0.1 < best.paired.low < 0.1975 < best.paired.high < 0.3
    assert {second.design, third.design} == {BASELINE, SHUFFLED}
    by_design = {row.design: row for row in (second, third)}
    assert by_design[SHUFFLED].claim == "no difference shown" and by_design[BASELINE].paired is None


def test_the_other_way_round_it_is_worse(tmp_path: Path) -> None:
    rows = {row.design: row for row in compare_designs(study(SCORES, tmp_path), OTHER)}
    assert rows[BASELINE].claim == rows[SHUFFLED].claim == "worse"
    assert rows[BASELINE].paired is not None and rows[BASELINE].paired.difference == pytest.approx(-0.1975)


def test_designs_are_compared_on_the_seeds_that_they_share(tmp_path: Path) -> None:
    rows = compare_designs(study({**SCORES, OTHER: (0.61, 0.62)}, tmp_path), BASELINE)
    (row,) = (row for row in rows if row.design == OTHER)
    assert row.paired is not None and row.paired.seeds == 2
    assert row.paired.difference == pytest.approx((0.61 + 0.62 - 0.40 - 0.43) / 2)


def test_designs_are_compared_on_another_split(tmp_path: Path) -> None:
    trained = study(SCORES, tmp_path)
    swapped = {BASELINE: 0.9, OTHER: 0.5, SHUFFLED: 0.9}
    results = [
        replace(one, scores={**one.scores, "dev_ood": {"weighted_kappa": score, "format_adherence": 1.0}})
        for one, score in zip(trained.results, [swapped[design] for design in SCORES for _ in range(4)], strict=True)
    ]
    rows = compare_designs(replace(trained, results=tuple(results), split="dev_ood"), BASELINE)
    assert [row.score for row in rows] == [0.9, 0.9, 0.5] and rows[-1].design == OTHER


def test_a_reference_that_was_not_trained_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No trial of .*format=lines.* has finished on .*Compare with one of: "):
        compare_designs(study(SCORES, tmp_path), make_design(format="lines"))


@pytest.mark.slow
def test_the_command_compares_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_hotels(tmp_path / "hotels.jsonl")
    write_sweep_file(tmp_path / "x.yaml", HOTELS, name="x")
    train(tmp_path / "x.yaml")
    printed = CliRunner().invoke(app, ["compare", "x.yaml", "--with", "es-sde", "--json"])
    assert printed.exit_code == 0, printed.output
    (compared,) = json.loads(printed.output)
    assert compared["task"] == "hotels" and {row["trials"] for row in compared["rows"]} == {2}
    assert [row["difference"] is None for row in compared["rows"]].count(True) == 1
    table = CliRunner().invoke(app, ["compare", "x.yaml"])
    assert table.exit_code == 0 and "scored on dev" in table.output and "part luck" in " ".join(table.output.split())
    nowhere = CliRunner().invoke(app, ["compare", "x.yaml", "--ood"])
    assert nowhere.exit_code == 2 and "none has yet" in nowhere.output
