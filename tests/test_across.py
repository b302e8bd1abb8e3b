"""Several models: findings that hold for all, pooled effects that cover, rankings that agree or do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from planted import additive, one_at_a_time, results
from typer.testing import CliRunner

from sde_ray.across import Across, across, concordance, pool
from sde_ray.cli.app import app
from sde_ray.config import check, write_sweep
from sde_ray.design import make
from sde_ray.ledger import Ledger
from sde_ray.study import studies
from sde_ray.surface import Estimate
from sde_ray.types import Design, TrialResult


def of_model(model: str, worth: Callable[[Design], float] = additive) -> list[TrialResult]:
    from dataclasses import replace

    plain = results(one_at_a_time(), seeds=(0, 1, 2), noise=0.005, worth=worth)
    return [
        replace(one, key=f"{model}{one.key}"[:16], config={**one.config, "model": model, "task": "masa:d1"})
        for one in plain
    ]


def found(*models: tuple[str, Callable[[Design], float]]) -> Across:
    config = check({"name": "several", "task": "masa:d1", "model": [name for name, _ in models]})
    trials = [one for name, worth in models for one in of_model(name, worth)]
    (one,) = across(studies(config, trials))
    return one


def upside_down(design: Design) -> float:
    return 1.0 - additive(design)


def test_findings_that_hold_for_all_models() -> None:
    one = found(("a", additive), ("b", additive), ("c", additive))
    by_option = {row.option: row for row in one.findings}
    assert by_option["lines"].signs == "+++" and by_option["lines"].holds == "better on all"
    pooled = by_option["lines"].pooled
    assert pooled.low is not None and pooled.high is not None
    assert pooled.low < additive(make(format="lines")) - additive(make()) < pooled.high
    assert one.concordance == pytest.approx(1.0, abs=0.05)
    assert len(one.agreement) == 3 and one.agreement[0].place == 1
    assert "findings hold for all 3 models" in one.words and "format=lines better" in one.words


def test_findings_that_depend_on_the_model() -> None:
    one = found(("a", additive), ("b", upside_down))
    row = {row.option: row for row in one.findings}["lines"]
    assert row.signs == "+−" and row.holds == "depends on the model"
    assert row.pooled.low is not None and row.pooled.high is not None and row.pooled.low < 0 < row.pooled.high
    assert one.concordance is not None and one.concordance < 0.2
    assert one.agreement[0].spearman.value is not None and one.agreement[0].spearman.value < -0.7
    assert "help one model and hurt another" in one.words


def test_pooled_intervals_cover_the_mean_over_models() -> None:
    """Five models whose true effects differ by 0.1; their own intervals are a tenth of that."""
    draw, inside = np.random.default_rng(1), 0
    for _ in range(400):
        truths = draw.normal(0.2, 0.1, 5)
        values = truths + draw.normal(0, 0.02, 5)
        one = pool([Estimate(value, value - 0.0392, value + 0.0392) for value in values])
        assert one.low is not None and one.high is not None
        inside += one.low <= 0.2 <= one.high
    assert 0.92 <= inside / 400 <= 0.98


def test_pooling_without_intervals_is_a_mean() -> None:
    assert pool([Estimate(0.1), Estimate(0.3, 0.2, 0.4)]) == Estimate(0.2)
    assert pool([Estimate(0.1, 0.0, 0.2)]) == Estimate(0.1)


def test_concordance_is_kendalls_w() -> None:
    designs = [make(format=f, unmentioned=u) for f in ("natural", "lines", "json") for u in ("placeholder", "omit")]
    up, down = ({design: sign * n for n, design in enumerate(designs)} for sign in (1.0, -1.0))
    assert concordance([up, up, up]) == pytest.approx(1.0) and concordance([up, down]) == pytest.approx(0.0)
    tied = dict.fromkeys(designs, 1.0)
    assert concordance([tied, tied]) is None and concordance([up, {}]) is None


def test_the_command(tmp_path: Path) -> None:
    config = check({"name": "several", "task": "masa:d1", "model": ["a", "b"], "storage": str(tmp_path)})
    write_sweep(config)
    ledger = Ledger(tmp_path / "several" / "ledger.jsonl")
    for one in of_model("a"):
        ledger.append(one)
    alone = CliRunner().invoke(app, ["across", str(tmp_path / "several")])
    assert alone.exit_code == 2 and "one model each task" in alone.stderr
    for one in of_model("b"):
        ledger.append(one)
    shown = CliRunner().invoke(app, ["across", str(tmp_path / "several"), "--json"])
    assert shown.exit_code == 0, shown.output
    (plain,) = json.loads(shown.stdout)
    assert plain["models"] == ["a", "b"] and plain["findings"] and plain["agreement"][0]["place"] == 1
    assert "better on all" in CliRunner().invoke(app, ["across", str(tmp_path / "several")]).stdout
