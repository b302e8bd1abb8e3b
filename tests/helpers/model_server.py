"""A server that speaks chat completions on this machine: honest, down, slow, busy or talking nonsense, as told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One HTTP answer. `drops`: the body is sent byte by byte with this pause."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    drops: float = 0.0


def said(text: Any) -> Answer:
    """A chat completion whose content is `text`."""
    return Answer(body=json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode())


def reasons(request: dict[str, Any]) -> Answer:
    """What a good model answers to `rationales.ASK`: a reason for each key that was asked for, between other words."""
    prompt = request["messages"][0]["content"]
    keys = re.findall(r'"([^"]+)"', prompt.partition("\n\n")[0])
    return said("Sure!\n```json\n" + json.dumps({key: f"because of {key}" for key in keys}) + "\n```")


@dataclass
class Served:
    """The address, and every request that came: its body and its headers."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def listing(*names: str) -> Answer:
    """The list of models that a server has."""
    return Answer(body=json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer], models: Answer | None = None) -> Iterator[Served]:
    """Serve `answer(request, number of the request)` until the block ends; to a GET, `models` (default: not found)."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.requests.append(body)
                served.headers.append(dict(self.headers))
                served.paths.append(self.path)
                number = len(served.requests)
            try:
                self._send(answer(body, number))
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked has lost patience

        def do_GET(self) -> None:
            with lock:
                served.paths.append(self.path)
            self._send(models or Answer(status=404))

        def _send(self, one: Answer) -> None:
            time.sleep(one.pause)
            self.send_response(one.status)
            for name, value in {"Content-Length": str(len(one.body)), **one.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            parts = [one.body] if not one.drops else [bytes([byte]) for byte in one.body]
            for part in parts:
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(one.drops)

        def log_message(self, *given: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
