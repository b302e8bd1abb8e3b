"""The server: what it answers, that it batches, and that nobody's request harms it or another's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers.fake_predictor import FakePredictor
from helpers.served import JSON, Client, served

from sde_ray.errors import UserError
from sde_ray.serving import server
from sde_ray.serving.guard import Limits

GOOD = {"answer": {"room": ["good"]}, "completion": "room: good", "faults": []}
CHAT = [{"role": "system", "content": "x"}, {"role": "user", "content": "no"}, {"role": "user", "content": "good room"}]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served(FakePredictor(), Limits(max_body=300_000, body_s=0.5)) as client:
        yield client


def test_a_text_gets_its_parsed_answer_and_its_faults(client: Client) -> None:
    assert client.post("/predict", {"text": "good room"}).json == GOOD
    several = client.post("/predict", {"texts": ["good room", "bad?", "", 5, None]}).json["predictions"]
    assert several[0] == GOOD and several[1]["faults"] == ["syntax"]
    assert [set(row) for row in several[2:]] == [{"error"}] * 3
    long = client.post("/predict", {"text": "good " * 300}).json
    assert long == {**GOOD, "truncated_tokens": 500}


def test_openai_s_clients_get_their_objects_with_the_answer_beside_them(client: Client) -> None:
    reply = client.post("/v1/chat/completions", {"model": "hotels", "messages": CHAT, "temperature": 0.7, "top_p": 1})
    assert reply.json["object"] == "chat.completion" and reply.json["model"] == "hotels"
    (choice,) = reply.json["choices"]
    assert choice["message"] == {"role": "assistant", "content": "room: good"} and choice["finish_reason"] == "stop"
    told = ["messages but the last of the user", "temperature"]
    assert reply.json["sde_ray"] == {"answer": {"room": ["good"]}, "faults": [], "ignored": told}
    parts = [{"type": "text", "text": "good"}, {"type": "text", "text": "room?"}]
    asked = client.post("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}], "temperature": 0})
    assert asked.json["sde_ray"] == {"answer": {"room": ["good"]}, "faults": ["syntax"]}
    two = client.post("/v1/completions", {"prompt": ["good room", "bad one"], "max_tokens": 5}).json
    assert [(one["index"], one["text"]) for one in two["choices"]] == [(0, "room: good"), (1, "room: bad")]
    assert two["sde_ray"]["predictions"][1] == {"answer": {"room": ["bad"]}, "faults": []}
    assert two["sde_ray"]["ignored"] == ["max_tokens"]
    (model,) = client.get("/v1/models").json["data"]
    assert (model["id"], model["object"], model["sde_ray"]["design"]) == ("hotels", "model", {"format": "lines"})


def test_a_stream_is_the_completion_in_one_piece_and_its_end(client: Client) -> None:
    reply = client.post("/v1/chat/completions", {"messages": CHAT[-1:], "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in reply.content.decode().split("\n\n") if line]
    first, last = (json.loads(event) for event in events[:2])
    assert events[2:] == ["[DONE]"] and first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "room: good"}
    assert last["choices"][0]["finish_reason"] == "stop" and last["sde_ray"]["answer"] == {"room": ["good"]}
    refused = client.post("/v1/chat/completions", {"messages": [{"role": "user", "content": " "}], "stream": True})
    assert refused.status == 400 and "empty" in refused.json["error"]["message"]


REFUSED: list[tuple[str, Any, int, str]] = [
    ("/predict", b"{", 400, "not JSON"),
    ("/predict", b"\xff", 400, "not UTF-8"),
    ("/predict", b"[" * 100_000, 400, "nested too deeply"),
    ("/predict", b'{"text": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 400, "nested too deeply"),
    ("/predict", b'{"text": "\\ud800"}', 400, "surrogate"),
    ("/predict", b'{"text": NaN}', 400, "not a string but float"),
    ("/predict", b'{"text": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    ("/predict", b'{"text": "' + b"x" * 300_000 + b'"}', 413, "larger than"),
    ("/predict", {"text": "x" * 200_001}, 400, "at most 200000"),
    ("/predict", {"text": "\x00 \t"[1:]}, 400, "empty"),
    ("/predict", {"text": "a", "texts": ["b"]}, 400, 'The body is {"text"'),
    ("/predict", {"test": "a"}, 400, 'Did you mean "text"'),
    ("/predict", {"texts": []}, 400, "one or more"),
    ("/predict", {"texts": "a"}, 400, "one or more"),
    ("/predict", {"texts": ["a"] * 1025}, 413, "1024 at most"),
    ("/predict", [1], 400, "a JSON object"),
    ("/v1/chat/completions", {"messages": "x"}, 400, "is a list"),
    ("/v1/chat/completions", {"messages": ["x"]}, 400, "is a list"),
    ("/v1/chat/completions", {"messages": [{"role": "assistant"}]}, 400, "no message with"),
    ("/v1/chat/completions", {"messages": [{"role": "user"}]}, 400, "not a string but NoneType"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "no image"),
    ("/v1/chat/completions", {"messages": CHAT, "model": "gpt\x1b[2J"}, 404, 'only "hotels"'),
    ("/v1/chat/completions", {"messages": CHAT, "stream": "yes"}, 400, "true or false"),
    ("/v1/chat/completions", {"messages": CHAT, "n": 2}, 400, '"n" is 1'),
    ("/v1/completions", {"prompt": {"a": 1}}, 400, "is the text"),
    ("/v1/completions", {"prompt": ["a", ""]}, 400, "Text 2: The text is empty."),
    ("/v1/embeddings", {"input": "x"}, 404, "Known: /predict"),
    ("/../../etc/passwd", {"input": "x"}, 404, "nothing here"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_answered_is_refused_in_words(
    client: Client, path: str, body: Any, status: int, words: str
) -> None:
    reply = client.send("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert reply.status == status and words in reply.json["error"]["message"], reply.content[:300]
    assert b"Traceback" not in reply.content and len(reply.content) < 1000
    assert client.post("/predict", {"text": "good room"}).json == GOOD


def test_a_wrong_method_or_kind_of_body_is_refused(client: Client) -> None:
    wrong = client.get("/predict")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert client.send("POST", "/predict", b'{"text": "x"}', {"Content-Type": "text/plain"}).status == 415
    assert (
        client.send("POST", "/predict", b'{"text": "good room"}', {"Content-Type": "Application/JSON; x"}).json == GOOD
    )


POST = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BYTES: list[tuple[list[bytes], bytes]] = [
    ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], b"400"),  # TLS
    ([b"GET /health HTTP/1.1\r\n\r\n"], b"400"),  # no host
    ([HEAD + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n"], b"400"),
    ([HEAD + b"X: a\r\n" * 300_000 + b"\r\n"], b"400"),
    ([POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], b"400"),
    ([POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}"], b"400"),
    ([POST + b"Content-Length: -1\r\n\r\n"], b"400"),
    ([b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n"], b"400"),
    ([b"GET /%00%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"], b"404"),
    ([POST + b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 6], b"413"),
    ([POST + b"Content-Length: 99\r\n\r\n{"], b"408"),  # the rest never comes
    ([POST + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n{"], b"413"),
]


@pytest.mark.parametrize(("parts", "status"), BYTES, ids=range(len(BYTES)))
def test_bytes_that_no_client_sends(client: Client, parts: list[bytes], status: bytes) -> None:
    said = client.raw(*parts)
    assert said[9:12] == status, said[:200]
    assert b"Traceback" not in said and b"Set-Cookie" not in said.partition(b"\r\n\r\n")[0]
    assert client.get("/health").json["status"] == "ok"


def test_a_connection_that_sends_no_head_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_S", 0.2)
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    started = time.monotonic()
    assert client.raw(b"") == b"" and client.raw(one) == b""
    said = client.raw(one + b"\r\n", one, wait_s=0.1)
    assert said.startswith(b"HTTP/1.1 200") and said.count(b"HTTP/1.1") == 1
    assert client.raw(*[one[n : n + 1] for n in range(20)], wait_s=0.05) == b"", "drop by drop"
    assert time.monotonic() - started < 4
    assert client.get("/health").status == 200


def test_a_request_is_one_line_of_the_log_without_its_text(client: Client) -> None:
    client.log.clear()
    client.post("/predict", {"text": "very private"})
    client.send("GET", "/a%1b[2J%0aforged", None, {})
    client.raw(b"GET /%E2%80%AE HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert len(client.log) == 3 and all("\n" not in line and line.isprintable() for line in client.log)
    assert "127.0.0.1 POST /predict 200" in client.log[0] and "private" not in client.log[0]


def test_waiting_requests_are_answered_together_each_with_its_own_answer() -> None:
    predictor = FakePredictor(seconds=0.05)
    with served(predictor, max_batch=16) as client, ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda n: client.post("/predict", {"text": f"room{n} x"}), range(100)))
        metrics = client.get("/metrics").content.decode()
    assert [reply.json["answer"] for reply in replies] == [{"room": [f"room{n}"]} for n in range(100)]
    assert max(map(len, predictor.batches)) == 16 and len(predictor.batches) < 30
    assert 'sde_requests_total{path="/predict",status="200"} 100.0' in metrics and "sde_texts_total 100.0" in metrics


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    with served(FakePredictor(seconds=0.3), max_batch=2, max_waiting=4) as client, ThreadPoolExecutor(30) as pool:
        replies = list(pool.map(lambda n: client.post("/predict", {"text": f"room{n}"}), range(30)))
        assert client.post("/predict", {"texts": ["x"] * 5}).status == 503, "it would never have room"
        assert client.post("/predict", {"text": "good room"}).json == GOOD
    refused = [reply for reply in replies if reply.status == 503]
    assert 10 <= len(refused) < 30 and all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    assert {reply.status for reply in replies} == {200, 503}


def test_a_text_that_takes_the_model_down_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["good room", "boom!", "bad room", "crash!"] * 3
    with served(FakePredictor(seconds=0.1)) as client, ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda text: client.post("/predict", {"text": text}), texts))
    assert [reply.status for reply in replies] == [200, 500, 200, 500] * 3
    assert replies[1].json["error"]["message"] == "The model could not answer this text."
    assert "secret detail" not in str([reply.content for reply in replies]), "it is on the server's own log"
    assert "secret detail" in capsys.readouterr().err


def test_an_answer_that_takes_too_long_is_given_up_and_its_text_is_forgotten() -> None:
    predictor = FakePredictor(seconds=0.5)
    with served(predictor, Limits(answer_s=0.2), max_batch=1) as client, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: client.post("/predict", {"text": f"room{n}"}), range(4)))
        assert {reply.status for reply in replies} == {504}
    assert len(predictor.batches) == 1, "those that waited were never asked"


def test_what_runs_at_the_end_is_answered() -> None:
    replies: list[Any] = []
    with served(FakePredictor(seconds=0.3), max_batch=2) as client:
        threads = [
            threading.Thread(target=lambda n=n: replies.append(client.post("/predict", {"text": f"room{n}"})))
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.15)
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * 6


def test_a_key_is_asked_for_where_there_is_one_and_a_foreign_name_is_refused() -> None:
    with served(FakePredictor(), Limits(api_key="s3cret-key", hosts=("localhost", "127.0.0.1"))) as client:
        for key in ("", "Bearer", "Bearer wrong", "Basic s3cret-key", "Bearer s3cret-ke\xff"):
            reply = client.send("POST", "/predict", b'{"text": "x"}', {**JSON, "Authorization": key})
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/metrics").status == 401 and client.get("/health").status == 200
        with_key = {**JSON, "Authorization": "Bearer s3cret-key"}
        assert client.send("POST", "/predict", b'{"text": "good room"}', with_key).json == GOOD
        for name in ("evil.example", "localhost.evil.example", "[::2]", ""):
            assert client.send("GET", "/health", None, {"Host": name}).status == 421
        assert client.send("GET", "/health", None, {"Host": "LOCALHOST:99"}).status == 200
        assert "s3cret" not in str(client.log)


def test_an_address_that_cannot_be_had_is_a_user_s_error() -> None:
    with served(FakePredictor()) as client:
        for host, port in (("127.0.0.1", client.port), ("203.0.113.7", 0), ("no such host.invalid", 0), ("x" * 300, 0)):
            with pytest.raises(UserError, match="Give another --host or --port"):
                server.bind(host, port).listen()
