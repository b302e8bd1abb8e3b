"""The cache of per-item counts: the same numbers with it and without, whatever its file holds, and no count twice."""

from __future__ import annotations

import base64
import json
import os
import random
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sde_ray.config.trial import TrialConfig
from sde_ray.design import designs
from sde_ray.design.render import render_sample
from sde_ray.evaluation import item_cache, per_item
from sde_ray.evaluation.item_cache import ItemCache
from sde_ray.evaluation.per_item import ItemCounts, influence_matrix, read_items, read_items_by_trial
from sde_ray.evaluation.predictions import Prediction, write_predictions
from sde_ray.storage.layout import ITEMS
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import TrialResult

METRIC = "weighted_kappa"
DESIGNS = ("baseline", "es-sde", "format=json,labels=number", "instruction=none,format=lines")
OTHERS = ("masa:d2",)


def write_trial(
    folder: Path, design: str, seed: int, items: int = 30, out_of_domain: Sequence[str] = OTHERS
) -> TrialResult:
    """A finished trial whose completions are gold answers, half of them damaged."""
    form = designs.parse_design(design)
    config = TrialConfig("masa:d1", form, "tiny", seed, 40, items, out_of_domain=tuple(out_of_domain))
    chance, rows = random.Random(f"{design}/{seed}"), []
    for split, name in (("dev", "masa:d1"), *(("dev_ood", other) for other in out_of_domain)):
        task = trial_task(name)
        for example in trial_examples(name, "dev")[:items]:
            text = render_sample(example, task, form, 0).completion.text
            damaged = "".join(chance.sample(text, len(text))) if chance.random() < 0.5 else text
            rows.append(Prediction(example.id, split, damaged, name))  # type: ignore[arg-type]
    trial = folder / "trials" / config.key
    trial.mkdir(parents=True)
    write_predictions(trial / "predictions.jsonl", rows)
    return TrialResult(config.key, config.resolved(), "finished", {"dev": {METRIC: 0.5}})


@pytest.fixture
def results(tmp_path: Path) -> list[TrialResult]:
    return [write_trial(tmp_path, design, seed) for design in DESIGNS for seed in (0, 1)]


def read(
    results: Sequence[TrialResult], folder: Path, split: str = "dev", metric: str = METRIC
) -> dict[str, ItemCounts]:
    return read_items_by_trial(results, folder / "trials", split, metric)


def without_cache(
    results: Sequence[TrialResult], folder: Path, split: str, metric: str = METRIC
) -> dict[str, ItemCounts]:
    counts = {one.key: read_items(one, folder / "trials" / one.key, split, metric) for one in results}
    return {key: items for key, items in counts.items() if items is not None}


def assert_same(one: dict[str, ItemCounts], other: dict[str, ItemCounts]) -> None:
    assert one.keys() == other.keys()
    for key, items in one.items():
        assert items.ids == other[key].ids
        assert all(np.array_equal(a.rows, b.rows) for a, b in zip(items.parts, other[key].parts, strict=True))
        weights = [np.random.default_rng(0).multinomial(len(ids), [1 / len(ids)] * len(ids), 5) for ids in items.ids]
        assert np.array_equal(items.scores(weights), other[key].scores(weights))
    influences = [influence_matrix(list(counts.values())) for counts in (one, other)]
    assert np.array_equal(*influences)  # type: ignore[call-overload]


def forbid_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Any:
        raise AssertionError("counted again")

    monkeypatch.setattr(per_item, "parse_completion", forbidden)
    monkeypatch.setattr(per_item, "completions_by_task", forbidden)


@pytest.mark.parametrize("split", ["dev", "dev_ood"])
def test_counts_are_the_same_to_the_digit_and_made_once(
    split: str, results: list[TrialResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = without_cache(results, tmp_path, split)
    assert len(expected) == len(results)
    assert_same(read(results, tmp_path, split), expected)
    other = without_cache(results, tmp_path, split, "format_adherence")
    forbid_counting(monkeypatch)
    assert_same(read(results, tmp_path, split), expected)
    assert_same(read(results, tmp_path, split, "format_adherence"), other)  # one count serves every metric


def test_that_a_trial_has_nothing_on_a_split_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [write_trial(tmp_path, "baseline", 0, out_of_domain=())]
    assert read(results, tmp_path, "dev_ood") == {}
    forbid_counting(monkeypatch)
    assert read(results, tmp_path, "dev_ood") == {}


def test_other_completions_other_examples_and_other_code_are_counted_again(
    results: list[TrialResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(results, tmp_path)
    path = tmp_path / "trials" / results[0].key / "predictions.jsonl"
    other = (tmp_path / "trials" / results[1].key / "predictions.jsonl").read_bytes()
    path.write_bytes(other)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    after = read(results, tmp_path)
    assert_same(after, without_cache(results, tmp_path, "dev"))
    assert not np.array_equal(before[results[0].key].parts[0].rows, after[results[0].key].parts[0].rows)

    counted = []
    count = per_item._count
    monkeypatch.setattr(per_item, "_count", lambda *arguments: counted.append(1) or count(*arguments))
    read(results, tmp_path)
    assert not counted
    monkeypatch.setattr(item_cache, "_code_version", lambda: "another")
    read(results, tmp_path)
    assert len(counted) == len(results)
    content = per_item.fingerprint
    monkeypatch.setattr(per_item, "fingerprint", lambda *arguments: content(*arguments)[::-1])
    monkeypatch.setattr(per_item, "_opened", {})
    read(results, tmp_path)
    assert len(counted) == 2 * len(results)


def hostile(value: dict[str, Any]) -> list[Any]:
    """What a file of the cache may hold instead of a value that counts."""
    part = value["parts"]["masa:d1"]
    rows = np.frombuffer(zlib.decompress(base64.b64decode(part["rows"])), dtype=np.uint8)

    def with_part(**changes: Any) -> dict[str, Any]:
        return {**value, "parts": {"masa:d1": {**part, **changes}}}

    def packed(content: bytes) -> str:
        return base64.b64encode(zlib.compress(content)).decode()

    bad = rows.astype(float)
    bad[3] = np.inf
    return [
        {},
        [],
        7,
        {**value, "parts": [["masa:d1", part]]},
        {**value, "parts": {"masa:d1": part, "masa:d9": part}},
        {**value, "parts": {"http://127.0.0.1:9/task.yaml": part}},
        {**value, "parts": {"masa:d1": 5}},
        with_part(rows=packed(bytes(10**7))),
        with_part(rows=packed(rows.tobytes()[:-1])),
        with_part(rows=packed(rows.tobytes())[:40]),
        with_part(rows=packed(bad.tobytes()), type="<f8"),
        with_part(rows="::"),
        with_part(rows=None),
        with_part(type="|O"),
        with_part(type=["|u1"]),
        with_part(items=base64.b64encode(bytes(200)).decode()),
        with_part(items=""),
        with_part(task="0" * 16),
    ]


def test_whatever_the_file_holds_the_counts_are_right(results: list[TrialResult], tmp_path: Path) -> None:
    expected = without_cache(results, tmp_path, "dev")
    read(results, tmp_path)
    (file,) = (tmp_path / ITEMS).glob("*.jsonl")
    good = [json.loads(line) for line in file.read_text().splitlines()]
    for wrong in hostile(good[0]["value"]):
        file.write_text("".join(json.dumps({**row, "value": wrong}) + "\n" for row in good))
        assert_same(read(results, tmp_path), expected)
    for content in (b"\xff\xfe\x00", b"[" * 10**5, b"{}\n\n7\n", good[0]["key"].encode(), os.urandom(999)):
        file.write_bytes(content)
        assert_same(read(results, tmp_path), expected)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_where_nothing_can_be_written_the_counts_are_made_anew(
    place: str, results: list[TrialResult], tmp_path: Path
) -> None:
    expected = without_cache(results, tmp_path, "dev")
    if place == "file":
        (tmp_path / ITEMS).write_text("no folder")
    else:
        read(results, tmp_path)
        (file,) = (tmp_path / ITEMS).glob("*.jsonl")
        file.unlink()
        file.mkdir()
    for _ in range(2):
        assert_same(read(results, tmp_path), expected)


def test_two_commands_at_once_keep_what_both_have_counted(results: list[TrialResult], tmp_path: Path) -> None:
    expected = without_cache(results, tmp_path, "dev")
    with ThreadPoolExecutor(4) as pool:
        for counts in pool.map(lambda _: read(results, tmp_path), range(4)):
            assert_same(counts, expected)
    (file,) = (tmp_path / ITEMS).glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert {row["key"] for row in rows} == {result.key for result in results}


def test_counts_by_code_from_outside_are_not_kept(results: list[TrialResult], tmp_path: Path) -> None:
    result, task = results[0], trial_task("masa:d1")
    design = {**result.config["design"], "format": "my_pkg.my_formats:TABLE"}
    foreign = TrialResult(result.key, {**result.config, "design": design}, "finished", {})
    assert item_cache._is_foreign(foreign, [task]) and not item_cache._is_foreign(result, [task])
    cache = ItemCache(tmp_path, ("x",))
    cache.put(
        foreign, tmp_path, lambda name: per_item._open_task(name, "dev", None), {"masa:d1": ([0], np.zeros((1, 97)))}
    )
    cache.flush()
    assert not (tmp_path / ITEMS).exists()
