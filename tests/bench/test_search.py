"""The benches of search methods: planted families are those described; contests are paired, saved, the same again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sde_ray.bench.search.contest import World, run_contest
from sde_ray.bench.search.contestants import BASIC, NAMED_FIRST, NAMES, contestant, named, one_at_a_time
from sde_ray.bench.search.planted import designs, world
from sde_ray.bench.search.summary import differences, means
from sde_ray.bench.search.truth import CEILING, FAMILIES, NOTHING, PAPER, REPORTED, TUNED, TUNING, Truth, columns
from sde_ray.cli.app import app
from sde_ray.errors import UserError

SPACE = designs()


def test_the_family_has_the_known_range_and_the_known_regret_of_simple_ways() -> None:
    """Known: range about 0.43; one at a time 0.115 at 10 trials; best of random 0.066 at 22 and 0.050 at 43."""
    truths = [PAPER.draw(seed, SPACE) for seed in range(900_000, 900_300)]
    assert np.mean([np.ptp(truth.values) for truth in truths]) == pytest.approx(0.43, abs=0.03)
    paper = [truth.regret(one_at_a_time(truth, [10], 0)[10]) for truth in truths]
    assert np.mean(paper) == pytest.approx(0.115, abs=0.015)
    chosen = [contestant("random")(truth, (22, 43), 0) for truth in truths]
    for cost, known in ((22, 0.066), (43, 0.050)):
        regret = np.mean([truth.regret(by_cost[cost]) for truth, by_cost in zip(truths, chosen, strict=True)])
        assert regret == pytest.approx(known, abs=0.01)


def test_columns_are_centred_and_complete() -> None:
    mains, pairs = columns(SPACE)
    assert (mains.shape, pairs.shape) == ((216, 15), (216, 93))
    assert np.allclose(mains.mean(0), 0) and np.allclose(pairs.mean(0), 0)
    assert np.linalg.matrix_rank(np.concatenate([mains, pairs], axis=1)) == 9 + 33


def test_a_trial_reports_value_departure_and_noise() -> None:
    truth = PAPER.draw(1, SPACE)
    design = SPACE[5]
    full = truth.report(design, 0, 2)
    assert full == truth.report(design, 0) and full != truth.report(design, 1)
    assert truth.report(design, 0, 0) - full == pytest.approx(truth.departures[0, 5])
    assert np.std(truth.departures[0]) == pytest.approx(0.02, rel=0.2)
    assert np.std(truth.departures[1]) == pytest.approx(0.01, rel=0.2)
    assert np.std(truth.noise) == pytest.approx(0.03, rel=0.05)
    assert min(truth.regret(one) for one in SPACE) == 0
    assert np.ptp(NOTHING.draw(1, SPACE).values) == 0


def test_a_bounded_family_stays_within_its_bounds_and_is_quieter_near_them() -> None:
    truths = [CEILING.draw(seed, SPACE) for seed in range(20)]
    values, noise = np.array([truth.values for truth in truths]), np.array([truth.noise for truth in truths])
    scores = values[:, None] + noise
    assert scores.min() >= -1 and scores.max() <= 1 and truths[0].bounds == (-1, 1)
    assert 0.95 < values.max(axis=1).mean() < 1
    near, middle = values > 0.93, abs(values - 0.5) < 0.1
    assert 3 * noise.swapaxes(1, 2)[near].std() < noise.swapaxes(1, 2)[middle].std()
    assert abs(noise.mean()) < 0.002, "a value is the expected score"
    lower = values + np.array([truth.departures[0] for truth in truths])
    assert lower.min() >= -1 and lower.max() <= 1


def test_tuning_and_reporting_share_no_family_and_no_seed() -> None:
    assert not set(TUNING) & set(FAMILIES)
    assert REPORTED + 10_000 < TUNED
    assert min(world("noisy", 5).seeds) == TUNED and min(world("paper", 5).seeds) == REPORTED
    names = [world(name, 1).name for name in [*FAMILIES, *TUNING]]
    assert len({name.partition("@")[2] for name in names}) == len(names), "a changed family is another world"


def _draw(seed: int) -> Truth:
    return PAPER.draw(seed, SPACE)


SMALL = World("small", _draw, range(REPORTED, REPORTED + 3))


def test_regrets_are_by_method_cost_and_replication_and_the_same_again() -> None:
    methods = ["one_at_a_time", "random", "factorial"]
    regrets = run_contest(SMALL, methods, costs=(10, 15))
    assert list(regrets) == methods and list(regrets["random"]) == [10, 15]
    again = run_contest(SMALL, methods[::-1], costs=(10, 15))
    for method in methods:
        for cost in (10, 15):
            assert regrets[method][cost].tolist() == again[method][cost].tolist()
    first = contestant("random")(_draw(REPORTED), (10,), REPORTED)[10]
    assert regrets["random"][10][0] == _draw(REPORTED).regret(first)


def test_a_contest_goes_on_from_its_file_and_leaves_other_worlds_alone(tmp_path: Path) -> None:
    save = tmp_path / "regrets.jsonl"
    one = run_contest(World("small", _draw, SMALL.seeds[:2]), ["random"], (10,), save=save)
    line = json.loads(save.read_text().splitlines()[0])
    assert line["regrets"]["10"] == one["random"][10][0]
    line["regrets"]["10"] = 0.5  # what the file says is not run again
    other = {**line, "world": "large", "regrets": {"10": 0.7}}
    save.write_text(f'{json.dumps(line)}\n{json.dumps(other)}\n{{"torn')
    steps: list[None] = []
    more = run_contest(SMALL, ["random"], (10,), save=save, on_progress=lambda: steps.append(None))
    assert len(steps) == 3 and more["random"][10][0] == 0.5 and more["random"][10][1] == one["random"][10][1]
    assert run_contest(SMALL, ["random"], (10,), save=save)["random"][10].tolist() == more["random"][10].tolist()
    assert run_contest(SMALL, ["random"], (10, 15), save=save)["random"][10][0] != 0.5, "a further cost is run"


def test_differences_are_paired_and_small_ones_are_ties() -> None:
    common = np.random.default_rng(0).normal(0.1, 0.05, 50)
    regrets = {"a": {10: common}, "b": {10: common + 0.001}, "c": {10: common[::-1]}, "d": {10: common - 0.02}}
    assert means(regrets)["a"][10]["standard_error"] == pytest.approx(common.std(ddof=1) / 50**0.5)
    against = differences(regrets, "a")
    assert set(against) == {"b", "c", "d"}
    assert against["b"][10]["result"] == "ahead" and against["b"][10]["difference"] == pytest.approx(-0.001)
    assert against["c"][10]["result"] == "tie" and against["d"][10]["result"] == "behind"
    assert differences({"a": {10: common[:1]}, "b": {10: common[:1] + 1}}, "a")["b"][10]["result"] == "tie"
    assert differences({"a": {10: common}, "b": {10: common}}, "a")["b"][10]["result"] == "tie"


@pytest.mark.parametrize("name", BASIC)
def test_a_contestant_chooses_a_design_at_every_cost(name: str) -> None:
    truth = PAPER.draw(TUNED, SPACE)
    chosen = contestant(name)(truth, (4, 6), 0)
    assert list(chosen) == [4, 6] and set(chosen.values()) <= set(SPACE)


def test_named_designs_come_first() -> None:
    truth = PAPER.draw(TUNED, SPACE)
    assert named(truth) == list(NAMED_FIRST) and len(NAMED_FIRST) == 2
    better = max(NAMED_FIRST, key=truth.report)
    for method in ("random+named", "optuna+named"):
        assert contestant(method)(truth, (2,), 0)[2] == better
    scores = truth.values.copy()
    scores[truth.number[NAMED_FIRST[1]]] = 9.0
    easy = Truth(truth.designs, scores, truth.departures, truth.noise)
    for method in ("random+named", "random+named+shrunken", "asha_random+named", "optuna+named", "adaptive"):
        assert easy.regret(contestant(method)(easy, (6,), 0)[6]) == 0, method
    few = Truth(truth.designs[:20], truth.values[:20], truth.departures[:, :20], truth.noise[:, :20])
    assert named(few) == [design for design in NAMED_FIRST if design in few.designs]


def test_an_unknown_contestant_is_told_and_one_that_is_not_installed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match='Did you mean "random"'):
        contestant("randam")
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(UserError, match="python -m pip install botorch"):
        contestant("botorch")(PAPER.draw(1, SPACE), (10,), 0)
    done = CliRunner().invoke(app, ["bench", "search", "planted", "--method", "botorch"])
    assert done.exit_code != 0 and "no dependency" in (done.stderr + str(done.exception or ""))


@pytest.mark.slow
def test_botorch_searches_where_it_is_installed() -> None:
    pytest.importorskip("botorch")
    truth = PAPER.draw(TUNED, SPACE)
    one, again = (contestant("botorch+named")(truth, (4, 8), 3) for _ in range(2))
    assert one == again and set(one.values()) <= set(SPACE)
    assert "botorch+named" in NAMES


def test_the_command_prints_json_for_programs_and_a_table_for_people(tmp_path: Path) -> None:
    arguments = ["bench", "search", "planted", "--surfaces", "2", "--family", "paper", "--jobs", "1"]
    arguments += ["--method", "random", "--method", "random+named", "--save", str(tmp_path / "regrets.jsonl")]
    done = json.loads(CliRunner().invoke(app, [*arguments, "--against", "random", "--json"]).stdout)
    (regrets,) = [value for key, value in done.items() if key.startswith("planted/paper@")]
    assert set(regrets["regret"]["random"]["22"]) == {"mean_regret", "standard_error", "within_0.01"}
    assert set(regrets["differences"]) == {"random+named"}
    shown = CliRunner().invoke(app, arguments).stdout
    assert "cost 22" in shown and "chosen on these surfaces" in " ".join(shown.split())
    lines = CliRunner().invoke(app, [*arguments, "--against", "random", "--markdown"]).stdout.splitlines()
    assert lines[2] == "| method | 10 | 22 | 43 | 60 |" and lines[4].startswith("| `random`: regret | 0.")
    assert lines[5].startswith("| `random+named`: more | +") or lines[5].startswith("| `random+named`: more | -")
    assert "paired difference" not in shown, "adaptive was not asked for"
    assert len((tmp_path / "regrets.jsonl").read_text().splitlines()) == 4


def test_an_unknown_method_is_told() -> None:
    done = CliRunner().invoke(app, ["bench", "search", "planted", "--method", "randam"])
    assert done.exit_code != 0 and 'Did you mean "random"' in (done.stderr + str(done.exception or ""))
