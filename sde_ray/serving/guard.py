"""Guard: what every request goes through before and after the server's own work.

Whoever has no key, comes under a foreign name of this machine, sends too much or too slowly is refused here. Whatever
goes wrong behind it is one short message, never a traceback. Each request is one line of the log, without its text.
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from sde_ray.errors import UserError, format_error
from sde_ray.safe_json import read_json
from sde_ray.safe_text import printable, redact
from sde_ray.serving.batcher import AnswerError, FullError
from sde_ray.serving.counters import Counters
from sde_ray.serving.requests import RequestError
from sde_ray.serving.responses import error_body

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN = "/health"  # without a key: a load balancer asks for it
SHOWN = 200  # characters of a path on the log
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What a client may do. `api_key`: that it must show; empty: none. `hosts`: names that it may call; empty: any."""

    max_body: int = 4 * 2**20
    body_s: float = 10.0
    answer_s: float = 300.0
    api_key: str = ""
    hosts: tuple[str, ...] = ()


class Guard:
    """Wraps the endpoints of a server."""

    def __init__(self, limits: Limits, counters: Counters, say: Callable[[str], None] | None = None) -> None:
        self.limits, self.counters = limits, counters
        self.say = say or _to_stderr

    def __call__(self, endpoint: Endpoint, path: str = "other") -> Endpoint:
        """The endpoint, guarded. `path`: under which it is counted."""

        async def guarded(request: Request) -> Response:
            started = time.monotonic()
            try:
                self._admit(request)
                response = await asyncio.wait_for(endpoint(request), self.limits.answer_s)
            except Exception as error:
                response = self._refusal(error)
            seconds = time.monotonic() - started
            self.counters.request(path, response.status_code, seconds)
            shown = printable(request.url.path).replace("\n", " ")[:SHOWN]
            client = request.client.host if request.client else "-"
            clock = time.strftime("%H:%M:%S")
            self.say(f"{clock} {client} {request.method} {shown} {response.status_code} {1000 * seconds:.0f} ms")
            return response

        return guarded

    def _admit(self, request: Request) -> None:
        """Raises RequestError for a client that is not welcome."""
        host = request.headers.get("host", "")
        name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            raise RequestError(400, "Content-Length and Transfer-Encoding exclude each other.", Connection="close")
        if self.limits.hosts and name.lower() not in self.limits.hosts:
            raise RequestError(421, "This server answers under the names of its own machine only: localhost.")
        if not self.limits.api_key or request.url.path == OPEN:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(key.strip().encode("utf-8", "replace"), self.limits.api_key.encode())
        if scheme.lower() != "bearer" or not same:
            raise RequestError(401, "A key is needed: Authorization: Bearer KEY.", "invalid_api_key")

    def _refusal(self, error: Exception) -> Response:
        if isinstance(error, RequestError):
            headers = {"Connection": "close"} if error.status in (408, 413) else {}  # the rest of the body is not read
            headers |= {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            return JSONResponse(error_body(error.message, error.code), error.status, {**headers, **error.headers})
        if isinstance(error, FullError):
            words = f"Too many texts are waiting. Try again in {error.retry_after} s."
            return JSONResponse(error_body(words, "overloaded"), 503, {"Retry-After": str(error.retry_after)})
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            words = f"There was no answer within {self.limits.answer_s:g} s."
            return JSONResponse(error_body(words, "timeout"), 504)
        if isinstance(error, UserError):
            return JSONResponse(error_body(str(error), "invalid_request_error"), 400)
        if isinstance(error, AnswerError):
            return JSONResponse(error_body(str(error), "server_error"), 500)
        if isinstance(error, ClientDisconnect):
            return Response(status_code=499)
        self.say(printable(redact(f"error: {type(error).__name__}: {format_error(error)}")))
        return JSONResponse(error_body("The server has a defect; its log names it.", "server_error"), 500)

    async def json_body(self, request: Request) -> Any:
        """The body of a request as JSON. Raises RequestError."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page in a browser cannot send this elsewhere unasked
            raise RequestError(415, "The body is JSON: send the header Content-Type: application/json (curl --json).")
        try:
            content = await asyncio.wait_for(self._read(request), self.limits.body_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise RequestError(408, f"The body did not come within {self.limits.body_s:g} s.") from None
        try:
            return read_json(content)
        except UnicodeDecodeError:
            raise RequestError(400, "The body is not UTF-8.") from None
        except ValueError as error:
            raise RequestError(400, f"The body is not JSON: {error}.") from None

    async def _read(self, request: Request) -> bytes:
        most = self.limits.max_body
        told = request.headers.get("content-length", "0")
        content = bytearray()
        if not told.isdecimal() or int(told[:20]) <= most:
            async for part in request.stream():
                content += part
                if len(content) > most:
                    break
            else:
                return bytes(content)
        raise RequestError(413, f"The body is larger than {most} bytes.", "request_too_large")


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
