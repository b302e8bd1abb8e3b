"""Samples in the report: of a batch task also how a missing number is asked again, and what came of it."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.planted import result

from sde_ray.analysis.effects import Group
from sde_ray.analysis.report.samples import AnsweredItem, held_out_answers, render_in_designs
from sde_ray.analysis.study import Study
from sde_ray.data.batches import split_texts
from sde_ray.design.designs import make_design
from sde_ray.evaluation.predictions import Prediction, write_predictions
from sde_ray.tasks import get_task

BASE, LINES = make_design(), make_design(format="lines")
TITLE = "An answer that leaves out number 3 gets it asked again alone:"


def study_of(folder: Path, task: str) -> Study:
    return Study(Group(task, "tiny", 100), "f1", "dev", (result(BASE, 0.5, 0),), folder)


def test_a_batch_is_shown_with_its_retry_in_each_design(tmp_path: Path) -> None:
    shown = render_in_designs(study_of(tmp_path, "errors:batch=3"), [BASE, LINES])
    assert shown is not None
    third = split_texts(get_task("errors:batch=3").load("train")[0].text)["3"]
    for html in shown.values():
        written, title, retry = re.sub(r"<[^>]+>", "", html.replace("&quot;", '"')).partition(TITLE)
        assert title and f"3:\n{third}" in written and retry.startswith(f"1:\n{third}") and "\n2:\n" not in retry
    assert shown[BASE] != shown[LINES]
    plain = render_in_designs(study_of(tmp_path, "errors"), [BASE])
    assert plain is not None and "asked again" not in plain[BASE]


def test_a_retry_counts_where_it_is_shown(tmp_path: Path) -> None:
    study, example = study_of(tmp_path, "errors:batch=3"), get_task("errors:batch=3").load("dev")[0]
    gold = {number: values[0] for number, values in example.answer.items()}
    texts = {example.id: f"1: {gold['1']}, 3: {gold['3']}.", f"{example.id}#2": f"1: {gold['2']}."}
    (tmp_path / "trials" / study.results[0].key).mkdir(parents=True)
    rows = [Prediction(name, "dev", text) for name, text in texts.items()]
    write_predictions(tmp_path / "trials" / study.results[0].key / "predictions.jsonl", rows)
    first, second = texts.values()
    # wrong all the same: what was written first has a fault
    assert held_out_answers(study, BASE) == [AnsweredItem(example.text, first, False, (("2", second),))]
