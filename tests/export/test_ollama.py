"""A Modelfile gives back the trained prompt, whatever stands in it; an endpoint that answers otherwise is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.model_server import Answer, listing, said, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.export.endpoint_check import CheckItem, EndpointCheck, read_check
from sde_ray.export.ollama import modelfile


def parse_modelfile(text: str) -> dict[str, list[str]]:
    """The commands of a Modelfile, by the rules of Ollama's parser: line by line, until the quotes are closed."""
    commands: dict[str, list[str]] = {}
    rest = text
    while rest:
        line, _, rest = rest.partition("\n")
        if not line.strip() or line.startswith("#"):
            continue
        name, _, value = line.partition(" ")
        name, value = (name, value) if name != "PARAMETER" else value.split(" ", 1)  # type: ignore[assignment]
        value = value.lstrip(" ")
        while value.startswith('"""') and not (len(value.strip()) >= 6 and value.strip().endswith('"""')):
            more, _, rest = rest.partition("\n")
            value += "\n" + more
            assert rest or value.endswith('"""')
        value = value.strip()
        quotes = '"""' if value.startswith('"""') else '"' if value.startswith('"') else ""
        commands.setdefault(name, []).append(value[len(quotes) : len(value) - len(quotes)])
    return commands


def render_template(template: str, prompt: str) -> str:
    """A Go template of texts, strings and the two variables of Ollama."""
    parts = re.split(r'\{\{ (\.Prompt|\.Response|"(?:[^"\\]|\\.)*") \}\}', template)
    assert not any("{{" in text for text in parts[::2])
    values = {".Prompt": prompt, ".Response": ""}
    printed = [values[one] if one in values else json.loads(one) for one in parts[1::2]]
    return "".join(text + one for text, one in zip(parts[::2], [*printed, ""], strict=True))


PIECES = st.sampled_from(['"', '""', '"""', "{", "{{", "}}", "{{ .Prompt }}", "{{- ", "\n", "\\", "#", "$", "a", "\r"])
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=8).map("".join)


@settings(max_examples=60)
@given(before=TEXTS, after=TEXTS, prompt=TEXTS)
def test_the_template_prints_the_trained_prompt(before: str, after: str, prompt: str) -> None:
    text = modelfile(before, after, stop=("</s>", 'a"b'), max_new_tokens=9, context=99, notes=("one\ntwo",))
    commands = parse_modelfile(text)
    assert commands["FROM"] == ["."] and commands["stop"] == ["</s>", 'a"b']
    assert (commands["temperature"], commands["num_predict"], commands["num_ctx"]) == (["0"], ["9"], ["99"])
    (template,) = commands["TEMPLATE"]
    assert '"""' not in template and not re.search(r"\{\{\{", template)
    assert render_template(template, prompt) == before + prompt + after


CHECK = EndpointCheck(
    "masa:d1", "format=lines", 9, (CheckItem("1", "good", "Rate: good", "a"), CheckItem("2", "bad", "Rate: bad", "b"))
)


def write(path: Path, check: Any) -> Path:
    from dataclasses import asdict

    path.write_text(json.dumps(asdict(check)))
    return path


def test_an_endpoint_is_asked_and_differences_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "check.json", CHECK)
    answers = {"good": "a", "bad": "b", "Rate: good": "a", "Rate: bad": "c"}

    def answer(request: dict[str, Any], number: int) -> Answer:
        return said(answers[request["messages"][0]["content"]])

    with serving(answer, listing("mine")) as served:
        options = ["check-endpoint", str(path), "--url", served.url, "--model", "mine"]
        same = CliRunner().invoke(app, options)
        assert same.exit_code == 0 and "All 2 completions" in same.output
        other = CliRunner().invoke(app, [*options, "--send", "prompt", "--json"])
    assert other.exit_code == 2 and "1 of 2 completions differ" in other.output
    told = json.loads(other.stdout)
    assert told["different"] == [{"id": "2", "expected": "b", "completion": "c"}]
    assert all(request["temperature"] == 0 and request["max_tokens"] == 9 for request in served.requests)


@pytest.mark.parametrize("text", ["{}", "[", '{"task": "x", "design": "", "max_new_tokens": 1, "items": []}'])
def test_another_file_is_no_check(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    done = CliRunner().invoke(app, ["check-endpoint", str(tmp_path / "x.json"), "--model", "m"])
    assert done.exit_code == 2 and "sde-ray merge" in " ".join(done.output.split())
    assert read_check(write(tmp_path / "y.json", CHECK)) == CHECK
