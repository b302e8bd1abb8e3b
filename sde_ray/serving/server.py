"""Server: the application behind a socket (uvicorn), until somebody ends it.

bound = bind("127.0.0.1", 8000)      UserError where the port is taken
serve(app, bound, limits)            returns after SIGTERM or Ctrl-C, when what is running has been answered
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sde_ray.errors import UserError
from sde_ray.serving.guard import Limits

HEADER_S = 10.0  # in which a connection must send the head of its first request, and of each one that it has begun
MAX_HEADER = 64 * 1024  # bytes of all headers
CONNECTIONS = 1024


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, which takes connections as soon as it is served. Raises UserError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{host}:{port} cannot be listened at: {reason}. Give another --host or --port.") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """http://HOST:PORT."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: Any, limits: Limits) -> uvicorn.Server:
    """uvicorn's server of an application, with the limits that it has itself."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER,
        timeout_graceful_shutdown=round(limits.answer_s) + 5,
    )
    return uvicorn.Server(config)


def serve(app: Any, bound: socket.socket, limits: Limits) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that are running are answered first."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn sends itself again what it was ended with
    try:
        make_server(app, limits).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()


class _Protocol(H11Protocol):
    """uvicorn's own, which would wait without end for the head of a request."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy:
            self._stop_waiting()
        elif self._head_timer is None:  # of another request, on the same connection
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_S, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._busy and not self.transport.is_closing():
            self.transport.close()
