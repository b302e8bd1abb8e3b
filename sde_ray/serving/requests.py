"""Requests: the bodies that the server takes, read into texts; and what it says of those that it does not take.

    read_predict({"text": "Great food!"})                      -> Asked(texts=("Great food!",), one=True)
    read_chat({"messages": [{"role": "user", "content": ...}]}) -> Asked(...), of the last user message

The prompt is written by the server, in the adapter's own design. So a system message, earlier turns and settings of the
sampling have no part in it: what a client has set in vain is named in the answer (`ignored`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sde_ray.errors import suggest

MAX_TEXTS = 1024  # of a request
# Parameters of OpenAI's API that change nothing here at these values.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "temperature": (0, None),
    "top_p": (1, None),
    "n": (1, None),
    "best_of": (1, None),
    "presence_penalty": (0, None),
    "frequency_penalty": (0, None),
    "logprobs": (False, None),
    "echo": (False, None),
    "store": (False, None),
    "stop": (None, [], ""),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "logit_bias": (None, {}),
    "max_tokens": (None,),
    "max_completion_tokens": (None,),
    "suffix": (None, ""),
}
ANY = ("model", "messages", "prompt", "stream", "stream_options", "user", "seed", "metadata")  # whatever they say


class RequestError(Exception):
    """A request that cannot be answered: HTTP status, a message for whoever has sent it, headers of the response."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers


@dataclass(frozen=True)
class Asked:
    """Texts to be answered. `one`: a single one was given, not a list; `ignored`: parameters without an effect here."""

    texts: tuple[Any, ...]
    one: bool
    stream: bool = False
    ignored: tuple[str, ...] = ()


def read_predict(body: Any) -> Asked:
    """The body of POST /predict. Raises RequestError."""
    body = _object(body)
    keys = [key for key in ("text", "texts") if key in body]
    if len(keys) != 1 or len(body) != 1:
        odd = [key for key in body if key not in ("text", "texts")]
        hint = suggest(odd[0], ("text", "texts")) if odd else ""
        raise RequestError(400, f'The body is {{"text": "..."}} or {{"texts": ["...", ...]}}.{hint}')
    if keys == ["text"]:
        return Asked((body["text"],), True)
    return Asked(_several(body["texts"], "texts"), False)


def read_completion(body: Any, model: str) -> Asked:
    """The body of POST /v1/completions, whose prompt is the text. Raises RequestError."""
    body = _object(body)
    _check_model(body, model)
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return Asked(_several(prompt, "prompt"), False, _stream(body), _ignored(body))
    if not isinstance(prompt, str):
        raise RequestError(400, '"prompt" is the text, or a list of texts.')
    return Asked((prompt,), True, _stream(body), _ignored(body))


def read_chat(body: Any, model: str) -> Asked:
    """The body of POST /v1/chat/completions: its last user message is the text. Raises RequestError."""
    body = _object(body)
    _check_model(body, model)
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise RequestError(400, '"messages" is a list of {"role": ..., "content": ...}.')
    of_user = [one for one in messages if one.get("role") == "user"]
    if not of_user:
        raise RequestError(400, 'There is no message with "role": "user", which would be the text.')
    others = ("messages but the last of the user",) if len(messages) > 1 else ()
    return Asked((_content(of_user[-1].get("content")),), True, _stream(body), (*others, *_ignored(body)))


def _content(content: Any) -> Any:
    """A message's text; OpenAI's list of parts is joined."""
    if not isinstance(content, list):
        return content
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    if not all(isinstance(part, str) for part in parts):
        raise RequestError(400, 'A message\'s content is a text, or parts of the type "text": no image is read.')
    return "\n".join(str(part) for part in parts)


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise RequestError(400, "The body is a JSON object.")
    return body


def _several(texts: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(texts, list) or not texts:
        raise RequestError(400, f'"{name}" is a list of one or more texts.')
    if len(texts) > MAX_TEXTS:
        raise RequestError(413, f'"{name}" has {len(texts)} texts; a request has {MAX_TEXTS} at most.')
    return tuple(texts)


def _check_model(body: Mapping[str, Any], model: str) -> None:
    asked = body.get("model")
    if asked is not None and asked != model:
        raise RequestError(404, f'There is no model {str(asked)[:60]!r} here, only "{model}".', "model_not_found")


def _stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestError(400, '"stream" is true or false.')
    if body.get("n") not in NEUTRAL["n"]:
        raise RequestError(400, '"n" is 1: decoding is greedy, so that there is one completion of a text.')
    return bool(stream)


def _ignored(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of parameters that were set and do nothing."""
    return tuple(key[:60] for key, value in body.items() if key not in ANY and value not in NEUTRAL.get(key, ()))[:20]
