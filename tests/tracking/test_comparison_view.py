"""The comparison that MLflow's page opens with: what it says, where it is, and what a real browser shows of it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from helpers.planted import ALL, additive, result

from sde_ray.config.load import load_config
from sde_ray.design.designs import design_of, paper_label
from sde_ray.errors import UserError
from sde_ray.pipeline.comparison import comparison_view
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking import ui
from sde_ray.tracking.comparison_view import TAG, ComparisonView, share_key, table_address, ui_address
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.ui import LOG, UiServer, sweep_address
from sde_ray.types import TrialResult

SWEEP_ID = "83502a81a52b453e848123096ec72af8"
SERVER = "http://127.0.0.1:5000"
VIEW = ComparisonView(("format", "labels"), "dev/weighted_kappa", ("dev/format_adherence", "tokens/output"))


def test_the_view_has_every_axis_as_a_column_a_coordinate_and_a_chart() -> None:
    state = VIEW.state(SWEEP_ID)
    charts = {chart["uuid"]: chart for chart in state["compareRunCharts"]}
    assert state["selectedColumns"] == [
        "metrics.`dev/weighted_kappa`",
        "metrics.`dev/format_adherence`",
        "metrics.`tokens/output`",
        "params.`format`",
        "params.`labels`",
        "params.`seed`",
        "attributes.`Dataset`",
        "attributes.`Source`",
    ]
    assert charts["sde-axes"]["selectedParams"] == ["format", "labels"]
    assert [charts[f"sde-axis-{axis}"]["xaxis"] for axis in VIEW.axes] == [
        {"type": "PARAM", "key": axis} for axis in VIEW.axes
    ]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts.values()} <= sections
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`dev/weighted_kappa`", False)


def test_a_view_of_few_columns_is_plain_and_a_long_one_is_deflated() -> None:
    name, short = replace(VIEW, axes=()).experiment_tag(SWEEP_ID)
    _, long = replace(VIEW, axes=tuple(f"axis_{n}" for n in range(40))).experiment_tag(SWEEP_ID)
    assert name == TAG + share_key(SWEEP_ID)
    assert json.loads(short)["startTime"] == "ALL"
    head, _, packed = long.partition(";")
    assert head == "deflate" and len(long) < 5000  # the longest tag that MLflow's databases take
    assert len(json.loads(zlib.decompress(base64.b64decode(packed)))["selectedColumns"]) == 46


def test_the_plain_table_has_the_filter_and_the_order_of_the_view() -> None:
    query = parse_qs(table_address(SERVER, "7", SWEEP_ID, VIEW).partition("?")[2])
    assert query["searchFilter"] == [VIEW.filter(SWEEP_ID)]
    assert query["orderByKey"] == ["metrics.`dev/weighted_kappa`"]
    assert (query["orderByAsc"], query["workflowType"]) == (["false"], ["machine_learning"])


def test_the_comparison_of_a_sweep_is_of_the_axes_that_it_varies(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "task: masa:d1\nout_of_domain: [masa:d2]\naxes: {reasoning: none, input_modeling: 'off', instruction: last}\n"
        "train_sizes: [20, 40]\nsearch: {method: grid}\n"
    )
    view = comparison_view(SweepRun(load_config(path)))
    assert set(view.axes) == {"format", "unmentioned", "labels"}
    assert view.objective == "dev/weighted_kappa"
    assert view.metrics == ("dev_ood/weighted_kappa", "dev/format_adherence", "tokens/output")
    assert view.params == ("seed", "train_size")


# ---- on MLflow's page ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Logged:
    """A sweep of twelve trials in MLflow, and two trials of its final comparison."""

    uri: str
    folder: Path
    trials: list[TrialResult]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("runs")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    trials = [result(design, additive(design)) for design in ALL[::18]]
    final = [
        replace(one, key=f"{n:016x}", config={**one.config, "splits": ["test"]}, scores={"test": one.scores["dev"]})
        for n, one in enumerate(trials[:2])
    ]
    tracker = MlflowTracker(uri)
    tracker.on_sweep_start("quick", {"name": "quick"}, folder / "quick", [*trials, *final])
    tracker.log_comparison(ComparisonView(("format", "instruction"), "dev/weighted_kappa", ("tokens/output",)))
    tracker.on_sweep_end()
    return Logged(uri, folder / "quick", trials)


def test_the_page_of_a_sweep_is_found_in_its_store(logged: Logged) -> None:
    sweep_id = (logged.folder / "sweep_id").read_text().strip()
    assert sweep_address(SERVER, logged.uri, "sde_ray", logged.folder) == ui_address(SERVER, "1", sweep_id)


def test_a_sweep_that_mlflow_does_not_know_opens_the_experiments(logged: Logged, tmp_path: Path) -> None:
    assert sweep_address(SERVER, logged.uri, "sde_ray", tmp_path) == SERVER
    assert sweep_address(SERVER, logged.uri, "another", logged.folder) == SERVER


def test_a_store_that_is_away_is_one_message(logged: Logged, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("no database")
    with pytest.raises(UserError, match="cannot be read"):
        sweep_address(SERVER, f"sqlite:///{tmp_path / 'no.db'}", "sde_ray", logged.folder)


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def server(logged: Logged) -> Iterator[UiServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with UiServer(logged.uri, port, "127.0.0.1", logged.folder / LOG) as running:
        running.wait_until_healthy()
        yield running


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_browser_shows_every_trial_with_its_axes_and_scores(server: UiServer, logged: Logged, tmp_path: Path) -> None:
    page = _page(sweep_address(server.address, logged.uri, "sde_ray", logged.folder), tmp_path, "matching runs")
    for one in logged.trials:
        assert f"{paper_label(design_of(one))} · seed 0" in page
    assert f"{len(logged.trials)} matching runs" in re.sub("<[^>]+>", "", page)  # none of the final comparison
    rows = sorted(logged.trials, key=lambda one: page.index(f">{paper_label(design_of(one))}"))
    assert [_score(one) for one in rows] == sorted(map(_score, rows), reverse=True)
    for column in ("dev/weighted_kappa", "tokens/output", "format", "instruction"):
        assert re.search(rf">\s*{column}\s*<", page), column
    for one in logged.trials:
        assert str(_score(one))[:6] in page


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_browser_draws_the_prepared_charts(server: UiServer, logged: Logged, tmp_path: Path) -> None:
    address = sweep_address(server.address, logged.uri, "sde_ray", logged.folder)
    titles = ("Options of each axis", "format vs. dev/weighted_kappa", "Parallel Coordinates")
    page = _page(f"{address}&compareRunsMode=CHART", tmp_path, *titles)
    assert [title for title in titles if title in page] == [*titles]


def test_a_page_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('[Errno 98] address already in use')"]
    monkeypatch.setattr(ui, "ui_command", lambda *given: failing)
    with (
        UiServer("sqlite:///x.db", 5000, "127.0.0.1", tmp_path / LOG) as server,
        pytest.raises(UserError, match=r"127.0.0.1:5000; its last words: .Errno 98. address already.*--port"),
    ):
        server.wait()
        server.wait_until_healthy()


def _score(one: TrialResult) -> float:
    return one.scores["dev"]["weighted_kappa"]


def _page(address: str, folder: Path, *awaited: str) -> str:
    """The page as a browser has it, in a window that holds every row; loaded again where it was cut off half-way."""
    assert BROWSER is not None
    quiet = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
    command = [BROWSER, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={folder / 'browser'}"]
    command += ["--window-size=2600,2000", "--virtual-time-budget=60000", "--dump-dom", address]
    for _ in range(4):
        page = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
        if all(text in re.sub("<[^>]+>", "", page) for text in awaited):
            break
    return page
