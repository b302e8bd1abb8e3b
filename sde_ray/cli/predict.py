"""`sde-ray predict`: texts, or the rows of a file, answered by a trained adapter in its own design."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json, TrustCode
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.models.predictor import Predictor
    from sde_ray.serving.jsonl_rows import InputRow
    from sde_ray.serving.predict_stream import Counts

STANDARD = Path("-")


def predict(
    adapter: Annotated[
        str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.", metavar="PLACE")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(help='Texts; without any: stdin, a text or {"text": ...} a line.')
    ] = None,
    input: Annotated[
        Path | None, typer.Option("--input", "-i", help="JSONL, a row with a text a line; - is stdin.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSONL; what is there is continued; - is stdout.")
    ] = None,
    text_key: Annotated[str, typer.Option(help="The field of a row that is its text.")] = "text",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Texts decoded together; default: as many as suit the device.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 2 where a row has an error.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin --output anew.")] = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Let the base model run code of its own.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Answer texts with a trained adapter, in the design it was trained in: text in, parsed answer out.

    A text of several lines, such as two records, comes as JSON: {"text": "A: [...]\\nB: [...]"}.

    With --input or --output the rows of a JSONL file are answered one after another, in bounded memory. The same
    command goes on where it was interrupted. A row that cannot be read gets "error", and stops nothing.
    """
    if input or output:
        if texts or as_json:
            raise UserError("--input and --output are for the rows of a JSONL file: leave out the texts and --json.")
        counts = _predict_rows(adapter, input or STANDARD, output or STANDARD, text_key, batch_size, overwrite,
                               trust_remote_code)  # fmt: skip
        raise typer.Exit(2 if strict and counts.errors else 0)
    from sde_ray.models.answer_rows import answer_rows
    from sde_ray.models.predictor import Predictor

    inputs = list(texts or []) or [text_of(line) for line in _stdin_lines() if line.strip()]
    if not inputs:
        raise UserError("There is no text to answer. Give texts as arguments, or pipe them: sde-ray predict DIR < FILE")
    rows = answer_rows(Predictor.load(adapter, trust_remote_code), inputs, batch_size)
    if as_json:
        emit(rows)
    else:
        out().print(_table(rows))
    raise typer.Exit(2 if strict and any("error" in row for row in rows) else 0)


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    answers = table("", "text", "answer", "faults")
    for row in rows:
        answer = ", ".join(f"{slot}: {' | '.join(values)}" for slot, values in row.get("answer", {}).items())
        faults = row.get("error") or ", ".join(row["faults"])
        answers.add_row(row["text"], "" if "error" in row else answer or "nothing", faults)
    return answers


def text_of(line: str) -> str:
    """The text of a line of stdin: what stands under "text" where it is a JSON object with that key, else the line."""
    from sde_ray.safe_json import read_json

    try:
        value = read_json(line) if line.lstrip().startswith("{") else None
    except ValueError:
        value = None
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else line.rstrip("\n")


def _stdin_lines() -> list[str]:
    return [] if sys.stdin.isatty() else sys.stdin.readlines()


# ---- the rows of a file ----------------------------------------------------------------------------------------------


def _predict_rows(
    place: str, input: Path, output: Path, text_key: str, batch_size: int | None, overwrite: bool, trust: bool
) -> Counts:
    """Answer the rows of a file; what it has come to is told on stderr."""
    from sde_ray.models.predictor import Predictor, find_adapter
    from sde_ray.serving.jsonl_rows import read_rows
    from sde_ray.serving.output_file import OutputFile
    from sde_ray.serving.predict_stream import Counts, adapter_identity, predict_stream
    from sde_ray.serving.progress import Progress, count_of, format_rate

    def load() -> Predictor:
        return Predictor.load(place, trust)

    with ExitStack() as files:
        file, size = _open_input(files, input, output)
        rows: Iterator[InputRow] = read_rows(file, text_key)
        position = file.tell if size is not None else lambda: 0
        progress = Progress(size)
        before = Counts(0, 0)
        if _is_stream(output):
            target = sys.stdout.buffer if output == STANDARD else files.enter_context(output.open("wb"))
            write = _writer(target)
        else:
            made_by = {"adapter": adapter_identity(find_adapter(place)), "text key": text_key}
            opened = files.enter_context(OutputFile.open(output, made_by, overwrite))
            rows, write = opened.skip_answered(rows), opened.write
            before = Counts(opened.rows, opened.errors)
            if before.rows:
                there = count_of(before.rows, "row")
                err().print(f"{output} has {there} already; what is missing is answered.", highlight=False)
        progress.skip(position())
        try:
            done = predict_stream(load, rows, write, batch_size=batch_size, progress=progress, position=position)
        finally:
            progress.end()
    total = Counts(before.rows + done.rows, before.errors + done.errors)
    faults = f", {total.errors:,} of them with an error" if total.errors else ""
    rate = f", {format_rate(done.rows, progress.seconds)} rows/s" if done.rows else ""
    err().print(f"{count_of(total.rows, 'row')}{faults}{rate}.", highlight=False, soft_wrap=True)
    return total


def _open_input(files: ExitStack, input: Path, output: Path) -> tuple[BinaryIO, int | None]:
    """The input and its size, if it has one. Raises UserError."""
    if input == STANDARD:
        if sys.stdin.isatty():
            raise UserError("There are no rows to answer. Give --input FILE.jsonl, or pipe them in.")
        return sys.stdin.buffer, None
    try:
        file = files.enter_context(input.open("rb"))
        status = os.fstat(file.fileno())
        if output != STANDARD and output.exists() and os.path.samefile(input, output):
            raise UserError(f"--output {output} is the input itself. Give another file.")
    except OSError as error:
        raise UserError(f"--input {input} cannot be read: {error.strerror}.") from None
    return file, status.st_size if stat.S_ISREG(status.st_mode) else None


def _is_stream(output: Path) -> bool:
    """Whether what is written cannot be read again: standard output, a pipe, a device."""
    return output == STANDARD or (output.exists() and not output.is_file() and not output.is_dir())


def _writer(target: BinaryIO) -> Any:
    def write(lines: Sequence[bytes]) -> None:
        target.write(b"".join(lines))
        target.flush()

    return write


def register(app: typer.Typer) -> None:
    app.command()(predict)
