"""`sde-ray predict` and `serve`: what stands on a line of stdin, and what is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.cli.predict import text_of


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Good soup.\n", "Good soup."),
        ('{"id": 1, "text": "A: [x: \\"1\\"]\\nB: [x: nan]"}\n', 'A: [x: "1"]\nB: [x: nan]'),
        ('{"texts": "x"}\n', '{"texts": "x"}'),
        ('{"text": 1}\n', '{"text": 1}'),
        ('{"text": "cut\n', '{"text": "cut'),
        ("{food} was fine", "{food} was fine"),
        ("{" * 9999, "{" * 9999),
    ],
)
def test_a_line_is_a_text_or_an_object_with_one(line: str, text: str) -> None:
    assert text_of(line) == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["predict", ".", "a text", "--input", "in.jsonl"], "leave out the texts and --json"),
        (["predict", ".", "--json", "--output", "out.jsonl"], "leave out the texts and --json"),
        (["predict", ".", "--input", "none.jsonl", "--output", "out.jsonl"], "--input none.jsonl cannot be read"),
        (["predict", ".", "--input", "in.jsonl", "--output", "in.jsonl"], "is the input itself"),
        (["predict", ".", "--input", ".", "--output", "out.jsonl"], "--input . cannot be read"),
        (["predict", ".", "--input", "in.jsonl", "--output", "out.jsonl"], "holds no adapter"),
        (["serve", ".", "--port", "0"], "holds no adapter"),
        (["serve", ".", "--api-key-env", "NO_SUCH_VARIABLE"], "export NO_SUCH_VARIABLE=..."),
        (["serve", ".", "--host", "203.0.113.7"], "Give another --host or --port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_told_before_a_model_is_loaded(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"text": "x"}\n')
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and told in " ".join(done.stderr.split()), done.output
    assert not Path("out.jsonl").exists()


def test_a_server_that_others_reach_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVE_KEY", "a-long-enough-key")
    for more, told in (([], "without a key (--api-key-env)"), (["--api-key-env", "SERVE_KEY"], "with the key")):
        done = CliRunner().invoke(app, ["serve", ".", "--host", "0.0.0.0", "--port", "0", *more])
        assert told in " ".join(done.stderr.split()) and "a-long-enough-key" not in done.output
