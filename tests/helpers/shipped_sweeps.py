"""The shipped sweeps, planned on a few made rows in the native format of the public data set that each one names."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sde_ray.config.load import load_config
from sde_ray.data import asap
from sde_ray.data.completion_templates import TEMPLATES
from sde_ray.data.entityquestions import LOCATION
from sde_ray.sweep.plan import Plan, plan

ROOT = Path(__file__).parents[2]
SWEEPS = {path.stem: path for path in sorted((ROOT / "sweeps").glob("*.yaml"))}

# One made row in the native format of each public data set; the text of a split differs from the others'.
ACSA = (
    "<sentences><sentence><text>{n} the soup was warm but the waiter was not</text><aspectCategories>"
    '<aspectCategory category="food" polarity="positive"/><aspectCategory category="staff" polarity="negative"/>'
    "</aspectCategories></sentence></sentences>"
)
GENIA_ENTITY = {"entity_type": "DNA", "surface": "ABC gene", "char_start": 7, "char_end": 15}
GENIA_TRAIN = {"text": "{n} ABC gene", "entity_mentions": [GENIA_ENTITY]}
GENIA_DEV = {
    "tokens": ["{n}", "ABC", "gene"],
    "entity_mentions": [{"start": 1, "end": 3, "entity_type": "DNA", "text": "ABC gene"}],
}
PHEE = {
    "id": "{n}",
    "context": "{n} the pill induced a rash",
    "annotations": [{"events": [{"event_type": "Adverse_event", "Trigger": {"text": [["induced"]], "start": [[11]]}}]}],
}
MAVEN = {
    "id": "{n}",
    "tokens": ["{n}", "rebels", "raided", "the", "harbour"],
    "events": [{"text": "raided", "start": 2, "end": 3, "event_type": "Attack"}],
}
ASAP_VALUES = {"dish_taste": "1", "service_waiters_attitude": "-1"}
ASAP_ROW = ",".join(["{n}", "{n} 汤很好喝，服务员很冷淡", "4", *(ASAP_VALUES.get(slot, "-2") for slot in asap.SLOTS)])
ROWS = {
    "genia": (GENIA_TRAIN, GENIA_DEV, "jsonl"),
    "phee": (PHEE, PHEE, "json"),
    "maven": (MAVEN, MAVEN, "jsonl"),
}
TASKS = {"genia": "nested_ner", "phee": "events:phee", "maven": "events"}


def few_rows(name: str, folder: Path) -> str:
    """A tiny data set where the sweep's own would lie; returns the task that reads it, or nothing."""
    name = name.removeprefix("confirm_").removesuffix("_formats")
    if name in ("mams", "mams_smollm2"):
        for split, numbers in (("train", range(600)), ("val", range(600, 640))):
            sentences = [re.search("<sentence>.*</sentence>", ACSA).group().replace("{n}", f"no {n}") for n in numbers]
            (folder / f"{split}.xml").write_text(f"<sentences>{''.join(sentences)}</sentences>")
        return f"mams@{folder}"
    if name == "review11":
        header = ",".join(["index", "reviewbody", "star", *asap.SLOTS])
        for split, numbers in (("train", range(1200)), ("dev", range(1200, 1240))):
            lines = [header, *(ASAP_ROW.replace("{n}", str(n)) for n in numbers)]
            (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
        return f"masa_zh:all@{folder}"
    if name == "qa_memory":
        for split, numbers in (("train", range(240)), ("dev", range(240, 260))):
            (folder / split).mkdir(exist_ok=True)
            for relation in (*LOCATION, "P50", "P264"):
                question = TEMPLATES[relation].question
                rows = [{"question": question.replace("[X]", f"{relation} {n}"), "answers": ["Graz"]} for n in numbers]
                (folder / split / f"{relation}.{split}.json").write_text(json.dumps(rows))
        facts = {
            f"{relation}.train:{n + 1}": {"split": "train", "level": {"words": n % 2}}
            for relation in LOCATION
            for n in range(240)
        }
        measured = folder / "runs" / name / "memory.json"
        measured.parent.mkdir(parents=True, exist_ok=True)
        measured.write_text(json.dumps({"model": "HuggingFaceTB/SmolLM2-135M", "facts": facts}))
        return f"qa:location@{folder}"
    if name in ROWS:
        train, dev, suffix = ROWS[name]
        for split, row, numbers in (("train", train, range(1200)), ("dev", dev, range(1200, 1240))):
            lines = [json.dumps(row).replace("{n}", f"no{n:04}") for n in numbers]
            (folder / f"{split}.{suffix}").write_text("\n".join(lines) + "\n")
        return f"{TASKS[name]}@{folder}"
    return ""


def planned(name: str, folder: Path) -> Plan:
    """The plan of a shipped sweep; its data and its storage are in the folder."""
    task = few_rows(name, folder)
    sets = [f"storage_path={folder / 'runs'}", *([f"task={task}"] if task else [])]
    return plan(load_config(SWEEPS[name], sets))
