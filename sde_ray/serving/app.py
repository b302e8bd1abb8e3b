"""App: the endpoints of the server (ASGI, by Starlette).

    POST /predict                {"text": ...} or {"texts": [...]}  ->  answer, completion, faults
    POST /v1/chat/completions    OpenAI's chat: the last user message is the text
    POST /v1/completions         OpenAI's completion: the prompt is the text
    GET  /v1/models  /health  /metrics

Texts come in, answers go out; prompts are the server's own business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sde_ray.serving import requests, responses
from sde_ray.serving.batcher import Batcher
from sde_ray.serving.counters import Counters
from sde_ray.serving.guard import Guard, Limits
from sde_ray.serving.requests import Asked, RequestError


def make_app(batcher: Batcher, name: str, limits: Limits, say: Callable[[str], None] | None = None) -> Starlette:
    """The server's application.

    Args:
        batcher: answers texts; open as long as the application is used.
        name: of the model, for clients.
        limits: what a client may do.
        say: takes a line of the log; default: standard error.
    """
    counters = Counters(lambda: batcher.waiting)
    batcher.on_batch = counters.batch
    guard = Guard(limits, counters, say)
    endpoints = _Endpoints(batcher, name, guard)
    table = {
        "/predict": ("POST", endpoints.predict),
        "/v1/chat/completions": ("POST", endpoints.chat),
        "/v1/completions": ("POST", endpoints.completion),
        "/v1/models": ("GET", endpoints.models),
        "/health": ("GET", endpoints.health),
        "/metrics": ("GET", endpoints.metrics),
    }

    async def refuse(request: Request) -> Response:
        """What has no place here; `request.scope` says why it came to this."""
        method, _ = table.get(request.url.path, ("", None))
        if method:
            raise RequestError(405, f"{request.url.path} takes {method}.", Allow=method)
        raise RequestError(404, f"There is nothing here. Known: {', '.join(table)}.", "not_found")

    async def on_http_error(request: Request, error: Exception) -> Response:
        return await guard(refuse)(request)

    routes = [Route(path, guard(endpoint, path), methods=[method]) for path, (method, endpoint) in table.items()]
    return Starlette(routes=routes, exception_handlers={HTTPException: on_http_error})


class _Endpoints:
    """What each endpoint does, behind the guard."""

    def __init__(self, batcher: Batcher, name: str, guard: Guard) -> None:
        self.batcher, self.name, self.guard = batcher, name, guard
        self.started = int(time.time())

    async def predict(self, request: Request) -> Response:
        asked = requests.read_predict(await self.guard.json_body(request))
        return JSONResponse(responses.predict_body(asked, await self.batcher.answer(asked.texts)))

    async def chat(self, request: Request) -> Response:
        asked = requests.read_chat(await self.guard.json_body(request), self.name)
        return await self._completion(asked, chat=True)

    async def completion(self, request: Request) -> Response:
        asked = requests.read_completion(await self.guard.json_body(request), self.name)
        return await self._completion(asked, chat=False)

    async def _completion(self, asked: Asked, chat: bool) -> Response:
        rows = await self.batcher.answer(asked.texts)
        if asked.stream:
            events = responses.completion_events(asked, rows, self.name, chat)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return JSONResponse(responses.completion_body(asked, rows, self.name, chat))

    async def models(self, request: Request) -> Response:
        card = self.batcher.predictor.card
        model = {"id": self.name, "object": "model", "created": self.started, "owned_by": "sde-ray"}
        own: dict[str, Any] = {"base_model": card.model, "design": dict(card.design)}
        return JSONResponse({"object": "list", "data": [{**model, "sde_ray": own}]})

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self.name, "waiting": self.batcher.waiting})

    async def metrics(self, request: Request) -> Response:
        return Response(self.guard.counters.exposition(), media_type="text/plain; version=0.0.4")
