"""The ledger keeps what it was given through torn lines, full disks and many writers; the lease is for one driver."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.config.load import check, write_sweep
from sde_ray.config.open import open_sweep
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.storage.file_lock import exclusive
from sde_ray.storage.ledger import Ledger, from_json, load_result, save_result, to_json
from sde_ray.types import RungResult, TrialResult

CONFIG = {"task": "masa:d1", "design": {"format": "lines"}, "seed": 0}
RESULT = TrialResult(
    key=content_hash(CONFIG),
    config=CONFIG,
    status="finished",
    scores={"dev": {"weighted_kappa": 0.5}, "dev_ood": {"weighted_kappa": 0.25}},
    faults={"dev": {"syntax": 3}},
    rungs=(RungResult(0, 50, {"dev": {"weighted_kappa": 0.5}}),),
    error="",
    seconds={"total": 3.5},
    tokens={"output": 20.0},
    losses=(1.5, 0.25),
    peak_memory_mb=12.5,
    environment={"device": "cpu", "torch": "2.13.0"},
)


def of_seed(seed: object) -> TrialResult:
    """The result of another seed, under the key of its configuration."""
    config = {**CONFIG, "seed": seed}
    return replace(RESULT, key=content_hash(config), config=config)


def keys(*seeds: object) -> list[str]:
    return [of_seed(seed).key for seed in seeds]


def test_a_result_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "sweep" / "ledger.jsonl")
    assert ledger.results() == {}
    ledger.append(RESULT)
    assert Ledger(ledger.path).results() == {RESULT.key: RESULT}
    assert from_json(json.loads(json.dumps(to_json(RESULT)))) == RESULT


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        (["failed", "finished"], 1),
        (["finished", "failed"], 0),
        (["failed", "failed"], 1),
        (["pruned", "finished"], 1),
        (["finished", "pruned"], 0),
        (["pruned", "failed"], 0),
    ],
)
def test_the_better_entry_counts_then_the_later(tmp_path: Path, written: list[str], counts: int) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for number, status in enumerate(written):
        ledger.append(replace(RESULT, status=status, error=str(number)))
    assert ledger.results()[RESULT.key].error == str(counts)
    assert len(ledger.entries()) == 2


@pytest.mark.parametrize("cut", [1, 7, 40, -2])
def test_a_torn_last_line_is_set_aside_and_the_rest_kept(tmp_path: Path, cut: int) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    ledger.append(of_seed(1))
    whole = ledger.path.read_bytes()
    first = whole.index(b"\n") + 1
    torn = whole[first:-1][:cut]
    ledger.path.write_bytes(whole[:first] + torn)
    before = ledger.path.read_bytes()
    with pytest.warns(UserWarning, match=r"1 line\(s\) that are no result"):
        assert list(ledger.results()) == keys(0)
    assert ledger.path.read_bytes() == before, "a reader leaves the file as it is"
    with pytest.warns(UserWarning, match="torn"):
        ledger.repair()
    assert ledger.path.read_bytes() == whole[:first]
    assert (tmp_path / "ledger.jsonl.torn").read_bytes() == torn + b"\n"
    ledger.append(of_seed(2))
    assert list(ledger.results()) == keys(0, 2)


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    ledger.append(of_seed(1))
    assert list(ledger.results()) == keys(0, 1)


BAD_LINES = {
    "an empty mapping": "{}",
    "no schema": json.dumps({**to_json(RESULT), "schema": None}),
    "an unknown status": json.dumps({**to_json(RESULT), "status": "done"}),
    "another seed under a trial's key": json.dumps({**to_json(of_seed(7)), "key": RESULT.key}),
    "a name for a key": json.dumps({**to_json(RESULT), "key": "k0"}),
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_costs_that_line_only_and_a_reader_leaves_it(line: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(of_seed(1))
    with ledger.path.open("a") as file:
        file.write(line + "\n")
    ledger.append(of_seed(2))
    before = ledger.path.read_bytes()
    with pytest.warns(UserWarning, match=r"1 line\(s\) that are no result of this sweep"):
        assert list(ledger.results()) == keys(1, 2)
    assert ledger.path.read_bytes() == before
    with pytest.warns(UserWarning, match="1 torn line"):
        repaired = ledger.repair()
    assert list(repaired) == keys(1, 2) and repaired == ledger.results()
    assert (tmp_path / "ledger.jsonl.torn").read_text() == line + "\n"


def test_where_the_data_of_a_written_out_task_are_is_no_part_of_the_key(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(replace(RESULT, config={**CONFIG, "definition": {"name": "t", "data": {"path": "/here"}}}))
    assert list(ledger.results()) == keys(0)


def test_results_that_name_foreign_code_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDE_TRUSTED", "[]")
    config = {**CONFIG, "design": {"format": "helper:T"}}
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for result in (RESULT, replace(RESULT, key=content_hash(config), config=config)):
        ledger.append(result)
    with pytest.warns(UserWarning, match="left out. If it is yours.*--trust-code helper"):
        assert list(ledger.results()) == keys(0)
    with pytest.warns(UserWarning, match="left out. If it is yours.*--trust-code helper"):
        assert list(ledger.repair()) == keys(0)
    monkeypatch.setenv("SDE_TRUSTED", '["helper"]')
    assert len(ledger.results()) == 2


def test_a_reader_needs_no_lock(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    with exclusive(tmp_path / "ledger.jsonl.lock"):  # a writer that is at work for long
        assert list(ledger.results()) == keys(0)
    (tmp_path / "ledger.jsonl.lock").unlink()
    assert list(ledger.results()) == keys(0)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"], "a reader makes no file"


def test_a_reader_waits_for_a_line_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look sees half of the last line, the next one all of it."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    ledger.append(of_seed(1))
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-20])
    monkeypatch.setattr("sde_ray.storage.ledger.time.sleep", lambda seconds: ledger.path.write_bytes(whole))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(ledger.results()) == keys(0, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_colleague_reads_a_shared_sweep(tmp_path: Path) -> None:
    """The folder may be written to by all, the ledger and its lock by their owner only."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == 0 and above.is_relative_to("/tmp") and above != Path("/tmp"):
            above.chmod(0o777)
    reader = os.fork()
    if reader == 0:
        os.setuid(65534)
        os._exit(len(ledger.results()))
    assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 1


def test_another_schema_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps({**to_json(RESULT), "schema": 99}) + "\n")
    with pytest.raises(UserError, match=r"line 1, has schema 99; this version reads schema 2"):
        Ledger(path).results()
    assert path.exists()


def test_a_full_disk_names_the_file_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(RESULT)
    before = ledger.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"ledger.jsonl.*No space left on device.*MB are free.*same command again"):
            ledger.append(of_seed(1))
    assert ledger.path.read_bytes() == before
    ledger.append(of_seed(1))
    assert list(ledger.results()) == keys(0, 1)


def _append_many(path: Path, name: str) -> None:
    for number in range(20):
        Ledger(path).append(of_seed(f"{name}{number}"))


def test_several_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    writers = [multiprocessing.get_context("fork").Process(target=_append_many, args=(path, n)) for n in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Ledger(path).results()) == 60


def test_a_result_file_is_whole_or_none(tmp_path: Path) -> None:
    save_result(tmp_path / "result.json", RESULT)
    assert load_result(tmp_path / "result.json") == RESULT
    assert load_result(tmp_path / "missing.json") is None
    (tmp_path / "broken.json").write_text('{"key": ')
    assert load_result(tmp_path / "broken.json") is None


def test_a_run_of_version_0_1_is_refused_in_one_sentence_not_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("name: x\ntask: masa:d1\nstorage: runs\ntrain: {lr: 0.01}\n")
    with pytest.raises(UserError, match='Unknown key "storage": use "storage_path" instead'):
        open_sweep(tmp_path)
    (tmp_path / "ledger.jsonl").write_text(json.dumps({**to_json(RESULT), "schema": 1}) + "\n")
    with pytest.raises(UserError, match="was written by sde_ray 0.1"):
        open_sweep(tmp_path)


@pytest.mark.parametrize("command", ["run", "plan", "effects"])
def test_a_ledger_of_version_0_1_is_refused_with_what_to_do_and_left_as_it_is(command: str, tmp_path: Path) -> None:
    config = check({"name": "x", "task": "masa:d1", "storage_path": str(tmp_path)})
    write_sweep(config)
    ledger = tmp_path / "x" / "ledger.jsonl"
    ledger.write_text(json.dumps({**to_json(RESULT), "schema": 1}) + "\n")
    before = {path: path.read_bytes() for path in (tmp_path / "x").iterdir() if path.is_file()}
    done = CliRunner().invoke(app, [command, str(tmp_path / "x" / "sweep.yaml"), "--set", "search.n_trials=30"])
    assert done.exit_code == 2
    told = " ".join(done.output.split())
    assert "was written by sde_ray 0.1" in told and "Give the sweep another name and run it again" in told
    assert all(path.read_bytes() == content for path, content in before.items())
