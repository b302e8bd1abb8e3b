"""A server in a thread of the test's own process, and a client that also sends what no client would."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sde_ray.serving.app import make_app
from sde_ray.serving.batcher import Batcher
from sde_ray.serving.guard import Limits
from sde_ray.serving.server import bind, make_server

JSON = {"Content-Type": "application/json"}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Client:
    port: int
    log: list[str] = field(default_factory=list)

    def send(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = JSON) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.send("GET", path, None, {})

    def post(self, path: str, value: Any) -> Reply:
        return self.send("POST", path, json.dumps(value).encode())

    def raw(self, *parts: bytes, wait_s: float = 0.0) -> bytes:
        """Everything that the server says to these bytes, until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            for part in parts:
                try:
                    connection.sendall(part)
                except OSError:
                    break
                time.sleep(wait_s)
            said = b""
            try:
                while piece := connection.recv(65536):
                    said += piece
            except ConnectionResetError:
                pass
            return said


@contextmanager
def served(
    predictor: Any, limits: Limits | None = None, max_batch: int = 32, max_waiting: int = 1024
) -> Iterator[Client]:
    """The server of a predictor; it ends as after SIGTERM."""
    limits = limits or Limits()
    bound = bind("127.0.0.1", 0)
    client = Client(bound.getsockname()[1])
    with Batcher(predictor, max_batch, max_waiting) as batcher:
        server = make_server(make_app(batcher, "hotels", limits, client.log.append), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield client
        finally:
            server.should_exit = True
            thread.join()
            bound.close()
