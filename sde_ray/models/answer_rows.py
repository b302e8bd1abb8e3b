"""Answer rows: anybody's texts, each answered or refused by itself.

    answer_rows(predictor, ["Great food!", ""])
    -> [{"text": "Great food!", "answer": {"food": ["positive"]}, "completion": "food: positive", "faults": []},
        {"text": "", "error": "The text is empty."}]

`sde-ray predict`, every endpoint of `sde-ray serve` and MLflow's pyfunc answer through this one function, so that a
text has the same answer everywhere: alone, among others, and under load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.models.predictor import prediction_rows
from sde_ray.safe_text import printable

if TYPE_CHECKING:
    from sde_ray.models.predictor import Predictor

MAX_CHARACTERS = 200_000
"""Of a text. What does not fit into the context is cut anyway, and tokenizing more takes longer than answering."""
SHOWN = 40  # characters of a value that a message quotes


def text_error(text: Any) -> str:
    """Why a text cannot be answered, in a sentence; empty: it can be."""
    if not isinstance(text, str):
        shown = printable(repr(text))[:SHOWN]
        return f"The text is not a string but {type(text).__name__} ({shown})."
    if not text.strip():
        return "The text is empty."
    if len(text) > MAX_CHARACTERS:
        return f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are read."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "The text holds half a surrogate pair, which is no character."
    return ""


def answer_rows(predictor: Predictor, texts: Sequence[Any], batch_size: int | None = 32) -> list[dict[str, Any]]:
    """A row for each text, in their order: as of `prediction_rows`, or {"text", "error"} for one that cannot be asked.

    Args:
        predictor: of an adapter; one thread at a time.
        texts: anything; what is no text gets an error.
        batch_size: texts at a time; None: as many as suit the device. No answer depends on it.

    Returns:
        Rows with text, answer, completion and faults; `truncated_tokens` where a text was too long for the context.
    """
    errors = [text_error(text) for text in texts]
    readable = [text for text, error in zip(texts, errors, strict=True) if not error]
    rows = iter(_answered(predictor, readable, batch_size) if readable else ())
    return [{"text": text, "error": error} if error else next(rows) for text, error in zip(texts, errors, strict=True)]


def _answered(predictor: Predictor, texts: Sequence[str], batch_size: int | None) -> list[dict[str, Any]]:
    rows = prediction_rows(texts, predictor.answer(texts, batch_size))
    for row, truncated in zip(rows, predictor.num_truncated(texts), strict=True):
        if truncated:
            row["truncated_tokens"] = truncated
    return rows
