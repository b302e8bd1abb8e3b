"""The format `tool_call`: the answer as the arguments of a tool's call, as chat models are trained to write one.

    <tool_call>
    {"name": "answer", "arguments": {"food": "positive", "price": "unmentioned"}}
    </tool_call>

The arguments are the object of `json_object`. The prompt shows the tool as a JSON schema of the slots, in place of a
schematic. The marks are those of Hermes (NousResearch) and Qwen; the schema is that of OpenAI's function calling.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sde_ray.data.json_schema import schema_of_fields
from sde_ray.design.base import Faults, FormatOption, Lines
from sde_ray.design.format_json_object import JSON_OBJECT
from sde_ray.design.literals import is_number
from sde_ray.design.output_form import InstructionContext, OutputForm
from sde_ray.safe_json import MAX_DEPTH
from sde_ray.types import Fault

TOOL = "answer"
OPENING = f'<tool_call>\n{{"name": "{TOOL}", "arguments": {{'
CLOSING = "}}\n</tool_call>"
_BEFORE = re.compile(rf'<tool_call>\s*\{{\s*"name"\s*:\s*"{TOOL}"\s*,\s*"arguments"\s*:\s*(?=\{{)')
_AFTER = "}</tool_call>"


def _read(text: str, form: OutputForm) -> tuple[Lines, Faults]:
    body = text.strip()
    before, ends = _BEFORE.match(body), body.endswith("</tool_call>")
    arguments = body[before.end() : -len("</tool_call>")].rstrip() if before and ends else ""
    if not arguments.endswith("}"):
        return (), (Fault("syntax", f"no call of the tool {TOOL}: {text[:100]!r}"),)
    return JSON_OBJECT.read(arguments[:-1].rstrip(), form)


def _settled(text: str, slots: Sequence[str], form: OutputForm) -> bool:
    """Whether it is no call, or something follows its end: either way nothing of it will be read."""
    body = text.strip().rstrip("\ufffd")  # half a character may yet become a blank
    start = "<tool_call>"
    if not body.startswith(start[: len(body)]):
        return True
    before = _BEFORE.match(body)
    if before is None or body.count("{") > MAX_DEPTH:  # deep texts are costly to look at again and again
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(body, before.end())
    except (ValueError, RecursionError):  # not finished, or never to be
        return False
    return not _AFTER.startswith(re.sub(r"\s+", "", body[end:]))


# ---- the tool, as the prompt shows it --------------------------------------------------------------------------------


def _sentence(context: InstructionContext) -> str:
    task, form = context.task, context.form
    if form.bare_slot is not None:  # the call's arguments are the record
        parameters = schema_of_fields(task.fields[form.bare_slot], with_null=form.complete)
    else:
        slots = {slot: _with_rationale(_schema(slot, context), form) for slot in task.slots}
        required = {"required": list(task.slots)} if form.complete else {}
        parameters = {"type": "object", "properties": slots, **required}
    tool = {"type": "function", "function": {"name": TOOL, "parameters": parameters}}
    call = f'<tool_call>\n{{"name": "{TOOL}", "arguments": {{...}}}}\n</tool_call>'
    return context.wording("tool", call=call, tool=json.dumps(tool, ensure_ascii=False))


def _schema(slot: str, context: InstructionContext) -> dict[str, object]:
    """JSON schema of a slot's value."""
    task, form = context.task, context.form
    absent = form.complete and task.has_absent_slots
    schema: dict[str, object]
    if task.kind == "record":
        schema = schema_of_fields(task.fields[slot], with_null=form.complete)
    elif words := context.written(slot):
        numbers = all(is_number(word, form) for word in words)
        schema = {"enum": [json.loads(word) if numbers else word for word in words]}
    elif slot in task.ranges:
        low, high = task.ranges[slot]
        schema = {"type": ["number", "null"] if absent else "number", "minimum": low, "maximum": high}
    else:
        schema = {"type": ["string", "null"] if absent and not form.holds_list(slot) else "string"}
    return {"type": "array", "items": schema} if form.holds_list(slot) else schema


def _with_rationale(schema: dict[str, object], form: OutputForm) -> dict[str, object]:
    if not form.rationale_position:
        return schema
    why: dict[str, object] = {form.nouns.rationale: {"type": "string"}}
    value: dict[str, object] = {form.nouns.value: schema}
    return {"type": "object", "properties": why | value if form.rationale_position == "first" else value | why}


TOOL_CALL = FormatOption(
    label="Tool-call",
    entry=JSON_OBJECT.entry,
    separator=JSON_OBJECT.separator,
    opening=OPENING,
    closing=CLOSING,
    has_numbers=True,
    marker=lambda form: OPENING + CLOSING,
    read=_read,
    settled=_settled,
    sentence=_sentence,
    describes_form=True,
    absent_field=JSON_OBJECT.absent_field,
    swept=False,
)
