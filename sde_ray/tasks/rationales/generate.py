"""Rationales for examples that have none: from a template, or written by a model behind an endpoint.

    from_template(examples, task, 'the {text} says "{value}"')        (template.py)
    written = from_model(examples, task, Endpoint("http://127.0.0.1:8000/v1", "qwen2.5-7b"), folder / "replies.jsonl")
    save(folder, task, {"train": written.examples, "dev": ..., "test": ...})

The reasoning axis needs a rationale for every slot that a training example mentions; without any the axis is pinned.
What an example has already stays. A model gets one request an example and answers with JSON, a rationale a slot; any
other reply is data: cached, counted and reported, and the slot has none. Replies are cached by the content of their
request, so a run that was stopped resumes, and no request is sent twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sde_ray.data.record_values import plain_answer
from sde_ray.design.wording import fill
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash, read_json
from sde_ray.storage.files import write_atomic
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.tasks.rationales.chat_client import Endpoint, Reply, chat_completion, check_endpoint
from sde_ray.tasks.rationales.template import missing_rationales
from sde_ray.types import Example, Task

MAX_CHARS = 300  # of a rationale; the rest is cut
TOKENS_PER_RATIONALE = 60
CHARS_PER_TOKEN = {"en": 4.0, "zh": 1.5}

ASK = {
    "en": "Below is a {text} and what was found in it. Give the {rationale} for each {slot} in one short phrase that "
    "says what the {text} says of it. Do not change what was found. Answer with one JSON object with exactly these "
    "keys: {slots}.\n\n{text}:\n{content}\n\nfound:\n{found}",
    "zh": "下面是一段{text}以及从中得到的结果。请为每个{slot}写出{rationale}，用一个短语说明{text}中的依据，"
    "不要改动结果。请只输出一个JSON对象，键恰好为：{slots}。\n\n{text}：\n{content}\n\n结果：\n{found}",
}

Message = Mapping[str, str]


@dataclass(frozen=True)
class Cost:
    """Cost of what is still to be requested: requests, and tokens as estimated from characters."""

    requests: int
    cached: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Written:
    """Examples with their rationales; `bad`: by id, what is wrong with a reply."""

    examples: list[Example]
    bad: dict[str, str]


@dataclass(frozen=True)
class _Request:
    """Request to the model for one example."""

    example: Example
    slots: tuple[str, ...]
    messages: tuple[Message, ...]
    key: str

    @property
    def max_tokens(self) -> int:
        return TOKENS_PER_RATIONALE * len(self.slots) + 20


def covered(examples: Sequence[Example]) -> int:
    """Number of examples that have a rationale for every slot they mention."""
    return sum(not missing_rationales(example) for example in examples)


# ---- written by a model ----------------------------------------------------------------------------------------------


def cost(examples: Sequence[Example], task: Task, endpoint: Endpoint, replies: Path, again: bool = False) -> Cost:
    """Estimate of what `from_model` would send; nothing is sent."""
    requests = list(_requests(examples, task, endpoint.model))
    cached = _cached_replies(replies, requests, again)
    open_ones = [request for request in requests if request.key not in cached]
    characters = sum(len(message["content"]) for request in open_ones for message in request.messages)
    tokens = round(characters / CHARS_PER_TOKEN[task.language])
    max_tokens = sum(request.max_tokens for request in open_ones)
    return Cost(len(open_ones), len(requests) - len(open_ones), tokens, max_tokens)


def from_model(
    examples: Sequence[Example],
    task: Task,
    endpoint: Endpoint,
    replies: Path,
    parallel: int = 4,
    again: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> Written:
    """Request every missing rationale from a model.

    Args:
        examples: the examples; those without a missing rationale cost nothing.
        task: its nouns and language word the request.
        endpoint: an OpenAI-compatible server.
        replies: the cache of replies, a JSONL file.
        parallel: requests at a time.
        again: repeat the request where the cached reply was bad.
        on_progress: called with (done, total) after each reply.

    Raises UserError: when the endpoint cannot be used; the replies until then are cached.
    """
    check_endpoint(endpoint)
    requests = list(_requests(examples, task, endpoint.model))
    by_key = _cached_replies(replies, requests, again)
    pending = list({request.key: request for request in requests if request.key not in by_key}.values())
    file = JsonlCache(replies)
    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        futures = {
            pool.submit(chat_completion, endpoint, request.messages, request.max_tokens): request for request in pending
        }
        try:
            for done, future in enumerate(as_completed(futures), 1):
                reply = future.result()
                by_key[futures[future].key] = reply
                file.append(futures[future].key, {"text": reply.text, "fault": reply.fault})
                on_progress(done, len(pending))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _apply(examples, requests, by_key)


def _requests(examples: Sequence[Example], task: Task, model: str) -> Iterator[_Request]:
    nouns = task.nouns
    for example in examples:
        slots = missing_rationales(example)
        if slots:
            found = "\n".join(f"{slot}: {', '.join(example.answer[slot])}" for slot in slots)
            keys = ", ".join(json.dumps(slot, ensure_ascii=False) for slot in slots)
            words = {"text": nouns.text, "rationale": nouns.rationale, "slot": nouns.slot, "slots": keys}
            text = fill(ASK[task.language], content=example.text, found=found, **words)
            messages = ({"role": "user", "content": text},)
            yield _Request(example, slots, messages, content_hash({"model": model, "messages": messages}))


def _cached_replies(replies: Path, requests: Sequence[_Request], again: bool) -> dict[str, Reply]:
    """Cached replies of these requests; with `again` only those that give every rationale."""
    entries = JsonlCache(replies).read()
    slots = {request.key: request.slots for request in requests}
    cached = {
        key: Reply(str(value.get("text", "")), str(value.get("fault", "")))
        for key, value in entries.items()
        if key in slots
    }
    return {key: reply for key, reply in cached.items() if not again or not read_reply(reply, slots[key])[1]}


def _apply(examples: Sequence[Example], requests: Sequence[_Request], replies: Mapping[str, Reply]) -> Written:
    rationales: dict[int, dict[str, str]] = {}
    bad: dict[str, str] = {}
    for request in requests:
        by_slot, fault = read_reply(replies[request.key], request.slots)
        rationales[id(request.example)] = by_slot
        if fault:
            bad[request.example.id] = fault
    written = [replace(one, rationale={**one.rationale, **rationales.get(id(one), {})}) for one in examples]
    return Written(written, bad)


def read_reply(reply: Reply, slots: Sequence[str]) -> tuple[dict[str, str], str]:
    """Parse a reply: the rationales by slot, and what is wrong with it. Total: a model may have said anything."""
    if reply.fault:
        return {}, reply.fault
    start, end = reply.text.find("{"), reply.text.rfind("}")  # models like to put JSON between other words
    value: Any = None
    try:
        value = read_json(reply.text[start : end + 1]) if 0 <= start < end else None
    except ValueError:
        pass
    if not isinstance(value, dict):
        return {}, f"no JSON object: {reply.text[:80]!r}"
    texts = {slot: value[slot] for slot in slots if isinstance(value.get(slot), str)}
    rationales = {slot: " ".join(text.split())[:MAX_CHARS] for slot, text in texts.items() if text.strip()}
    lacking = [slot for slot in slots if slot not in rationales]
    return rationales, f"no reason for {', '.join(lacking)}" if lacking else ""


# ---- files -----------------------------------------------------------------------------------------------------------


def save(folder: Path, task: Task, splits: Mapping[str, Sequence[Example]]) -> None:
    """Save examples as one JSONL file a split, for `data: {format: jsonl, path: FOLDER}`; whole or not at all.

    Raises UserError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, examples in splits.items():
            if examples:
                rows = [json.dumps(_row(example, task), ensure_ascii=False) + "\n" for example in examples]
                write_atomic(folder / f"{split}.jsonl", "".join(rows))
    except OSError as error:
        raise UserError(f'Cannot write to "{folder}": {error.strerror}. Give a folder with room by --out.') from None


def _row(example: Example, task: Task) -> dict[str, Any]:
    several = task.slots if task.kind != "label" else task.multilabel
    answer: dict[str, Any] = (
        plain_answer(example.answer, task.single)
        if task.kind == "record"
        else {slot: list(values) if slot in several else values[0] for slot, values in example.answer.items()}
    )
    row: dict[str, Any] = {"id": example.id, "text": example.text, "answer": answer}
    if example.rationale:
        row["rationale"] = dict(example.rationale)
    if example.aliases:
        row["aliases"] = {slot: list(values) for slot, values in example.aliases.items()}
    return row
