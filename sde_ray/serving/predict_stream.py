"""Predict stream: rows of a JSONL file answered chunk by chunk, and written as they come.

    counts = predict_stream(lambda: Predictor.load("runs/quickstart"), rows, write=output.write)
    counts.rows, counts.errors

Only a chunk is in memory. Its size follows the pace, so that what a killed process loses was seconds of work. Chunks do
not change answers: no text's answer depends on its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sde_ray.models.answer_rows import answer_rows
from sde_ray.safe_json import stream_hash
from sde_ray.serving.jsonl_rows import InputRow, output_line, output_row
from sde_ray.serving.progress import Progress

if TYPE_CHECKING:
    from sde_ray.models.predictor import Predictor

CHUNK_S = 10.0  # seconds of work in a chunk, about
FIRST_CHUNK, LARGEST_CHUNK = 32, 2048  # rows
CHUNK_CHARACTERS = 4_000_000  # of the texts in a chunk
WHOLE = 2**26  # bytes of a file that is hashed whole; of a longer one, its size and both ends


@dataclass(frozen=True)
class Counts:
    """Rows that were written, and how many of them have an error."""

    rows: int
    errors: int


def predict_stream(
    load: Callable[[], Predictor],
    rows: Iterator[InputRow],
    write: Callable[[Sequence[bytes]], None],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    position: Callable[[], int] = lambda: 0,
) -> Counts:
    """Answer rows, and write them in their order.

    Args:
        load: gives the predictor; called once, when there is a row to answer.
        rows: of the input.
        write: takes the lines of a chunk.
        batch_size: texts that are decoded together; None: as many as suit the device.
        progress: is told after each chunk.
        position: up to which byte the input was read.
    """
    predictor: Predictor | None = None
    size, done, errors = FIRST_CHUNK, 0, 0
    while chunk := _next_chunk(rows, size):
        if predictor is None:
            predictor = load()
            if progress:
                progress.start()
        started = time.monotonic()
        results = _answer(predictor, chunk, batch_size)
        write([output_line(output_row(row, result)) for row, result in zip(chunk, results, strict=True)])
        failed = sum("error" in result for result in results)
        done, errors = done + len(chunk), errors + failed
        if progress:
            progress.add(len(chunk), failed, position())
        size = _next_size(len(chunk), time.monotonic() - started)
    return Counts(done, errors)


def _next_chunk(rows: Iterator[InputRow], size: int) -> list[InputRow]:
    chunk: list[InputRow] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row.text) if isinstance(row.text, str) else 0
        if len(chunk) >= size or characters >= CHUNK_CHARACTERS:
            break
    return chunk


def _next_size(rows: int, seconds: float) -> int:
    """Rows that take `CHUNK_S` at this pace; never more than twice as many as before."""
    wanted = int(rows * CHUNK_S / max(seconds, 0.01))
    return max(FIRST_CHUNK // 4, min(LARGEST_CHUNK, 2 * rows, wanted))


def _answer(predictor: Predictor, chunk: Sequence[InputRow], batch_size: int | None) -> list[dict[str, Any]]:
    answered = iter(answer_rows(predictor, [row.text for row in chunk if not row.error], batch_size))
    return [{"error": row.error} if row.error else next(answered) for row in chunk]


def adapter_identity(folder: Path) -> str:
    """A hash of an adapter's files: with another one, a file of answers is not continued."""

    def parts() -> Iterator[str | bytes]:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            size = path.stat().st_size
            yield f"{path.relative_to(folder)}:{size}\n"
            with path.open("rb") as file:
                yield file.read(WHOLE // 2)
                file.seek(max(WHOLE // 2, size - WHOLE // 2))
                yield file.read(WHOLE // 2)

    return stream_hash(parts())
