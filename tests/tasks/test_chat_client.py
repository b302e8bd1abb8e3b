"""A model behind an endpoint: asked with patience, refused clearly, and never told a key that is not its own."""

from __future__ import annotations

import time
from dataclasses import replace
from email.utils import formatdate

import pytest
from helpers.model_server import Answer, listing, said, serving

from sde_ray.errors import UserError
from sde_ray.tasks.rationales.chat_client import (
    MAX_BYTES,
    Endpoint,
    Reply,
    chat_completion,
    check_answers,
    check_endpoint,
)

HELLO = [{"role": "user", "content": "hello"}]
KEY = "sk-very-secret-0001"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Pauses(list[float]):
    """Stands for `time.sleep`, and remembers."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def test_a_question_and_its_answer() -> None:
    with serving(lambda request, n: said("good day")) as served:
        assert chat_completion(Endpoint(served.url + "/", "m"), HELLO, 7) == Reply("good day")
    assert served.paths == ["/v1/chat/completions"]
    assert served.requests == [{"model": "m", "messages": HELLO, "max_tokens": 7, "temperature": 0}]
    assert served.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(lambda request, n: said("x")) as served:
        chat_completion(Endpoint(served.url, "m"), HELLO, 7)
        assert "Authorization" not in served.headers[0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_ever_later(status: int) -> None:
    pauses = Pauses()
    with serving(lambda request, n: Answer(status) if n < 4 else said("at last")) as served:
        assert chat_completion(Endpoint(served.url, "m"), HELLO, 7, pauses) == Reply("at last")
    assert len(served.requests) == 4
    assert [0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses)] == [True] * 3


def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    pauses = Pauses()
    waits = ["7", formatdate(time.time() + 30, usegmt=True), "soon"]
    with serving(lambda request, n: Answer(429, headers={"Retry-After": waits[n - 1]}) if n < 4 else said("x")) as one:
        chat_completion(Endpoint(one.url, "m"), HELLO, 7, pauses)
    assert pauses[0] == 7 and 25 <= pauses[1] <= 31 and pauses[2] <= 4


def test_a_wait_beyond_patience_is_told_and_not_waited() -> None:
    pauses = Pauses()
    with (
        serving(lambda request, n: Answer(429, headers={"Retry-After": "3600"})) as served,
        pytest.raises(UserError, match=r"asks to wait 3600 seconds \(HTTP 429\).*same command again later"),
    ):
        chat_completion(Endpoint(served.url, "m"), HELLO, 7, pauses)
    assert pauses == [] and len(served.requests) == 1


def test_a_server_that_stays_busy_is_one_message() -> None:
    with serving(lambda request, n: Answer(503)) as served, pytest.raises(UserError, match="HTTP 503, 3 times"):
        chat_completion(Endpoint(served.url, "m", attempts=3), HELLO, 7, Pauses())


def test_an_endpoint_that_is_down_is_one_message() -> None:
    with serving(lambda request, n: said("x")) as served:
        gone = Endpoint(served.url, "m", attempts=2)
    with pytest.raises(UserError, match="cannot be used.*refused.*2 times.*the server runs"):
        chat_completion(gone, HELLO, 7, Pauses())


@pytest.mark.parametrize("answer", [Answer(body=b"{}", pause=1.0), Answer(body=b"x" * 400, drops=0.02)])
def test_a_slow_server_is_given_up_also_when_it_sends_drop_by_drop(answer: Answer) -> None:
    started = time.monotonic()
    with serving(lambda request, n: answer) as served:
        slow = Endpoint(served.url, "m", timeout=0.3, attempts=2)
        with pytest.raises(UserError, match="no answer within 0.3 seconds, 2 times"):
            chat_completion(slow, HELLO, 7, Pauses())
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}',
             b'{"choices": [{"message": {"content": null}}]}', b"[" * 100_000, b"0" * (MAX_BYTES + 70_000)]
)  # fmt: skip
def test_nonsense_is_data(body: bytes) -> None:
    with serving(lambda request, n: Answer(body=body)) as served:
        reply = chat_completion(Endpoint(served.url, "m"), HELLO, 7, Pauses())
    assert reply.text == "" and reply.fault


def test_a_wrong_key_or_address_is_told_at_once_and_the_key_never() -> None:
    for status, said_of_it in [
        (401, "refuses the key in the environment variable OPENAI_API_KEY"),
        (404, "usually in /v1"),
        (400, "HTTP 400.: no such model, with ***"),
    ]:
        body = f"no such model, with {KEY}".encode()
        with (
            serving(lambda request, n, s=status, b=body: Answer(s, b)) as served,
            pytest.raises(UserError, match=said_of_it.replace("*", r"\*")) as told,
        ):
            chat_completion(Endpoint(served.url, "m"), HELLO, 7, Pauses())
        assert len(served.requests) == 1 and KEY not in str(told.value)


def test_a_redirect_does_not_take_the_key_elsewhere() -> None:
    with serving(lambda request, n: said("x")) as other:
        answer = Answer(307, headers={"Location": other.url + "/chat/completions"})
        with serving(lambda request, n: answer) as served, pytest.raises(UserError, match="HTTP 307"):
            chat_completion(Endpoint(served.url, "m"), HELLO, 7, Pauses())
        assert other.requests == []


def test_addresses_and_keys_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Endpoint("http://host/v1", "m")
    for url in ("", "host/v1", "ftp://host", "file:///etc/passwd"):
        with pytest.raises(UserError, match="is no address"):
            check_endpoint(replace(good, url=url))
    with pytest.raises(UserError, match="no password into the address") as told:
        check_endpoint(replace(good, url="http://me:hidden@host/v1"))
    assert "hidden" not in str(told.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a\nEvil: 1")
    with pytest.raises(UserError, match="characters that no key has") as told:
        check_endpoint(good)
    assert "Evil" not in str(told.value)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (Answer(status=404), ""),  # not every server lists its models
        (Answer(body=b"<html>"), ""),
        (listing("m", "n"), ""),
        (listing("m:latest"), ""),
        (listing("other"), ""),  # an alias that is not listed, and that answers
        (Answer(status=401), r"wants a key: set the environment variable SDE_TEST_KEY \(HTTP 401\)"),
    ],
)
def test_an_endpoint_is_asked_whether_it_is_there_and_has_the_model(models: Answer, message: str) -> None:
    with serving(lambda request, number: said("hi"), models) as served:
        endpoint = Endpoint(served.url, "m", "SDE_TEST_KEY")
        if message:
            with pytest.raises(UserError, match=message):
                check_answers(endpoint)
        else:
            check_answers(endpoint)
    assert served.paths[0] == "/v1/models"
    assert [request["max_tokens"] for request in served.requests] == [1] * (models.body == listing("other").body)


def test_a_model_that_an_endpoint_has_not_is_told_with_those_that_it_has() -> None:
    has = 'The model is "qwen7b". Did you mean "qwen-7b"\\? It lists qwen-7b, llama'
    with (
        serving(lambda request, number: Answer(status=404), listing("qwen-7b", "llama")) as served,
        pytest.raises(UserError, match=has),
    ):
        check_answers(Endpoint(served.url, "qwen7b"))


def test_an_endpoint_that_is_silent_is_told_at_once() -> None:
    with pytest.raises(UserError, match=r"127.0.0.1:9/v1 does not answer \(.*refused.*\)\. Start the server, or give"):
        check_answers(Endpoint("http://127.0.0.1:9/v1", "m"))
    with (
        serving(lambda request, number: said("hi"), Answer(pause=1.0)) as served,
        pytest.raises(UserError, match=r"does not answer \(no answer within 0.2 seconds\)"),
    ):
        check_answers(Endpoint(served.url, "m"), timeout=0.2)
