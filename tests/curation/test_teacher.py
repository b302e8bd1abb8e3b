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
from helpers.plans import plan_of

from sde_ray.cli.views.plan import summary
from sde_ray.config.curation import Augment, Curation
from sde_ray.config.load import check
from sde_ray.config.names import refuse_untrusted, trust_named
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.curation.augment.llm2llm import prompt_for
from sde_ray.curation.augment.teacher import REPLIES, EndpointTeacher, ModelTeacher, open_teacher
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.plugins import TRUSTED
from sde_ray.tasks import get_task
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.training.runner import RunnerResources
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Segment

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
