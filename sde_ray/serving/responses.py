"""Responses: rows of answers as the bodies that the server sends.

/predict                 {"answer": {"food": ["positive"]}, "completion": "food: positive", "faults": []}
/v1/chat/completions     OpenAI's object, the completion as its content; the parsed answer under `sde_ray`
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sde_ray.serving.requests import Asked, RequestError

Row = Mapping[str, Any]


def predict_body(asked: Asked, rows: Sequence[Row]) -> dict[str, Any]:
    """The body for POST /predict. Raises RequestError for a single text that cannot be answered."""
    results = [{name: value for name, value in row.items() if name != "text"} for row in rows]
    if not asked.one:
        return {"predictions": results}
    _refuse_error(rows)
    return results[0]


def completion_body(asked: Asked, rows: Sequence[Row], model: str, chat: bool) -> dict[str, Any]:
    """OpenAI's body for a chat or a completion. Raises RequestError for a text that cannot be answered."""
    _refuse_error(rows)
    choices = [
        {"index": n, **_said(row, chat, "message"), "finish_reason": "stop", "logprobs": None}
        for n, row in enumerate(rows)
    ]
    return {**_head(model, "chat.completion" if chat else "text_completion"), "choices": choices,
            "sde_ray": _extra(asked, rows)}  # fmt: skip


def completion_events(asked: Asked, rows: Sequence[Row], model: str, chat: bool) -> Iterator[bytes]:
    """The same as server-sent events: each completion in one piece. Raises RequestError before the first."""
    _refuse_error(rows)
    head = _head(model, "chat.completion.chunk" if chat else "text_completion")
    pieces: list[dict[str, Any]] = [
        {"choices": [{"index": n, **_said(row, chat, "delta"), "finish_reason": None}]} for n, row in enumerate(rows)
    ]
    empty: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    ends = [{"index": n, **empty, "finish_reason": "stop"} for n in range(len(rows))]
    pieces.append({"choices": ends, "sde_ray": _extra(asked, rows)})
    return iter([*(_event(json.dumps({**head, **piece}, ensure_ascii=False)) for piece in pieces), _event("[DONE]")])


def error_body(message: str, code: str) -> dict[str, Any]:
    """What every refusal looks like, as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _said(row: Row, chat: bool, name: str) -> dict[str, Any]:
    return {name: {"role": "assistant", "content": row["completion"]}} if chat else {"text": row["completion"]}


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"sde-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _extra(asked: Asked, rows: Sequence[Row]) -> dict[str, Any]:
    """What OpenAI's objects have no place for: the parsed answer, its faults, and what the client has set in vain."""
    parsed = [{name: value for name, value in row.items() if name not in ("text", "completion")} for row in rows]
    ignored = {"ignored": list(asked.ignored)} if asked.ignored else {}
    return {**(parsed[0] if asked.one else {"predictions": parsed}), **ignored}


def _refuse_error(rows: Sequence[Row]) -> None:
    for n, row in enumerate(rows, 1):
        if "error" in row:
            which = f"Text {n}: " if len(rows) > 1 else ""
            raise RequestError(400, which + row["error"])
