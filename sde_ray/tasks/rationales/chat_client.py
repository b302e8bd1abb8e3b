"""Chat client of an OpenAI-compatible endpoint: plain HTTP with retries, and the key never leaves its header.

    endpoint = Endpoint("http://127.0.0.1:8000/v1", "qwen2.5-7b-instruct")
    check_answers(endpoint)                                                            UserError where it is not there
    chat_completion(endpoint, [{"role": "user", "content": "..."}], max_tokens=200)    -> Reply("...")

A busy or failing server (429, 5xx, no answer) is asked again after its Retry-After, else with exponential backoff. A
wrong key, address or request is one `UserError` at once. An answer of another shape is data: a `Reply` with a fault.
The key comes from an environment variable, goes into the request's header only, and never follows a redirect.

`huggingface_hub.InferenceClient` has no such guarantees: it follows redirects, its timeout starts anew at every byte,
and it reads an answer of any length.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from sde_ray.errors import UserError, suggest

MAX_BYTES = 4 * 2**20  # of an answer
MAX_PAUSE_S = 30.0  # seconds between two attempts where the server names none
SHOWN_CHARS = 200
SHOWN_MODELS = 10
PROBE_TIMEOUT_S = 5.0  # of the question whether an endpoint is there


@dataclass(frozen=True)
class Endpoint:
    """Endpoint of a model; `url` ends before `/chat/completions`.

    `timeout` of one attempt and `longest_wait` before the next are in seconds.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    attempts: int = 6
    longest_wait: float = 120.0


@dataclass(frozen=True)
class Reply:
    """Reply of the model; `fault`: what is wrong with an answer that is no chat completion."""

    text: str
    fault: str = ""


class _Busy(Exception):
    """Temporary failure: try again, after `wait` seconds where the server has named a time."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None  # urllib would send the key along to wherever the server points


def check_endpoint(endpoint: Endpoint) -> None:
    """Validate an endpoint: `UserError` for an address that cannot be one, or a key that no header can hold."""
    parts = urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f'"{_shown(endpoint)}" is no address. Give one such as http://127.0.0.1:8000/v1.')
    if parts.username or parts.password:
        raise UserError(f"Put no password into the address. Set the environment variable {endpoint.key_variable}.")
    key = _key(endpoint)
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"The environment variable {endpoint.key_variable} holds characters that no key has.")


def check_answers(endpoint: Endpoint, timeout: float = PROBE_TIMEOUT_S) -> None:
    """Ask an endpoint which models it serves, once: whether it is there, takes the key, and has the model.

    A server that lists no models passes; one that lists others is asked for one token by the model.

    Raises UserError: when it does not answer within `timeout` seconds, refuses the key, or has no such model.
    """
    check_endpoint(endpoint)
    try:
        names = _listed(_send(replace(endpoint, timeout=timeout), "/models"))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise _refusal(endpoint, error) from None
        return  # it is there; not every server lists its models
    except _Busy as busy:
        raise UserError(
            f"{_shown(endpoint)} does not answer ({busy}). Start the server, or give the address of one that runs."
        ) from None
    if names and endpoint.model not in names and f"{endpoint.model}:latest" not in names:
        try:
            chat_completion(replace(endpoint, attempts=1), [{"role": "user", "content": "Hello"}], 1)
        except UserError as error:
            shown = ", ".join(names[:SHOWN_MODELS]) + ", ..." * (len(names) > SHOWN_MODELS)
            words = f'{error} The model is "{endpoint.model}".{suggest(endpoint.model, names)} It lists {shown}.'
            raise UserError(words) from None


def chat_completion(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    max_tokens: int,
    sleep: Callable[[float], None] = time.sleep,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
) -> Reply:
    """Chat completion of a model, at temperature 0 unless another is given.

    Args:
        endpoint: where, and which model.
        messages: role and content of each.
        max_tokens: of the reply.
        sleep: waits between attempts.
        temperature: of sampling.
        seed: of sampling, for servers that take one.

    Raises UserError: when the endpoint refuses the request, or stays busy or silent.
    """
    check_endpoint(endpoint)
    body = {"model": endpoint.model, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature}
    body |= {} if seed is None else {"seed": seed}
    reason = ""
    for attempt in range(endpoint.attempts):
        try:
            return _reply(_post(endpoint, json.dumps(body).encode()))
        except _Busy as busy:
            reason = str(busy)
            pause = min(2.0**attempt, MAX_PAUSE_S) * random.uniform(0.5, 1.0)
            wait = pause if busy.wait is None else busy.wait
            if wait > endpoint.longest_wait:
                raise UserError(
                    f"{_shown(endpoint)} asks to wait {wait:.0f} seconds ({reason}). What was answered is kept: run "
                    "the same command again later."
                ) from None
            if attempt + 1 < endpoint.attempts:
                sleep(wait)
    raise UserError(
        f"{_shown(endpoint)} cannot be used: {reason}, {endpoint.attempts} times. What was answered is kept. See that "
        "the server runs and the address is right, then run the same command again."
    )


def _post(endpoint: Endpoint, body: bytes) -> bytes:
    try:
        return _send(endpoint, "/chat/completions", body)
    except urllib.error.HTTPError as error:
        raise _refusal(endpoint, error) from None


def _send(endpoint: Endpoint, path: str, body: bytes | None = None) -> bytes:
    """What it answers, to a GET without a body. Raises HTTPError for a status that says no, _Busy for silence."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if _key(endpoint):
        headers["Authorization"] = f"Bearer {_key(endpoint)}"
    request = urllib.request.Request(endpoint.url.rstrip("/") + path, body, headers)
    opener = urllib.request.build_opener(_NoRedirect)
    end = time.monotonic() + endpoint.timeout
    try:
        with opener.open(request, timeout=endpoint.timeout) as response:
            return _read(response, end)
    except urllib.error.HTTPError:
        raise
    except TimeoutError:
        raise _Busy(f"no answer within {endpoint.timeout:g} seconds") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {endpoint.timeout:g} seconds"
        raise _Busy(str(reason) or type(error).__name__) from None


def _read(response: Any, end: float) -> bytes:
    """The body. A server that sends it drop by drop is slow, too: the socket's own timeout starts anew at each drop."""
    parts: list[bytes] = []
    while part := response.read1(65536):
        parts.append(part)
        if time.monotonic() > end:
            raise TimeoutError
        if sum(map(len, parts)) > MAX_BYTES:
            break
    return b"".join(parts)


def _refusal(endpoint: Endpoint, error: urllib.error.HTTPError) -> Exception:
    """What an HTTP status means: try again, or a request that will never be right."""
    status = error.code
    if status in (408, 409, 425, 429) or status >= 500:
        return _Busy(f"HTTP {status}", _retry_after(error.headers.get("Retry-After")))
    where = _shown(endpoint)
    if status in (401, 403):
        has = "refuses the key in" if _key(endpoint) else "wants a key: set"
        return UserError(f"{where} {has} the environment variable {endpoint.key_variable} (HTTP {status}).")
    if status in (404, 405) or 300 <= status < 400:
        return UserError(
            f"{where} has no chat completions (HTTP {status}). Give the address that ends before /chat/completions, "
            "usually in /v1, and a model that it serves."
        )
    return UserError(f"{where} refuses the request (HTTP {status}): {_said(endpoint, error)}")


def _said(endpoint: Endpoint, error: urllib.error.HTTPError) -> str:
    """The beginning of what the server says, without the key, which some repeat."""
    try:
        text = error.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    key = _key(endpoint)
    return " ".join((text.replace(key, "***") if key else text).split())[:SHOWN_CHARS] or "no reason was given"


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date; None for anything else."""
    if not value:
        return None
    try:
        return max(0.0, float(value)) if value.strip().replace(".", "", 1).isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())


def _reply(body: bytes) -> Reply:
    text = body.decode("utf-8", "replace")
    try:
        said = json.loads(text)["choices"][0]["message"]["content"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return Reply("", f"no chat completion: {text[:SHOWN_CHARS]!r}")
    return Reply(said) if isinstance(said, str) else Reply("", "a chat completion without text")


def _listed(body: bytes) -> list[str]:
    """The models that a server lists; none where it says something else."""
    try:
        return [str(one["id"]) for one in json.loads(body.decode("utf-8", "replace"))["data"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []


def _key(endpoint: Endpoint) -> str:
    return os.environ.get(endpoint.key_variable, "").strip()


def _shown(endpoint: Endpoint) -> str:
    """The address without a password and without a query, which may hold one."""
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
