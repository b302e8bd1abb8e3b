"""What a sweep's driver spends on a trial: the arithmetic of blocks, and one small run on simulated nodes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from sde_ray.bench.overhead.measure import Moment, block_rows
from sde_ray.cli.app import app


def test_a_block_is_what_lies_between_two_moments() -> None:
    """Ten trials: the first five at 10 ms and 1 KiB, the last five at 20 ms and 3 KiB; an eleventh is left out."""
    moments = [Moment(0.0, 0.0, 0)]
    for milliseconds, kib in [*[(10, 1)] * 5, *[(20, 3)] * 5, (500, 90)]:
        last, seconds = moments[-1], milliseconds / 1000
        moments.append(Moment(last.seconds + seconds, last.cpu_seconds + seconds / 2, last.memory + kib * 1024))
    first, second = block_rows(moments, 5)
    assert (first["trials"], second["trials"]) == ("1-5", "6-10")
    assert (first["ms_per_trial"], second["ms_per_trial"]) == (pytest.approx(10), pytest.approx(20))
    assert second["cpu_ms_per_trial"] == pytest.approx(10)
    assert (first["kib_per_trial"], second["kib_per_trial"]) == (1, 3)
    assert second["memory_mib"] == 20 / 1024


def test_fewer_trials_than_a_block_are_one() -> None:
    (row,) = block_rows([Moment(float(n), float(n), 0) for n in range(4)], 500)
    assert (row["trials"], row["ms_per_trial"]) == ("1-3", 1000)


def test_an_unknown_method_is_told_before_ray_starts() -> None:
    done = CliRunner().invoke(app, ["bench", "overhead", "--method", "gird"])
    assert done.exit_code == 2 and "grid" in done.stderr


@pytest.mark.cluster
def test_a_sweep_on_simulated_nodes_runs_each_trial_once_and_a_slow_server_keeps_none_up() -> None:
    """The server takes 2 s for a call, so the 10 designs would take 40 s if they waited for it."""
    arguments = ["bench", "overhead", "--trials", "10", "--nodes", "5", "--method", "one_at_a_time", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--tracker-seconds", "2"])
    assert done.exit_code == 0, done.output
    measured = json.loads(done.stdout)
    (block,) = measured["blocks"]
    assert block["trials"] == f"1-{measured['settings']['trials']}" and measured["settings"]["trials"] >= 8
    assert block["ms_per_trial"] < 1000
    assert measured["tracking"]["records_when_the_sweep_ended"] < measured["settings"]["trials"]
