"""Small data sets of a user's own, in every form that other tools write; each is a function of a folder to its path."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COUNT = 60
WORDS = "the app router bill screen crashed again after update and I cannot log in since monday please help".split()


def tickets(count: int = COUNT) -> list[dict[str, Any]]:
    """Tickets with a text and three labels; not every one mentions a mood."""
    rng = random.Random(0)
    return [
        {
            "id": f"t{n}",
            "text": f"{' '.join(rng.choices(WORDS, k=rng.randint(5, 12))).capitalize()}, case {n}.",
            "product": rng.choice(["app", "router", "billing"]),
            "urgency": rng.choice(["low", "medium", "high"]),
            "mood": rng.choice(["calm", "angry", ""]),
        }
        for n in range(count)
    ]


def sentiments(count: int = COUNT) -> list[dict[str, Any]]:
    """Reviews with two slots that share their labels."""
    rng = random.Random(1)
    labels = ["good", "bad"]
    return [
        {
            "id": f"s{n}",
            "text": f"Stay number {n} was {rng.choice(WORDS)}.",
            "room": labels[n % 2],
            "wifi": labels[n // 2 % 2],
        }
        for n in range(count)
    ]


def entities(count: int = COUNT) -> Iterator[tuple[str, list[tuple[int, int, str]]]]:
    """Sentences with the offsets of their proteins and genes."""
    for n in range(count):
        text, spans = f"In case {n} ", []
        for name, label in ((f"IL-{n % 9}", "protein"), (f"jun {'ABCDEFG'[n % 7]} gene", "DNA")):
            spans.append((len(text), len(text) + len(name), label))
            text += f"{name} binds "
        yield text + "again.", spans


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def answer_of(row: dict[str, Any]) -> dict[str, str]:
    return {slot: row[slot] for slot in ("room", "wifi") if row[slot]}


def jsonl(folder: Path) -> Path:
    return lines(folder / "nested.jsonl", [{"text": r["text"], "answer": answer_of(r)} for r in sentiments()])


def mapped(folder: Path) -> Path:
    """The answers are under a key of another name."""
    return lines(folder / "mapped.jsonl", [{"review": r["text"], "ratings": answer_of(r)} for r in sentiments()])


def flat(folder: Path) -> Path:
    return lines(folder / "flat.jsonl", [{"text": r["text"], "label": r["room"]} for r in sentiments()])


def semicolons(folder: Path) -> Path:
    path = folder / "semicolons.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["id", "body", "room", "wifi", "created_at"])
        writer.writerows(
            [r["id"], r["text"], r["room"], r["wifi"], f"2024-01-0{n % 9}"] for n, r in enumerate(sentiments())
        )
    return path


def tabs(folder: Path) -> Path:
    path = folder / "tabs.tsv"
    rows = [f"{r['text']}\t{r['room']}" for r in sentiments()]
    path.write_text("\n".join(["sentence\tlabel", *rows]))
    return path


def messages(folder: Path) -> Path:
    """With a system message, and an instruction around each text."""
    rows = [
        [
            {"role": "system", "content": "You rate stays."},
            {"role": "user", "content": f"Rate this stay.\n\nReview: {r['text']}\n\nAnswer in JSON."},
            {"role": "assistant", "content": json.dumps(answer_of(r))},
        ]
        for r in sentiments()
    ]
    return lines(folder / "messages.jsonl", [{"messages": turns} for turns in rows])


def sharegpt(folder: Path) -> Path:
    rows = [
        [{"from": "human", "value": r["text"]}, {"from": "gpt", "value": f"room: {r['room']}\nwifi: {r['wifi']}"}]
        for r in sentiments()
    ]
    return lines(folder / "sharegpt.jsonl", [{"conversations": turns} for turns in rows])


def alpaca(folder: Path) -> Path:
    rows = [{"instruction": "Rate the room.", "input": r["text"], "output": r["room"]} for r in sentiments()]
    (folder / "alpaca.json").write_text(json.dumps(rows, indent=2))
    return folder / "alpaca.json"


def prompts(folder: Path) -> Path:
    return lines(folder / "prompts.jsonl", [{"prompt": r["text"], "completion": " " + r["room"]} for r in sentiments()])


def spacy(folder: Path) -> Path:
    rows = [[text, {"entities": [list(span) for span in spans]}] for text, spans in entities()]
    (folder / "spacy.json").write_text(json.dumps(rows))
    return folder / "spacy.json"


def doccano(folder: Path) -> Path:
    rows = [
        {
            "id": n,
            "text": text,
            "entities": [{"id": 1, "label": k, "start_offset": s, "end_offset": e} for s, e, k in spans],
        }
        for n, (text, spans) in enumerate(entities())
    ]
    return lines(folder / "doccano.jsonl", rows)


def tagged(folder: Path) -> Path:
    rows = [
        {"tokens": [*words[:-1], f"again{n}"], "ner_tags": tags}
        for n, (text, _) in enumerate(entities())
        if (words := text.split())
        for tags in [["O", "O", "O", "B-protein", "O", "B-DNA", "I-DNA", "I-DNA", "O", "O"]]
    ]
    return lines(folder / "tagged.jsonl", rows)


def spans(folder: Path) -> Path:
    """Spans as strings, as our own JSON lines have them."""
    rows = [{"text": t, "answer": {k: [t[s:e]] for s, e, k in spans}} for t, spans in entities()]
    return lines(folder / "spans.jsonl", rows)


def label_studio(folder: Path) -> Path:
    """Choices, of which one task has two that differ, and one task that was skipped."""
    tasks: list[dict[str, Any]] = []
    for n, row in enumerate(sentiments()):
        results = [
            {"from_name": slot, "to_name": "text", "type": "choices", "value": {"choices": [label]}}
            for slot, label in answer_of(row).items()
        ]
        tasks.append(
            {"id": n, "data": {"text": row["text"]}, "annotations": [{"result": results, "was_cancelled": n == 3}]}
        )
    tasks[7]["annotations"].append({"result": tasks[6]["annotations"][0]["result"]})
    (folder / "label_studio.json").write_text(json.dumps(tasks))
    return folder / "label_studio.json"


def questions(folder: Path) -> Path:
    rows = [{"question": f"What is the capital of country {n}?", "answer": f"City {n}"} for n in range(COUNT)]
    return lines(folder / "questions.jsonl", rows)


def parquet(folder: Path) -> Path:
    from datasets import Dataset

    path = folder / "table.parquet"
    Dataset.from_list([{"text": r["text"], "room": r["room"], "wifi": r["wifi"]} for r in sentiments()]).to_parquet(
        path
    )
    return path


def files(folder: Path) -> Path:
    """A folder with a file a split, one text of which stands in two."""
    rows = [{"text": r["text"], "answer": answer_of(r)} for r in sentiments()]
    (folder / "stays").mkdir()
    lines(folder / "stays" / "train.jsonl", rows[:40])
    lines(folder / "stays" / "valid.jsonl", rows[39:50])
    lines(folder / "stays" / "test.jsonl", rows[50:])
    return folder / "stays"


def by_slot(folder: Path) -> Path:
    """A table whose slots have labels of their own."""
    path = folder / "tickets.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "product", "urgency", "mood"])
        writer.writeheader()
        writer.writerows(tickets())
    return path


def several(folder: Path) -> Path:
    """Several labels a slot."""
    topics = ["food", "price", "noise"]
    rows = [{"text": r["text"], "topics": topics[: n % 3 + 1]} for n, r in enumerate(sentiments())]
    return lines(folder / "several.jsonl", rows)


def cells(folder: Path) -> Path:
    """Several labels in a cell of a table."""
    topics = ["food", "price", "noise"]
    path = folder / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "topics"])
        writer.writerows([r["text"], "; ".join(topics[: n % 3 + 1])] for n, r in enumerate(sentiments()))
    return path


def table_of_spans(folder: Path) -> Path:
    """Several spans in a cell, as a JSON list."""
    path = folder / "table_of_spans.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "names"])
        writer.writerows([t, json.dumps([t[s:e] for s, e, _ in spans])] for t, spans in entities())
    return path


def numbers(folder: Path) -> Path:
    rng = random.Random(2)
    return lines(
        folder / "numbers.jsonl", [{"text": r["text"], "score": round(rng.uniform(0, 9), 2)} for r in sentiments()]
    )


def flags(folder: Path) -> Path:
    """A label that is true or false in JSON."""
    return lines(folder / "flags.jsonl", [{"text": r["text"], "spam": r["room"] == "bad"} for r in sentiments()])


def chinese(folder: Path) -> Path:
    rows = [
        {"text": f"房间很{'好' if n % 2 else '差'}，第{n}次。", "label": "正面" if n % 2 else "负面"}
        for n in range(COUNT)
    ]
    return lines(folder / "chinese.jsonl", rows)


Maker = Callable[[Path], Path]
MAKERS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        *(
            jsonl,
            mapped,
            flat,
            semicolons,
            tabs,
            messages,
            sharegpt,
            alpaca,
            prompts,
            spacy,
            doccano,
            tagged,
            spans,
            label_studio,
        ),
        *(questions, parquet, files, by_slot, several, cells, table_of_spans, numbers, flags, chinese),
    )
}
