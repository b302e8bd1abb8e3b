"""What a plan says of the data before anything runs: items, sizes that were cut, texts that do not fit, odd labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.load import check
from sde_ray.metrics import KINDS
from sde_ray.metrics.meanings import MEANINGS, metric_meaning
from sde_ray.sweep.data_summary import DataSummary, overlong_notes, summarize
from sde_ray.sweep.plan import plan
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tasks.titles import task_title

Row = dict[str, Any]


def row(n: int, text: str = "short text", **answer: str) -> Row:
    return {"id": f"r{n}", "text": f"{n} {text}", "answer": answer or {"urgency": ("low", "high")[n % 2]}}


def config_of(folder: Path, train: list[Row], dev: list[Row], test: list[Row], **values: Any) -> Any:
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    task = {"name": "tickets", "kind": "label", "slots": ["urgency"], "labels": ["low", "high", "none yet"]}
    data = {"format": "jsonl", **{split: str(folder / f"{split}.jsonl") for split in ("train", "dev", "test")}}
    defaults = {"name": "x", "task": {**task, "data": data}, "train_sizes": 4, "search": {"method": "grid"}}
    return check({**defaults, "designs": ["baseline"], **values}, base=folder)


def summary_of(folder: Path, train: list[Row], dev: list[Row], test: list[Row], **values: Any) -> DataSummary:
    (summary,) = summarize(plan(config_of(folder, train, dev, test, **values)))
    return summary


def plain(count: int, start: int = 0) -> list[Row]:
    return [row(n) for n in range(start, start + count)]


def test_items_metric_and_sizes_are_told(tmp_path: Path) -> None:
    sizes = {"eval_size": 60, "validation": {"test_size": 25}}
    summary = summary_of(tmp_path, plain(40), plain(27, 100), plain(30, 200), **sizes)
    assert summary.counts == "40 train / 27 dev / 30 test"
    assert (summary.scored, summary.tested) == (27, 25)
    assert (summary.title, summary.metric) == ("tickets", "kappa") and "0 = chance" in summary.meaning
    first, few = summary.notes
    assert first == "eval_size is 60, but the dev split has 27: trials are scored on 27 items."
    assert few.startswith("27 dev items and 25 test items:") and "raise validation.test_size" in few


def test_nothing_is_said_where_there_is_nothing_to_say(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, plain(40), plain(120, 100), plain(130, 300))
    assert summary.notes == () and summary.overlong == ()


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_an_overlong_text_of_any_split_is_counted_in_tokens(
    split: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"train": plain(40), "dev": plain(120, 100), "test": plain(130, 300)}
    rows[split].append(row(999, "a long complaint about the router " * 1400))  # 48,000 characters
    summary = summary_of(tmp_path, **rows)
    (overlong,) = summary.overlong
    assert overlong.counts[split] == 1 and sum(overlong.counts.values()) == 1
    assert not overlong.is_estimate and overlong.longest > 4000 and 0 < overlong.room < 1024
    assert "longer than the specified maximum" not in caplog.text, "a library's own words"
    (note,) = overlong_notes(summary)
    assert f"1 {split} texts do not fit on tiny" in note and "are cut" in note


def test_a_model_that_is_not_here_gives_an_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    long = [row(999, "a long complaint about the router " * 1400)]
    summary = summary_of(tmp_path, plain(40) + long, plain(120, 100), plain(130, 300), model="org/not-here")
    (overlong,) = summary.overlong
    assert overlong.is_estimate and overlong.counts["train"] == 1
    assert overlong_notes(summary)[0].startswith("about 1 train texts do not fit on org/not-here")


def test_the_count_is_that_of_training(tmp_path: Path) -> None:
    """Around the limit: what is counted as cut is what the trial's own encoder cuts."""
    from sde_ray.config.load import open_tasks
    from sde_ray.design.render import render_sample
    from sde_ray.models.base import load_tokenizer
    from sde_ray.models.decoder import completion_budget
    from sde_ray.models.tokenization import Encoder

    train = [row(n, "slow wifi and a long queue " * n) for n in range(60, 160, 4)] + plain(20, 500)
    config = config_of(tmp_path, train, plain(120, 1000), plain(130, 2000), train_sizes=len(train))
    (summary,) = summarize(plan(config))
    task = open_tasks(config)["tickets"]
    design = plan(config).trials[0].design
    encoder = Encoder(load_tokenizer("tiny"), config.train.max_length)
    samples = [render_sample(example, task, design) for example in task.load("train")]
    encoded = encoder.samples(samples, completion_budget(None, encoder, samples))
    cut = sum(one.num_truncated > 0 for one in encoded)
    assert 3 < cut < 25 and summary.overlong[0].counts["train"] == cut


def test_odd_labels_are_told_once(tmp_path: Path) -> None:
    same = [row(n, urgency="low") for n in range(100, 220)]
    summary = summary_of(tmp_path, plain(40), same, [row(n, urgency="none yet") for n in range(300, 420)])
    alike, unlearned, unscored = summary.notes
    assert 'Every dev item has the same answer for urgency ("low"). Any design gets that right' in alike
    assert unlearned.endswith("so that none can be learned: none yet.")
    assert unscored.endswith("so that none is scored: high.")


def test_a_run_says_it_before_the_first_trial(tmp_path: Path) -> None:
    same = [row(n, urgency="low") for n in range(100, 220)]
    config = config_of(tmp_path, plain(40), same, plain(130, 300), storage_path=str(tmp_path / "runs"))
    (note,) = SweepRun(config).notes()
    assert note.startswith("tickets: Every dev item has the same answer")


def test_every_metric_of_the_package_has_a_meaning() -> None:
    names = {name for kind in KINDS.values() for name in kind.metrics} | {"format_adherence"}
    assert names - set(MEANINGS) == set()
    assert metric_meaning("f1_strict/DNA").endswith("a faulty completion is all wrong; of DNA alone")
    assert metric_meaning("f1/DNA").startswith("found and right")


def test_a_task_of_a_file_is_called_by_its_own_name(tmp_path: Path) -> None:
    config = config_of(tmp_path, plain(40), plain(120, 100), plain(130, 300))
    path = tmp_path / "some_file.yaml"
    path.write_text(json.dumps(config.task[0]))
    by_path = check({"name": "x", "task": str(path), "train_sizes": 4, "designs": ["baseline"]})
    (summary,) = summarize(plan(by_path))
    assert (summary.task, summary.title) == (str(path), "tickets")
    assert plan(by_path).trials[0].task == str(path), "the name in a trial's key stays"
    assert task_title("/elsewhere/hotels.yaml") == "hotels" and task_title("mams@/my/data/MAMS") == "mams@MAMS"
