"""Three prompts with the completions that this package decodes, and the question whether an endpoint gives the same.

    write_check(adapter, folder)                                  folder/check.json
    check_endpoint(folder / "check.json", endpoint, "text")       [Difference(id, expected, completion), ...]

An endpoint that frames prompts in another way, samples, stops late or has lost precision answers otherwise: three
prompts show it before a user does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from sde_ray.config.load import open_tasks
from sde_ray.config.open import open_sweep
from sde_ray.design.asking import ask_in
from sde_ray.design.designs import parse_design
from sde_ray.errors import UserError, format_error
from sde_ray.models.predictor import Predictor, read_card
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import SWEEP
from sde_ray.tasks import TASKS
from sde_ray.tasks.rationales.chat_client import Endpoint, chat_completion
from sde_ray.types import Example

CHECK = "check.json"
ITEMS = 3
Send = Literal["text", "prompt"]


@dataclass(frozen=True)
class CheckItem:
    """A text, the prompt that asks about it, and the completion decoded here."""

    id: str
    text: str
    prompt: str
    expected: str


@dataclass(frozen=True)
class EndpointCheck:
    """The items of a check, and what is decoded at most."""

    task: str
    design: str
    max_new_tokens: int
    items: tuple[CheckItem, ...]


@dataclass(frozen=True)
class Checked:
    """An item with what the endpoint has said."""

    item: CheckItem
    completion: str

    @property
    def same(self) -> bool:
        return self.completion == self.item.expected


_CHECK = TypeAdapter(EndpointCheck)


def dev_items(adapter: Path, task: str) -> list[Example]:
    """The first dev items of the adapter's task: of the sweep it lies in, else of a task of the package."""
    sweep = next((folder for folder in adapter.absolute().parents if (folder / SWEEP).is_file()), None)
    try:
        tasks = open_tasks(open_sweep(sweep)) if sweep else TASKS
        return list(tasks[task].load("dev")[:ITEMS]) if task in tasks else []
    except UserError:  # its data are elsewhere, or not trusted
        return []


def write_check(adapter: Path, folder: Path, trust_remote_code: bool = False) -> Path | None:
    """Decode the first dev items with a merged model and keep its completions; None where no item is at hand."""
    card = read_card(adapter)
    items = dev_items(adapter, card.task)
    if not items:
        return None
    predictor = Predictor.load(folder, trust_remote_code)
    asking = ask_in(predictor.task, predictor.design, card.demonstrations, card.instruction_variant)
    prompts = [["".join(s.text for s in prompt) for _, prompt in asking.prompts(one.id, one.text)] for one in items]
    if any(len(several) > 1 for several in prompts):
        return None  # an endpoint is asked one prompt a text
    answers = predictor.predict([item.text for item in items])
    design = parse_design(card.design)
    rows = tuple(
        CheckItem(item.id, item.text, prompt, completion)
        for item, (prompt,), (_, completion) in zip(items, prompts, answers, strict=True)
    )
    check = EndpointCheck(card.task, design.slug, card.max_new_tokens, rows)
    write_atomic(folder / CHECK, json.dumps(asdict(check), ensure_ascii=False, indent=1) + "\n")
    return folder / CHECK


def read_check(path: Path) -> EndpointCheck:
    """Read a check. Raises UserError for another file."""
    try:
        check: EndpointCheck = _CHECK.validate_python(read_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or format_error(error)
        raise UserError(f"{path} is no check of an endpoint: {reason}. `sde-ray merge` writes one.") from None
    if not check.items:
        raise UserError(f"{path} has no items. Merge the adapter again: `sde-ray merge` writes three.")
    return check


def check_endpoint(path: Path, endpoint: Endpoint, send: Send = "text") -> list[Checked]:
    """Ask an endpoint the items of a check, greedily.

    Args:
        path: the check.
        endpoint: OpenAI-compatible, such as Ollama's or vLLM's.
        send: what the user's message is: the `text`, where the endpoint has the instruction (a Modelfile), or the whole
            `prompt`.

    Raises:
        UserError: when the check cannot be read, or the endpoint does not answer.
    """
    check = read_check(path)
    return [Checked(item, _answer(check, item, endpoint, send)) for item in check.items]


def _answer(check: EndpointCheck, item: CheckItem, endpoint: Endpoint, send: Send) -> str:
    content = item.text if send == "text" else item.prompt
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    reply = chat_completion(endpoint, messages, check.max_new_tokens)
    if reply.fault:
        raise UserError(f"The endpoint's answer to {item.id} cannot be used: {reply.fault}")
    return reply.text
