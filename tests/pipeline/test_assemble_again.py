"""`sde-ray assemble` on a run that was validated: its strategy is never written over without being asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.many_trials import sweep_of, write_ledger
from typer.testing import CliRunner, Result

from sde_ray.analysis import strategy as strategies
from sde_ray.cli.app import app
from sde_ray.config.load import write_sweep
from sde_ray.design.designs import make_design


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of 216 trials, assembled."""
    config = sweep_of(tmp_path, 216, search={"method": "grid"})
    write_sweep(config)
    write_ledger(config)
    return config.run_dir.path


def assemble(run: Path, *words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["assemble", str(run), *map(str, words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def pretend_validated(path: Path, **changes: object) -> strategies.Strategy:
    strategy = replace(strategies.load(path), verdict="The assembled design wins.", **changes)  # type: ignore[arg-type]
    strategies.save(strategy, path)
    return strategy


def test_the_same_design_keeps_its_verdict(run: Path) -> None:
    assemble(run)
    path = run / "strategy.yaml"
    kept = pretend_validated(path)
    assemble(run)
    assert strategies.load(path).verdict == kept.verdict


def test_another_design_needs_a_place_of_its_own_or_force(run: Path, tmp_path: Path) -> None:
    assemble(run)
    path = run / "strategy.yaml"
    pretend_validated(path, design=make_design(format="json"))
    before = path.read_bytes()
    refused = " ".join(assemble(run, code=2).stderr.split())
    assert "holds a validated strategy (Inst-last, No-MI, JSON, PU, TxtLabel, No-CoT)" in refused
    assert "--out strategy-2.yaml, or replace the validated one with --force" in refused
    assert path.read_bytes() == before
    assemble(run, "--out", tmp_path / "other.yaml")
    assert path.read_bytes() == before and strategies.load(tmp_path / "other.yaml").verdict == ""
    assemble(run, "--force")
    assert strategies.load(path).design != make_design(format="json") and strategies.load(path).verdict == ""


def test_a_strategy_that_was_not_validated_is_replaced(run: Path) -> None:
    assemble(run)
    path = run / "strategy.yaml"
    strategies.save(replace(strategies.load(path), design=make_design(format="json")), path)
    assemble(run)
    assert strategies.load(path).design != make_design(format="json")
