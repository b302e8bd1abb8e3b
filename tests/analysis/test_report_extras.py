"""The page's sections on analyses and robustness studies: true to their files, whole, and safe whatever these hold."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.planted import additive, one_at_a_time, result

from sde_ray.analysis.paired import ScoreTable
from sde_ray.analysis.report.extras import read_extras
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.config.load import check, write_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.pipeline import run
from sde_ray.pipeline.prompting import result as conclude
from sde_ray.pipeline.robustness.conditions import judge_condition, summarize
from sde_ray.pipeline.robustness.figure import curves
from sde_ray.pipeline.robustness.learning_curve import savings
from sde_ray.pipeline.robustness.run import RobustnessResult
from sde_ray.storage.ledger import Ledger

HOSTILE = '</p><script>alert(1)</script><img src=x onerror="alert(2)">'
SIZES = (20, 40)


def analyzed(config: SweepConfig, model: str = "tiny") -> conclude.Analysis:
    """Perplexity foretells tuning; prompting does not, and says something hostile."""
    designs = one_at_a_time()
    tuned = {design: n / 10 for n, design in enumerate(designs)}
    rows = [
        {"design": design.slug, "prompt_perplexity": 20.0 - n, "output_perplexity": 3.0, "output_log_likelihood": -9.0,
         "0_shot": n % 3 / 10, "error": HOSTILE if n == 0 else ""}
        for n, design in enumerate(designs)
    ]  # fmt: skip
    found = conclude.conclude("masa:d1", model, "weighted_kappa", rows, tuned, (0,))
    conclude.save(config, found)
    return found


def studied() -> RobustnessResult:
    draw = np.random.default_rng(0)
    levels = {ASSEMBLED: 0.8, "baseline": 0.5, "es-sde": 0.8}
    cells = [
        ScoreTable(ASSEMBLED, {name: level + draw.normal(0, 0.01, (4, 1)) for name, level in levels.items()}, None,
              {ASSEMBLED: make_design(format="lines"), **{name: NAMED[name] for name in ("baseline", "es-sde")}},
              (1, 2, 3, 4), (size,))
        for size in SIZES
    ]  # fmt: skip
    judged = [judge_condition(f"{size} samples", one) for size, one in zip(SIZES, cells, strict=True)]
    both = {name: np.hstack([one.scores[name] for one in cells]) for name in levels}
    curve = ScoreTable(ASSEMBLED, both, None, cells[0].designs, cells[0].seeds, SIZES)
    figure = curves(SIZES, judged, "weighted_kappa")
    return RobustnessResult(tuple(judged), (), tuple(savings(curve, SIZES)), summarize(judged), figure)


def swept(folder: Path, **more: object) -> SweepConfig:
    config = check({"name": "s", "task": "masa:d1", "storage_path": str(folder), "out_of_domain": [], **more})
    write_sweep(config)
    for design in one_at_a_time():
        Ledger(config.run_dir.path / "ledger.jsonl").append(result(design, additive(design)))
    return config


def test_an_analysis_is_told_with_its_figure(tmp_path: Path) -> None:
    config = swept(tmp_path)
    found = analyzed(config)
    (section,) = read_extras(config.run_dir.path)
    text = re.sub(r"<[^>]+>", " ", section)
    headline, _, rest = found.verdict.partition(". ")
    assert headline in text and rest.split(";")[0] in text
    assert re.search(
        r"prompt perplexity\s+\+1\.000\s+\[\+\S+, \+1\.000\]\s+\+1\.000\s+\[\+\S+, \+1\.000\]\s+1 of 10", text
    )
    assert "<script" not in section and "&lt;script" in section
    (image,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', section)
    assert base64.b64decode(image).decode() == found.figure


def test_a_robustness_study_is_told(tmp_path: Path) -> None:
    found = studied()
    (tmp_path / "robustness.json").write_text(json.dumps(found.to_dict()))
    (section,) = read_extras(tmp_path)
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section)))
    assert all(one.summary in text for one in found.savings) and found.summary in text
    lead = found.conditions[0].rows[1].paired
    assert lead is not None and f"{lead.difference:+.3f}" in text and text.count("20 samples ") >= 1
    claims = [row.claim for one in found.conditions for row in one.rows[1:]]
    assert claims.count("better") > 0
    for claim in ("better", "worse"):
        assert section.count(f'<span class="{claim}">{claim}</span>') == claims.count(claim)
    first = found.conditions[0].rows[0]
    assert f"assembled {first.score:.3f} [{first.low:.3f}, {first.high:.3f}]" in text and "<img" not in section


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"summary": 3}', '{"rows": [{}], "savings": [], "summary": "x"}', "null"]
)
def test_what_cannot_be_read_has_no_section(tmp_path: Path, text: str) -> None:
    for name in ("analysis.json", "robustness.json"):
        (tmp_path / name).write_text(text)
    assert read_extras(tmp_path) == []


def test_the_page_is_written_anew_only_where_there_is_one(tmp_path: Path) -> None:
    config = swept(tmp_path, model=["tiny", "org/other"])
    for model in config.model:
        analyzed(config, model)
    assert run.refresh_report(config) is None
    (config.run_dir.report).write_text("old")
    path = run.refresh_report(config)
    assert path is not None
    page = path.read_text()
    assert page.count("Would good prompting have told?") == 2 and "untuned org/other on masa:d1" in page
    assert "Leaderboard" in page and "How to reproduce" in page
