"""Teachers: the base and named models on the workers, endpoints with their budget, their faults and their key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.model_server import Answer, said, serving
from helpers.plans import BASE, plan_of

from sde_ray.analysis.effects import Group
from sde_ray.analysis.report import Report, render_page
from sde_ray.analysis.report.chapter import Chapter
from sde_ray.analysis.report.curation import useless_teachers
from sde_ray.analysis.study import Study
from sde_ray.cli.views.plan import summary
from sde_ray.config.curation import Augment, Curation
from sde_ray.config.load import check
from sde_ray.config.names import refuse_untrusted, trust_named
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.curation.augment import teacher as teacher_module
from sde_ray.curation.augment.llm2llm import prompt_for
from sde_ray.curation.augment.teacher import REPLIES, EndpointTeacher, ModelTeacher, open_teacher
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.plugins import TRUSTED
from sde_ray.sweep.curation import check_reachable
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tasks import get_task
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.training.runner import RunnerResources
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Segment, TrialResult

SOUP, TEA = ((Segment(f"Write about {what}.", loss=False),) for what in ("soup", "tea"))
KEY = "sk-not-for-any-file"
FEW = {"instruction": ["last"], "input_modeling": ["off"], "format": ["lines"], "unmentioned": ["placeholder"]}
AXES = {**FEW, "labels": ["text"], "reasoning": ["none"], "augment": ["none", "llm2llm"]}


def endpoint(url: str, folder: Path, **settings: Any) -> EndpointTeacher:
    made = open_teacher(
        Augment(teacher=url, teacher_model="m", **settings),
        SimpleNamespace(folder=folder),  # type: ignore[arg-type]
    )
    assert isinstance(made, EndpointTeacher)
    return made


# ---- models on the workers -------------------------------------------------------------------------------------------


@pytest.fixture
def workers() -> Iterator[WorkerGroup]:
    one = WorkerGroup(RunnerResources(), in_process=True)
    yield one
    one.call("end_trial")


def test_the_base_teaches_without_what_the_student_has_learned(workers: WorkerGroup, tmp_path: Path) -> None:
    """It answers as the same model does that is loaded by its name, whatever adapter is fitted; the student stays."""
    design, short = make_design(augment="llm2llm"), Generation(max_new_tokens=3)
    train = Train(learning_rate=1e-1, train_batch_size=4)
    config = TrialConfig("masa:d1", design, "tiny", 1, 4, 2, train=train, generation=short)
    drawn = draw(get_task("masa:d1").load("train"), 4, 1)
    preparation = Preparation(config, tmp_path, workers, drawn, methods_of(config))
    prompts = [prompt_for(one, preparation.task) for one in drawn[:2]]
    preparation.fit(preparation.render(drawn))
    student = preparation.complete([("s", prompts[0])])
    same = ModelTeacher("same", preparation).answer(prompts, 8, 1.0, 3)
    assert same == ModelTeacher("tiny", preparation).answer(prompts, 8, 1.0, 3)
    assert len(same) == 2 and all(same)
    assert same != ModelTeacher("same", preparation).answer(prompts, 8, 1.0, 4)
    greedy = [ModelTeacher("same", preparation).answer(prompts[:1], 3, 0.0, seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1] != student
    assert preparation.complete([("s", prompts[0])]) == student


def test_a_warm_worker_loads_a_named_teacher_once_and_holds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[Any, ...]] = []
    held: list[int] = []

    def load(*identity: Any) -> object:
        held.append(len(teacher_module._residents))
        loaded.append(identity)
        return object()

    monkeypatch.setattr("sde_ray.models.base.load_base", load)
    monkeypatch.setattr(teacher_module, "_residents", {})
    asked = [("a", False, "float32"), ("a", False, "float32"), ("b", False, "float32"), ("a", False, "float32")]
    first, again, _, third = [teacher_module._resident_teacher(*identity) for identity in asked]
    assert first is again is not third and loaded == [asked[0], asked[2], asked[3]]
    assert held == [0, 0, 0]  # what was there is released before the next is loaded


# ---- endpoints -------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_asked_once_for_each_and_its_key_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TEACHER_KEY", KEY)
    with serving(lambda request, number: said(request["messages"][0]["content"].upper())) as served:
        for _ in range(2):  # the second time as after a kill
            made = endpoint(served.url, tmp_path, key_variable="MY_TEACHER_KEY")
            assert made.answer([SOUP, TEA, SOUP], 7, 0.5, 3) == [
                "WRITE ABOUT SOUP.",
                "WRITE ABOUT TEA.",
                "WRITE ABOUT SOUP.",
            ]
        assert len(served.requests) == 2
        made.answer([SOUP], 7, 0.5, 4)  # another seed: another answer is wanted
        assert len(served.requests) == 3
    asked = {"model": "m", "max_tokens": 7, "temperature": 0.5, "seed": 3}
    assert {**served.requests[0], "messages": 0} == {**asked, "messages": 0}
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in served.headers)
    assert all(KEY not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_no_chat_completion_is_an_empty_reply(tmp_path: Path) -> None:
    with serving(lambda request, number: Answer(body=b"<html>") if number == 1 else said(None)) as served:
        assert endpoint(served.url, tmp_path, parallel=1).answer([SOUP, TEA], 7, 0.0, 1) == ["", ""]


def test_what_was_answered_before_an_endpoint_went_down_is_kept(tmp_path: Path) -> None:
    def once(request: dict[str, Any], number: int) -> Answer:
        return said("first") if number == 1 else Answer(status=401)

    with serving(once) as served:
        made = endpoint(served.url, tmp_path, parallel=1)
        with pytest.raises(UserError, match="wants a key: set the environment variable OPENAI_API_KEY"):
            made.answer([SOUP, TEA], 7, 0.0, 1)
    assert [json.loads(line)["value"]["text"] for line in (tmp_path / REPLIES).read_text().splitlines()] == ["first"]
    with serving(lambda request, number: said("second")) as again:
        made = endpoint(served.url, tmp_path)
        made.endpoint = replace(made.endpoint, url=again.url)
        made.answer([TEA], 7, 0.0, 1)
        made.endpoint = replace(made.endpoint, url=served.url)
        assert made.answer([SOUP], 7, 0.0, 1) == ["first"]


# ---- plan and settings -----------------------------------------------------------------------------------------------


def test_the_plan_says_what_it_costs() -> None:
    lines = "\n".join(summary(plan_of(axes=AXES)))
    assert "augment, data: none, llm2llm; llm2llm takes 7 times as long" in lines
    curation = {"augment": {"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m", "rounds": 1, "equal": "samples"}}
    lines = "\n".join(summary(plan_of(axes=AXES, curation=curation)))
    assert "llm2llm takes 3 times as long" in lines
    assert "augment=llm2llm: up to 80 requests a trial to m at the endpoint" in lines


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_model": ""}, "Set curation.augment.teacher_model to one that the endpoint serves"),
        ({"max_requests": 39}, "max_requests is 39, and a first round .* may need 40 requests"),
        ({"teacher": "http://"}, 'curation.augment.teacher: "http://" is no address'),
    ],
)
def test_the_plan_refuses_an_endpoint_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    augment = {"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m", **settings}
    with pytest.raises(UserError, match=message):
        plan_of(axes=AXES, curation={"augment": augment})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "models/nowhere"}, '"models/nowhere" is neither a folder here nor in the cache of the hub'),
        ({"teacher": "./nowhere"}, "nowhere"),
        ({"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m"}, "augment=llm2llm: http://127.0.0.1:9/v1 does not"),
    ],
    ids=["hub", "folder", "endpoint"],
)
def test_a_teacher_that_is_not_there_is_told_before_anything_trains(
    settings: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `plan`, and by whatever starts trials; not in a trial."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    values = {**BASE, "axes": AXES, "curation": {"augment": settings}, "storage_path": str(tmp_path)}
    with pytest.raises(UserError) as error:
        _ = SweepRun(check(values), check_tokenizer=True).plan
    assert message in str(error.value)
    without = {**values, "axes": {**AXES, "augment": ["none"]}, "curation": {"augment": {"teacher": "same"}}}
    assert SweepRun(check(without), check_tokenizer=True).plan.trials


def test_an_endpoint_is_not_asked_for_trials_that_have_ended(tmp_path: Path) -> None:
    augment = {"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m"}
    trials = plan_of(axes=AXES, curation={"augment": augment}).trials
    check_reachable(one for one in trials if not one.curated)
    with pytest.raises(UserError, match="does not answer"):
        check_reachable(trials)


def test_a_teacher_that_gave_nothing_is_told_beside_the_tables(tmp_path: Path) -> None:
    def result(seed: int, **counts: float) -> TrialResult:
        config = TrialConfig("masa:d1", make_design(augment="llm2llm"), "tiny", seed, 8, 4)
        named = {f"augment/{name}": number for name, number in {"requests": 8, **counts}.items()}
        return TrialResult(config.key, config.resolved(), "finished", {"dev": {"kappa": 0.5}}, curation=named)

    refused = result(0, kept=0, dropped_unreadable=6, dropped_near_copy=2)
    useful = result(1, kept=7, dropped_unreadable=1)
    assert list(useless_teachers([useful])) == []
    assert list(useless_teachers([refused, useful])) == [
        "augment=llm2llm: in 1 of 2 trials nothing of what the teacher wrote was left (unreadable 6, near copy 2), so "
        "these are plain trials."
    ]
    study = Study(Group("masa:d1", "tiny", 8), "kappa", "dev", (refused, useful), tmp_path)
    assert "nothing of what the teacher wrote was left" in render_page(Report("x", [Chapter(study)]))


@pytest.mark.parametrize("address", ["https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_an_address_holds_no_secret(address: str) -> None:
    with pytest.raises(UserError, match="neither a query nor a password") as error:
        check({"name": "x", "task": "masa:d1", "curation": {"augment": {"teacher": address}}})
    assert "secret" not in str(error.value)


def test_a_folder_of_results_names_no_teacher_that_the_user_has_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "[]")
    values = {"task": "masa:d1", "curation": {"augment": {"teacher": "https://evil.example/v1"}}}
    with pytest.raises(UserError, match='the teacher "https://evil.example/v1"'):
        refuse_untrusted(values, "sweep.yaml")
    trust_named(values)
    refuse_untrusted(values, "sweep.yaml")
    refuse_untrusted({"task": "masa:d1", "curation": {"augment": {"teacher": "same"}}}, "sweep.yaml")


def test_how_an_endpoint_is_reached_is_not_in_the_key_at_its_default() -> None:
    config = TrialConfig("masa:d1", make_design(augment="llm2llm"), "tiny", 0, 40, 20)
    assert config.resolved()["curation"]["augment"].keys().isdisjoint({"key_variable", "timeout_s", "parallel"})
    asked = replace(config, curation=Curation(augment=Augment(teacher="other")))
    assert asked.key != config.key
