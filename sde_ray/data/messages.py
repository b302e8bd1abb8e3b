"""Conversations: OpenAI messages and ShareGPT, of one turn or several, with a system message or without.

    {"messages": [{"role": "system", "content": "Sort tickets."}, {"role": "user", "content": "No wifi!"},
                  {"role": "assistant", "content": "{\\"product\\": \\"router\\"}"}]}
    {"conversations": [{"from": "human", "value": "No wifi!"}, {"from": "gpt", "value": "product: router"}]}

The last message is the gold answer (`answer_text.py`), the user's message before it the text; of several turns the text
is all of them, a line each. The system message is an instruction: a design writes its own, so it is left out unless
`keep_instruction`. `prompt_template`, such as "Sort this ticket: {text}", takes the text out of a message that holds an
instruction, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.data.answer_text import read_answer, split_thought
from sde_ray.data.format import Format
from sde_ray.data.jsonl import convert, read_rows
from sde_ray.data.records import BadRecord
from sde_ray.data.schema import Schema

KEYS = ("messages", "conversations", "conversation", "chat", "dialog", "dialogue", "turns")
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
}
OPTIONS = ("keep_instruction", "prompt_template")

Turn = tuple[str, str]
"""Role and text."""


def find_turns(fields: Any) -> list[Any] | None:
    """The list of turns of a record; None where it has none."""
    if not isinstance(fields, Mapping):
        return None
    lists = (fields.get(key) for key in KEYS)
    return next((turns for turns in lists if isinstance(turns, list) and turns and _is_turn(turns[0])), None)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and ({"role", "content"} <= {*turn} or {"from", "value"} <= {*turn})


def translate(
    fields: Any, schema: Schema | None, keep_instruction: bool = False, prompt_template: str = ""
) -> dict[str, Any]:
    """A conversation as a plain record: id, text, answer."""
    turns = find_turns(fields)
    if turns is None:
        raise BadRecord(f'expected a list of turns under "messages" or "conversations", found {_keys(fields)}')
    read = [_turn(turn) for turn in turns]
    systems = [text for role, text in read if role == "system"]
    systems += [fields["system"]] if isinstance(fields.get("system"), str) and fields["system"] else []
    return plain_record(fields, systems, [turn for turn in read if turn[0] != "system"], schema, keep_instruction,
                        prompt_template)  # fmt: skip


def plain_record(
    fields: Mapping[str, Any],
    instructions: Sequence[str],
    turns: Sequence[Turn],
    schema: Schema | None,
    keep_instruction: bool,
    prompt_template: str,
) -> dict[str, Any]:
    """The plain record of a dialogue: its last turn is the answer, what stands before it the text."""
    if len(turns) < 2 or turns[-1][0] != "assistant":
        last = f"the last one is the {turns[-1][0]}'s" if turns else "there is none"
        raise BadRecord(f"expected a message of the user and, as the last one, the assistant's answer; {last}")
    before = [*turns[:-1]]
    if prompt_template:
        before[-1] = before[-1][0], _inside(before[-1][1], prompt_template)
    text = before[0][1] if len(before) == 1 else "\n".join(f"{role}: {said}" for role, said in before)
    if keep_instruction:
        text = "\n".join([*instructions, text])
    answer, thought = split_thought(turns[-1][1])
    if schema and schema.kind == "record":
        values: Any = answer  # `answer_records.py` reads it
    else:
        values = _split(read_answer(answer, schema.slots if schema else ()), text, schema)
    record = {key: fields[key] for key in ("id", "rationale", "aliases") if fields.get(key) not in (None, "")}
    reason = {"rationale": thought} if thought and schema and len(schema.slots) == 1 else {}
    return {**reason, **record, "text": text, "answer": values}


def instruction_of(fields: Mapping[str, Any]) -> str:
    """What a conversation or an Alpaca record tells the model to do beside the text; empty where it says nothing."""
    turns = [turn for turn in find_turns(fields) or () if isinstance(turn, Mapping)]
    if turns:
        systems = [turn for turn in turns if str(turn.get("role", turn.get("from"))) in ("system", "developer")]
        told = [str(turn.get("content", turn.get("value"))) for turn in systems]
        return "\n".join(told) or str(fields.get("system", ""))
    has_input = any(isinstance(fields.get(name), str) and fields[name].strip() for name in ("input", "context"))
    return str(fields.get("instruction", "")) if has_input else ""


def _turn(turn: Any) -> Turn:
    if not _is_turn(turn):
        raise BadRecord('a turn has no "role" and "content" (or "from" and "value")')
    role = turn.get("role", turn.get("from"))
    text = turn["content"] if "content" in turn else turn["value"]
    if not isinstance(role, str) or role not in ROLES:
        raise BadRecord(f'the role "{role}" is not read. Known: {", ".join(ROLES)}')
    if isinstance(text, list):  # OpenAI's list of parts
        parts: list[Any] = [part.get("text") if isinstance(part, Mapping) else part for part in text]
        text = "\n".join(parts) if all(isinstance(part, str) for part in parts) else None
    if isinstance(text, Mapping) and ROLES[role] == "assistant":  # an answer that was not written out as text
        return "assistant", _written(text)
    if not isinstance(text, str):
        raise BadRecord(f"a message of the {ROLES[role]} holds no text alone (images, calls of tools)")
    return ROLES[role], text


def _written(answer: Mapping[str, Any]) -> str:
    return json.dumps(dict(answer), ensure_ascii=False)


def _inside(text: str, template: str) -> str:
    """What stands for {text} in a message of the form of the template."""
    before, _, after = template.partition("{text}")
    fits = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    if not fits:
        raise BadRecord("the user's message is not of the form of prompt_template")
    return text[len(before) : len(text) - len(after)].strip()


def _split(values: Any, text: str, schema: Schema | None) -> Any:
    """Values with lists for spans that are written as one, "IL-2, NF-kB": the whole does not stand in the text, each
    part does. `answer_values.py` does so for labels."""
    if schema and schema.kind != "span":
        return values

    def split(value: Any) -> Any:
        if not isinstance(value, str) or value in text:
            return value
        for mark in (";", ",", "、"):
            parts = [part.strip() for part in value.split(mark)]
            if len(parts) > 1 and all(part and part in text for part in parts):
                return parts
        return value

    return {slot: split(value) for slot, value in values.items()} if isinstance(values, Mapping) else split(values)


def _keys(fields: Any) -> str:
    return f"the keys {', '.join(map(str, fields))}" if isinstance(fields, Mapping) else f"a {type(fields).__name__}"


MESSAGES = Format(read_rows, convert, translate=translate, options=OPTIONS, overlap="error")
