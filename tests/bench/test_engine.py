"""The engine beside transformers and peft: the arithmetic of the comparison, equal work, equal losses, equal tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sde_ray.bench.engine import decode, fidelity, measurement, packed, plain_script, roofline, shapes, sweeps, ways
from sde_ray.bench.engine.floor import Parameters, Work, count_parameters
from sde_ray.bench.engine.measurement import Measurement, ratio
from sde_ray.bench.engine.work import Job, Size, choose_designs, make_job, make_trials, score, write_samples
from sde_ray.cli.app import app
from sde_ray.config.load import load_config
from sde_ray.errors import UserError
from sde_ray.sweep.plan import plan

# ---- arithmetic ------------------------------------------------------------------------------------------------------


def test_a_measure_is_its_median_and_range() -> None:
    row = Measurement("process", "s", (30.0, 10.0, 14.0)).to_dict()
    assert row == {
        "name": "process",
        "unit": "s",
        "median": 14.0,
        "low": 10.0,
        "high": 30.0,
        "values": [30.0, 10.0, 14.0],
    }


def test_a_ratio_is_of_each_repeat() -> None:
    """Not of the medians (14 / 5), which are of different repeats."""
    ours = Measurement("ours", "s", (10.0, 5.0, 2.0))
    assert ratio("r", Measurement("process", "s", (30.0, 10.0, 14.0)), ours).values == (3.0, 2.0, 7.0)


@pytest.mark.parametrize(
    ("rates", "best"), [({1: 10.0, 8: 40.0, 32: 39.0}, 8), ({64: 5.0, 32: 5.0}, 32), ({128: 1.0}, 128)]
)
def test_the_best_batch_size_has_the_highest_rate(rates: dict[int, float], best: int) -> None:
    assert measurement.best_batch_size(rates) == best


@pytest.mark.parametrize(
    ("items", "sizes"), [(40, [1, 8, 32, 64]), (64, [1, 8, 32, 64]), (6, [1, 8]), (500, [1, 8, 32, 64])]
)
def test_batch_sizes_beyond_the_items_are_tried_once(items: int, sizes: list[int]) -> None:
    assert measurement.batch_sizes_for((64, 1, 8, 32), items) == sizes


def test_the_floor_counts_a_frozen_base() -> None:
    work = Work(train_tokens=100, loss_tokens=10) + Work(prompt_tokens=50, new_tokens=5)
    assert work.training_flops(Parameters(1000, 200)) == 4 * (1000 * 100 + 200 * 10)
    assert work.decoding_flops(Parameters(1000, 200)) == 2 * (1000 * 55 + 200 * 5)


def test_embeddings_are_no_matrix_product(tiny_llama: Path) -> None:
    attention, mlp = 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128
    assert count_parameters(str(tiny_llama)) == Parameters(body=2 * (attention + mlp), head=400 * 64)


def test_phases_and_overhead_add_up_to_all_places_for_trials() -> None:
    trial = {"write": 0.1, "load": 0.2, "tokenize": 0.3, "engine": 0.4, "setup": 3.0, "first_step": 0.5, "train": 4.5}
    phases = ways.own_phases(
        20.0, 4.0, 2, [{**trial, "decode": 2.0, "total": 10.0}, {**trial, "decode": 3.0, "total": 11.0}]
    )
    assert phases == pytest.approx(
        {
            "start": 8.0,
            "start workers": 4.0,
            "load": 0.4,
            "tokenize": 0.8,
            "adapter, optimizer": 0.8,
            "train": 10.0,
            "decode": 5.0,
            "overhead": 11.0,
        }
    )
    assert sum(phases.values()) == pytest.approx(40.0)


def outcome(*scores: float, wall: float = 1.0) -> ways.Outcome:
    return ways.Outcome(wall, scores, {"train": wall}, 10)


def test_scores_differ_beside_the_noise_of_a_seed() -> None:
    theirs = [outcome(0.5, 0.7), outcome(0.7, 0.9)]
    equal = sweeps.score_difference([outcome(0.6, 0.7), outcome(0.6, 0.9)], theirs)
    assert equal["mean"] == pytest.approx(0.0) and equal["equal_within_noise"] is True
    assert equal["typical"] == pytest.approx(0.05) and equal["seed_noise"] == pytest.approx(0.02**0.5)
    worse = sweeps.score_difference([outcome(0.3, 0.51), outcome(0.5, 0.7)], theirs)
    assert worse["mean"] == pytest.approx(-0.1975) and worse["high"] < 0 and worse["equal_within_noise"] is False
    assert sweeps.score_difference([outcome(0.5)], [outcome(0.5)])["equal_within_noise"] is None


def test_the_summary_has_walls_ratios_and_the_floor() -> None:
    runs = {"process": [outcome(0.5, wall=12.0)], "tune": [outcome(0.5, wall=9.0)], "ours": [outcome(0.5, wall=3.0)]}
    rows = {row.name: row for row in sweeps.summary(runs, [{"train": 0.5, "decode": 0.25}], 2e9)}
    assert (rows["process / ours"].median, rows["tune / ours"].median, rows["ours / floor"].median) == (4.0, 3.0, 4.0)
    assert (rows["matrix rate, all places together"].median, rows["ours / floor"].unit) == (2.0, "x")


def test_a_trial_is_compared_with_the_faster_generate() -> None:
    rates = {"generate merged": 50.0, "generate unmerged": 80.0, "ours merged": 100.0, "ours unmerged": 20.0}
    decoded = {
        way: decode.Decoded({8: rate}, Measurement(way, "tokens/s", (rate,)), [[1, 2], [3]])
        for way, rate in {**rates, decode.TRIAL: 160.0}.items()
    }
    ratios = {row.name: row.median for row in decode.summary(decoded) if row.unit == "x"}
    assert ratios[f"{decode.TRIAL} / generate unmerged"] == 2.0 and ratios["ours unmerged / generate unmerged"] == 0.25
    other = decode.Decoded({8: 1.0}, Measurement("", "tokens/s", (1.0,)), [[1, 2], [4]])
    assert decode.equal_rows(decoded[decode.TRIAL], other)["equal_items"] == 1


def test_losses_that_are_no_numbers_are_not_equal() -> None:
    assert fidelity.differences([1.0, 2.5], [1.0, 2.0]) == {"steps": 2, "max_difference": 0.5, "mean_difference": 0.25}
    assert fidelity.differences([1.0, nan], [1.0, nan])["max_difference"] == inf


# ---- equal work ------------------------------------------------------------------------------------------------------


def test_designs_are_distinct_and_always_the_same() -> None:
    designs = choose_designs(16)
    assert len(set(designs)) == 16 and designs == choose_designs(20)[:16]
    assert designs[0].slug.startswith("format=natural") and designs[decode.DESIGN]["format"] == "lines"
    with pytest.raises(UserError, match="217: masa:d1 has 216 designs"):
        choose_designs(217)


def test_the_script_trains_on_the_tokens_that_a_trial_trains_on() -> None:
    """All texts, the order, and which tokens count, of a design with several kinds of pieces."""
    from sde_ray.models import base
    from sde_ray.models.tokenization import Encoder
    from sde_ray.training.batching import batch_indices

    for trial in make_trials(Size(6, 9, 2), "tiny", seed=3):
        job = make_job(trial)
        tokenizer = base.load_tokenizer("tiny")
        encoded = Encoder(tokenizer, 1024, "off").samples(write_samples(trial))
        order = [index for step in batch_indices(9, trial.train, 3) for index in step]
        rows = plain_script.tokenize(job.data["train"], tokenizer)
        assert [tuple(row["input_ids"]) for row in rows] == [encoded[index].input_ids for index in order]
        assert [tuple(row["labels"]) for row in rows] == [encoded[index].labels for index in order]
        assert job.work.train_tokens == sum(len(row["input_ids"]) for row in rows)
        assert job.data["training_arguments"]["warmup_steps"] == 0 and len(job.data["items"]) == 2


def test_a_text_that_would_be_cut_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    folder.mkdir()
    for file in tiny_llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 330}))
    with pytest.raises(UserError, match="does not fit"):
        make_job(make_trials(Size(1, 20, 20), str(folder), 0)[0])


def test_our_sweep_runs_exactly_these_trials(tmp_path: Path) -> None:
    """Keys and all: what differs from the plain script's job would be another trial."""
    import yaml

    trials = make_trials(Size(3, 8, 4), "tiny", seed=2)
    jobs = [make_job(trial) for trial in trials]
    section = ways.sweep_section(jobs, ways.Machine(), tmp_path)
    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(section))
    planned = plan(load_config(tmp_path / "engine.yaml")).trials
    assert {trial.design for trial in planned} == {trial.design for trial in trials} and len(planned) == 3
    names = (
        "train",
        "lora",
        "generation",
        "seed",
        "train_size",
        "eval_size",
        "model",
        "chat_template",
        "splits",
        "rungs",
    )
    for trial in planned:
        assert {name: getattr(trial, name) for name in names} == {name: getattr(trials[0], name) for name in names}


def test_the_plain_script_knows_nothing_of_this_package() -> None:
    code = "import sys, runpy; runpy.run_path(sys.argv[1]); print([n for n in sys.modules if n.startswith('sde_ray')])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(plain_script.__file__)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]" and "sde_ray" not in Path(plain_script.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sweeps --ways tune,our", 'Unknown way "our". Did you mean "ours"?'),
        ("sweeps --designs 300", "masa:d1 has 216 designs"),
        ("sweeps --dtype float8", 'Unknown dtype "float8"'),
        ("decode --batch-sizes 8,0", "must be whole numbers from 1"),
        ("packed --members two", '--members "two" must be whole numbers from 1'),
        ("fidelity --dtypes fp32", 'Unknown dtype "fp32"'),
        ("decode --model ./nowhere", "./nowhere is not a model"),
    ],
)
def test_wrong_options_are_one_message(command: str, message: str) -> None:
    done = CliRunner().invoke(app, ["bench", "engine", *command.split()])
    assert done.exit_code == 2 and message in done.output


# ---- on a model ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_losses_are_those_of_transformers_trainer() -> None:
    measured = fidelity.compare(samples=8, dtypes=("float32",))
    assert [row["case"] for row in measured["rows"]] == [case.name for case in fidelity.CASES]
    for row in measured["rows"]:
        assert row["max_difference"] <= row["bound"] == 1e-5 and row["within"], row


@pytest.mark.slow
def test_tokens_are_those_of_generate() -> None:
    measured = decode.compare(items=6, train_size=8, dtypes=("float32",), batch_sizes=(1, 4), repeats=1)
    assert [(row["equal_items"], row["items"]) for row in measured["equality"]] == [(6, 6)] * 3
    rates = {row["name"]: row for row in measured["rows"]}
    assert all(row["median"] > 0 and row["unit"] in ("tokens/s", "x") for row in rates.values()) and len(rates) == 8
    assert set(measured["by_batch_size"]["float32: ours merged"]) == {1, 4}


@pytest.mark.slow
def test_the_plain_script_runs_alone_and_is_scored(tmp_path: Path) -> None:
    trial = make_trials(Size(1, 8, 4), "tiny", 0)[0]
    done: Any = ways.run_processes([make_job(trial, 4)], ways.Machine(at_once=1), tmp_path)
    completions = json.loads((tmp_path / "result-0.json").read_text())["completions"]
    assert len(completions) == 4 and done.scores == (score(trial, completions),) and done.new_tokens > 0
    assert set(done.phases) == {*ways.PLAIN_PHASES, "overhead"} and sum(done.phases.values()) == pytest.approx(
        done.wall
    )
    with pytest.raises(UserError, match=r'"process" failed with exit code 1'):
        ways.run_processes([Job(trial, {}, Work())], ways.Machine(), tmp_path)


@pytest.mark.slow
def test_a_shape_is_trained_and_decoded_without_ray() -> None:
    measured = shapes.compare(
        ["test"], batch_size=2, length=32, new_tokens=4, steps=2, repeats=2, decode_batch_sizes=[2, 4], ways=["eager"]
    )
    rows = {row["unit"]: row for row in measured["rows"]}
    assert set(rows) == {"Tflop/s", "samples/s", "%", "tokens/s"} and all(row["median"] > 0 for row in rows.values())
    flops = 4 * (2 * 64 * (64 * 3 + 128 * 3) * 64 + 512 * 64 * 8)  # two layers of 64 tokens; 8 of them count
    per_second = flops / 2 * rows["samples/s"]["low"]
    assert rows["%"]["low"] == pytest.approx(100 * per_second / (rows["Tflop/s"]["median"] * 1e12))


@pytest.mark.parametrize("members", [1, 3])
def test_packed_trials_are_those_alone_in_every_way(members: int) -> None:
    """On a model with grouped heads and biases, of random weights; also in a loop over adapters."""
    measured = packed.compare("test", members=[members], batch_sizes=[2], steps=2, repeats=1)
    assert [row["name"].split(": ")[1] for row in measured["rows"]] == [
        *("alone", "alone, peak memory", "loop", "loop, peak memory", "packed", "packed, peak memory"),
        *("loop / alone", "packed / alone"),
    ]
    assert all(row["median"] > 0 for row in measured["rows"])
    for gap in measured["equality"]:
        assert gap["losses differ by"] < 1e-5
        assert gap["adapters differ by"] < 1e-4, "Adam divides by gradients that are rounding alone"


def test_the_roofline_counts_kernels_and_takes_the_longer_of_starting_and_computing() -> None:
    """On the meta device; packed trials share the base's kernels: each has fewer, and equally much arithmetic."""
    slow_host, slow_gpu = roofline.Gpu(launch_us=1e6), roofline.Gpu(peak_tflops=1e-3, launch_us=0.0)
    for gpu, at_least, at_most in ((slow_host, 2.5, 16), (slow_gpu, 0.9, 1.3)):
        rows = roofline.estimate(["test"], members=[1, 16], batch_size=2, length=32, gpu=gpu)["rows"]
        alone, one, many = rows
        assert alone["x alone"] == 1
        assert one["kernels a trial's step"] == pytest.approx(alone["kernels a trial's step"], rel=0.15)
        assert at_least < many["x alone"] < at_most
        for row in rows:
            longer = max(row["started in ms"], row["computed in ms"])
            assert row["samples/s"] == pytest.approx(2 / (longer * 1e-3))
    arithmetic = roofline.estimate(["test"], members=[1], dropout=0.0, gpu=slow_gpu)["rows"][0]["computed in ms"]
    tokens, width, inner, layers, rank = 4 * 512, 64, 128, 2, 8
    sides = 2 * (width + width) + 2 * (width + width // 2) + 2 * (width + inner) + (inner + width)
    base = layers * (2 * width * width + 2 * width * width // 2 + 3 * width * inner)
    products = tokens * 2 * (2 * base + 3 * layers * rank * sides)
    head = 4 * 64 * 2 * 2 * width * 512
    assert arithmetic == pytest.approx(1e3 * (products + head) / (1e9 * 0.45), rel=0.2)


@pytest.mark.cluster
@pytest.mark.long
def test_the_three_ways_do_the_same_work() -> None:
    measured = sweeps.compare(Size(2, 8, 4), ways.Machine(), repeats=1)
    assert list(measured["phases"]) == ["process", "tune", "ours", "floor"] and len(measured["scores"]) == 2
    assert all(gap["typical"] < 0.5 for gap in measured["score_differences"].values())
    rows = {row["name"]: row["median"] for row in measured["rows"]}
    assert all(rows[f"{way} / floor"] > 1 for way in ways.WAYS)
