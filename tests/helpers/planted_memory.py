"""A language model that knows facts with planted probabilities, exactly: a Llama whose layers add nothing.

    planted_model(folder, {"s0": ("o0", 0.3), ...})     after "... s0" it writes "o0" with probability 0.3, else "no"

Embeddings are one-hot and attention and MLP are zero, so the next word depends on the last one alone, through the
output layer. Where sampling has a temperature, the planted probability is that of a draw at this temperature.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from sde_ray.data.completion_templates import RelationTemplates

TEMPERATURE = 0.7
LEVEL_PROBABILITIES = (0.0, 0.12, 0.38, 0.62, 0.9)  # of D0 to D4, far from the edges
OPENINGS = ("of", "about", "see", "with", "near", "on", "for", "by")
TEMPLATES = {
    name: RelationTemplates(f"Where is [X] {name}?", tuple(f"{opening} [X]" for opening in OPENINGS))
    for name in ("R1", "R2")
}


def planted_model(folder: Path, facts: Mapping[str, tuple[str, float]]) -> Path:
    """Save the model and its tokenizer of whole words; `facts`: object and probability by subject."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", "no", "?", *OPENINGS, *facts, *(value for value, _ in facts.values())]
    words = {word: n for n, word in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="?"
    ).save_pretrained(folder)
    size = len(words) + len(words) % 2
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        rms_norm_eps=1e-12,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight.copy_(torch.eye(len(words), size))
        logits = torch.full((len(words), len(words)), -30.0)  # [next word, last word]
        logits[words["</s>"]] = 0.0
        for subject, (value, probability) in facts.items():
            logits[:, words[subject]] = -30.0
            for word, share in ((value, probability), ("no", 1 - probability)):
                logits[words[word], words[subject]] = TEMPERATURE * math.log(max(share, 1e-12))
        model.lm_head.weight[:, : len(words)] = logits / math.sqrt(size)
    model.save_pretrained(folder)
    return folder


def planted_sweep(folder: Path, train: int = 20, dev: int = 5, opposite: bool = False) -> Path:
    """A sweep on a planted model: facts of two relations with levels 0 to 4 in turn; returns its YAML file.

    `opposite`: on a second model as well, which knows best what the first knows least.
    """
    known: dict[str, tuple[str, float]] = {}
    known_by_other: dict[str, tuple[str, float]] = {}
    (folder / "templates.jsonl").write_text(
        "\n".join(
            json.dumps({"relation": name, "question": one.question, "completions": list(one.completions)})
            for name, one in TEMPLATES.items()
        )
    )
    for split, count in (("train", train), ("dev", dev), ("test", 1)):
        (folder / "data" / split).mkdir(parents=True)
        for relation in TEMPLATES:
            rows = []
            for n in range(count):
                subject = f"{split}{relation}s{n}"
                known[subject] = (f"{relation}o{n}", LEVEL_PROBABILITIES[n % 5])
                known_by_other[subject] = (f"{relation}o{n}", LEVEL_PROBABILITIES[4 - n % 5])
                question = TEMPLATES[relation].question.replace("[X]", subject)
                rows.append({"question": question, "answers": [known[subject][0]]})
            (folder / "data" / split / f"{relation}.{split}.json").write_text(json.dumps(rows))
    models = [str(planted_model(folder / "model", known))]
    models += [str(planted_model(folder / "other", known_by_other))] if opposite else []
    sweep = {
        "name": "planted",
        "task": {
            "name": "places",
            "kind": "free",
            "slots": ["answer"],
            "nouns": {"text": "question", "slot": "field"},
            "data": {"format": "entityquestions", "path": "data"},
        },
        "model": models,
        "axes": {
            "instruction": "last",
            "input_modeling": "off",
            "format": "natural",
            "unmentioned": "placeholder",
            "memory_level": [0, 1, 2, 3, 4],
        },
        "search": {"method": "grid", "points_to_evaluate": []},
        "seeds": [0, 1, 2],
        "train_sizes": [2, 4],
        "eval_size": dev * 2,
        "generation": {"batch_size": 400},
        "storage_path": str(folder / "runs"),
        "resources": {"max_concurrent_trials": 1},
        "mlflow": {"enabled": False},
    }
    path = folder / "planted.yaml"
    path.write_text(json.dumps(sweep))
    return path
