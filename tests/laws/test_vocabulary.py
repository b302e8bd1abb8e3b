"""A stranger's grep: each word of the field leads to the file that a user of Ray, Hugging Face or Optuna wants.

A word is found where it is part of a name that a file defines (class, function, argument, field, constant), of one that
it imports from another library, or of the file's own name; underscores and capitals do not count. Words in comments and
docstrings do not count either.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sde_ray"

WORDS = {
    "Trainer": "training/trainer.py",
    "collate": "training/batching.py",
    "learning_rate": "config/trial.py",
    "lora_alpha": "config/trial.py",
    "target_modules": "config/trial.py",
    "LoraConfig": "models/lora.py",
    "peft_model": "models/lora.py",
    "optimizer": "training/optimizer.py",
    "checkpoint": "training/checkpoint.py",
    "save_state": "training/worker.py",
    "load_state": "training/worker.py",
    "Callback": "sweep/callback.py",
    "Trainable": "sweep/trainable.py",
    "Searcher": "search/base.py",
    "suggest": "search/base.py",
    "scheduler": "sweep/tune_search.py",
    "stopped_early": "types.py",
    "racing": "evaluation/racing.py",
    "queue": "sweep/queue.py",
    "resume": "sweep/resume.py",
    "n_trials": "config/schema.py",
    "max_concurrent_trials": "config/schema.py",
    "Tracker": "tracking/base.py",
    "registry": "tracking/registry.py",
    "pyfunc": "tracking/pyfunc.py",
    "bootstrap": "evaluation/per_item.py",
    "p_value": "analysis/paired.py",
    "confidence_interval": "analysis/estimate.py",
    "response_surface": "analysis/response_surface.py",
    "mixed_model": "analysis/mixed_model.py",
    "pooling": "analysis/pooling.py",
    "leaderboard": "analysis/leaderboard.py",
    "posterior": "search/adaptive/posterior.py",
    "Gaussian": "search/adaptive/posterior.py",
    "acquisition": "search/adaptive/knowledge_gradient.py",
    "knowledge_gradient": "search/adaptive/knowledge_gradient.py",
    "kernel": "search/kernel.py",
    "kv_cache": "models/kv_cache.py",
    "eos_token": "models/tokenization.py",
    "input_ids": "models/tokenization.py",
    "generate": "models/generation.py",
    "max_new_tokens": "config/trial.py",
    "few_shot": "pipeline/prompting/few_shot.py",
    "perplexity": "models/perplexity.py",
    "dataset": "data/hub.py",
    "upload": "storage/mirror.py",
    "download": "storage/mirror.py",
    "heartbeat": "storage/lease.py",
    "lock": "storage/lease.py",
    "backoff": "storage/remote.py",
}


def plain(name: str) -> str:
    return name.replace("_", "").lower()


def names_in(tree: ast.AST) -> set[str]:
    """What a file defines (classes, functions, arguments, assigned names and attributes) and takes from a library."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("sde_ray"):
            names |= {str(node.module), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {plain(name) for name in names}


@cache
def defined(file: str) -> frozenset[str]:
    path = PACKAGE / file
    return frozenset({plain(path.stem), *names_in(ast.parse(path.read_text(encoding="utf-8")))})


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_field_leads_to_its_file(word: str) -> None:
    assert any(plain(word) in name for name in defined(WORDS[word])), f"no name of {WORDS[word]} has {word!r}"


def test_enough_words_are_tried() -> None:
    assert len(WORDS) >= 20 and len(set(WORDS.values())) >= 20


def test_a_missing_word_would_be_seen() -> None:
    tree = ast.parse('"""learning_rate"""\n# learning_rate\ndef fit(lr):\n    learned.rate = load(learning_rate)\n')
    assert names_in(tree) == {"fit", "lr", "rate"}
    assert names_in(ast.parse("from sde_ray.x import rate")) == set()
