"""Instruction tuning in one turn: Alpaca (also Dolly's names), and prompt with completion.

    {"instruction": "Sort this ticket.", "input": "No wifi!", "output": "product: router"}
    {"prompt": "No wifi!", "completion": "{\\"product\\": \\"router\\"}"}

The output is the gold answer (`answer_text.py`). The input is the text, and the instruction is left out, as a design
writes its own; where there is no input the instruction holds the text. `history` and `system` are LLaMA-Factory's.
`keep_instruction` and `prompt_template` are those of `messages.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_ray.data.format import Format
from sde_ray.data.jsonl import convert, read_rows
from sde_ray.data.messages import OPTIONS, Turn, plain_record
from sde_ray.data.messages import translate as translate_messages
from sde_ray.data.records import BadRecord, field
from sde_ray.data.schema import Schema

OUTPUTS, INPUTS = ("output", "response"), ("input", "context")


def translate_alpaca(
    fields: Any, schema: Schema | None, keep_instruction: bool = False, prompt_template: str = ""
) -> dict[str, Any]:
    """An Alpaca record as a plain one: id, text, answer."""
    instruction = field(fields, "instruction", str)
    output = next((fields[name] for name in OUTPUTS if isinstance(fields.get(name), str)), None)
    if output is None:
        raise BadRecord('the key "output" is missing, or no text')
    given = next((fields[name] for name in INPUTS if isinstance(fields.get(name), str) and fields[name].strip()), "")
    systems = [fields["system"]] if isinstance(fields.get("system"), str) and fields["system"] else []
    turns: list[Turn] = [*_history(fields.get("history")), ("user", given or instruction), ("assistant", output)]
    instructions = [*systems, instruction] if given else systems
    return plain_record(fields, instructions, turns, schema, keep_instruction, prompt_template)


def _history(value: Any) -> list[Turn]:
    if value in (None, [], ""):
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise BadRecord('"history" is no list of [question, answer]')
    return [(role, str(said)) for pair in value for role, said in zip(("user", "assistant"), pair, strict=True)]


def translate_prompt(
    fields: Any, schema: Schema | None, keep_instruction: bool = False, prompt_template: str = ""
) -> dict[str, Any]:
    """A prompt with its completion as a plain record; both may be lists of messages (TRL)."""
    prompt, completion = field(fields, "prompt", (str, list)), fields.get("completion", fields.get("response"))
    if isinstance(prompt, list) and isinstance(completion, list):
        turns = {**fields, "messages": [*prompt, *completion]}
        return translate_messages(turns, schema, keep_instruction, prompt_template)
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise BadRecord('"prompt" and "completion" are not both texts, nor both lists of messages')
    turns_of_two: list[Turn] = [("user", prompt), ("assistant", completion)]
    return plain_record(fields, [], turns_of_two, schema, keep_instruction, prompt_template)


def is_alpaca(fields: Mapping[str, Any]) -> bool:
    """Whether a record has the keys of Alpaca or Dolly."""
    return "instruction" in fields and any(name in fields for name in OUTPUTS)


def is_prompt(fields: Mapping[str, Any]) -> bool:
    """Whether a record has a prompt and its completion."""
    return "prompt" in fields and ("completion" in fields or "response" in fields)


ALPACA = Format(read_rows, convert, translate=translate_alpaca, options=OPTIONS, overlap="error")
PROMPT_COMPLETION = Format(read_rows, convert, translate=translate_prompt, options=OPTIONS, overlap="error")
