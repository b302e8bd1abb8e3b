"""A run of a user's own task whose folder was moved: it shows its results, trains nothing again, and answers texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.small_run import HOTELS, train, write_hotels, write_sweep_file
from typer.testing import CliRunner

import sde_ray
from sde_ray.cli.app import app
from sde_ray.models.predictor import read_card

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


FRAMES = ("trials", "leaderboard", "effects", "predictions", "validation")
Frames = dict[str, pd.DataFrame]


def frames_of(run: sde_ray.Run) -> Frames:
    return {name: getattr(run, name)() for name in FRAMES}


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, sde_ray.Run]:
    """What the run showed where it ended, and the run, opened in another folder under another name."""
    folder = tmp_path_factory.mktemp("mine")
    write_hotels(folder / "hotels.jsonl")
    write_sweep_file(folder / "stay.yaml", HOTELS, seeds=[0], storage_path=str(folder / "runs"))
    before = frames_of(train(folder / "stay.yaml"))
    assert all(len(frame) for frame in before.values())
    (folder / "elsewhere").mkdir()
    shutil.move(folder / "runs" / "stay", folder / "elsewhere" / "archived")
    return before, sde_ray.open_run(folder / "elsewhere" / "archived")


def test_a_moved_run_shows_its_results(moved: tuple[Frames, sde_ray.Run]) -> None:
    before, after = moved
    assert [name for name, frame in frames_of(after).items() if not frame.equals(before[name])] == []
    assert after.strategy is not None and after.verdict is not None
    assert set(after.trials()["task"]) == {"hotels"} == {after.strategy.task}
    shown = CliRunner().invoke(app, ["effects", str(after.path), "--json"])
    assert [row["option"] for row in json.loads(shown.stdout)[0]["effects"]] == list(before["effects"]["option"])
    assert CliRunner().invoke(app, ["score", str(after.path)]).exit_code == 0
    assert CliRunner().invoke(app, ["report", str(after.path)]).exit_code == 0


def test_a_moved_run_has_nothing_left_to_train(moved: tuple[Frames, sde_ray.Run]) -> None:
    _, after = moved
    planned = sde_ray.plan(after.config)
    assert {trial.key for trial in planned.trials} <= {result.key for result in after.results}


def test_a_moved_run_answers_texts_also_without_the_data_of_its_task(
    moved: tuple[Frames, sde_ray.Run], tmp_path: Path
) -> None:
    _, after = moved
    adapter = shutil.copytree(after.path / "adapter", tmp_path / "adapter")
    assert set(read_card(adapter).definition) == set(HOTELS) - {"data", "metrics", "objective"}
    text = "lovely room, slow wifi"
    (here,) = after.predict([text])["completion"]
    (copied,) = sde_ray.Predictor.load(adapter).predict([text])
    assert here == copied[1]
    answered = CliRunner().invoke(app, ["predict", str(after.path), text, "--json"])
    assert json.loads(answered.stdout)[0]["completion"] == here
