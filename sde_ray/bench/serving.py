"""Serving: requests a second, and how long one waits, with so many clients at a time.

    measure(predictor, parallel=(1, 10, 100), seconds=5.0)
    -> [Load(parallel=1, requests=61, requests_per_second=12.1, p50_ms=80.2, p99_ms=131.0, failed=0), ...]

The server is the real one, on a free port of this machine; its clients are threads of this process, which costs it a
little. Texts are short passages of plain English, each another one.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from sde_ray.evaluation.general_set import BUNDLED, open_general_set

if TYPE_CHECKING:
    from sde_ray.models.predictor import Predictor


@dataclass(frozen=True)
class Load:
    """Requests of so many clients at a time: how many a second, and their milliseconds."""

    parallel: int
    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def measure(
    predictor: Predictor, parallel: Sequence[int] = (1, 10, 100), seconds: float = 5.0, max_batch: int = 32
) -> list[Load]:
    """Measure each number of clients for so many seconds, after a request to warm up."""
    with _server(predictor, max_batch) as port:
        _ask(port, "warm up")
        return [_load(port, clients, seconds) for clients in parallel]


def _load(port: int, clients: int, seconds: float) -> Load:
    texts = [item.text[:120] for item in open_general_set(BUNDLED)]
    numbers, lock = count(), threading.Lock()
    times: list[float] = []
    failed = 0
    started = time.monotonic()

    def client() -> None:
        nonlocal failed
        while time.monotonic() - started < seconds:
            with lock:
                number = next(numbers)
            asked = time.monotonic()
            right = _ask(port, f"{number} {texts[number % len(texts)]}")
            with lock:
                times.append(1000 * (time.monotonic() - asked))
                failed += not right

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(times) / (time.monotonic() - started)
    p50, p99 = (float(np.percentile(times, share)) for share in (50, 99))
    return Load(clients, len(times), round(rate, 2), round(p50, 1), round(p99, 1), failed)


def _ask(port: int, text: str) -> bool:
    """Whether a text was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        body = json.dumps({"text": text})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _silent(line: str) -> None:
    """No log: it would be measured, too."""


@contextmanager
def _server(predictor: Predictor, max_batch: int) -> Iterator[int]:
    from sde_ray.serving.app import make_app
    from sde_ray.serving.batcher import Batcher
    from sde_ray.serving.guard import Limits
    from sde_ray.serving.server import bind, make_server

    bound, limits = bind("127.0.0.1", 0), Limits()
    with Batcher(predictor, max_batch) as batcher:
        server = make_server(make_app(batcher, predictor.model_name, limits, _silent), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield int(bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            bound.close()
