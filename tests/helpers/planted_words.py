"""A world whose truth is known: the first letter of a text decides its label; and a small base that learns it fast.

    world = World(folder)                                   three fields of four letters each, "yes" and "no"
    world.trial(seed=1, size=48, federated="local")         a trial on it, with a random Llama of 0.1 million weights

Letters of another field say nothing about those of the own one, so who has not seen a field can only guess in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from helpers.model_server import Answer, said
from helpers.run_trial import run_trial

from sde_ray.analysis.paired import PairedDifference, tabulate
from sde_ray.config.curation import Curation
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.sweep.curation import carried_out
from sde_ray.tasks.trial_task import trust_definition
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example, TrialResult

FIELDS = ("ABCD", "EFGH", "IJKL")
LETTERS = "".join(FIELDS)
OTHERS = "abcdefghijklmnopqrstuvwxyz"
TRAIN_LETTERS, DEV_LETTERS, TEST_LETTERS = OTHERS[:16], OTHERS[16:21], OTHERS[21:]
TRAIN = Train(learning_rate=5e-3, train_batch_size=8, num_train_epochs=6)
DESIGN = {"instruction": "none", "format": "natural", "unmentioned": "omit"}


def label(letter: str) -> str:
    return ("yes", "no")[LETTERS.index(letter) % 2]


def texts(seconds: str) -> list[Example]:
    """A text for each first letter and each of the second ones, such as "A q", in a random order.

    Ids begin with the field's number.
    """
    random = Random(f"planted {seconds}")
    pairs = [(first, second) for first in LETTERS for second in seconds]
    random.shuffle(pairs)
    rows = []
    for first, second in pairs:
        number = next(n for n, letters in enumerate(FIELDS) if first in letters)
        rows.append(Example(f"{number}.{first}{second}", f"{first} {second}", {"good": (label(first),)}))
    return rows


def save_base(folder: Path) -> Path:
    """A random Llama of two layers and a tokenizer with a token for each letter and word of this world."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "?", "yes", "no", "good", *LETTERS, *OTHERS, *"0123456789:{}\",'.\n "]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"yes|no|good|[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="?"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(words), max_position_embeddings=256, initializer_range=0.05, **sizes, **ids)
    ).save_pretrained(folder)
    return folder


class World:
    """The world's task, its base and its trials; each arm is trained once a seed."""

    def __init__(self, folder: Path, train: Sequence[Example] = (), items: int = 60) -> None:
        self.folder, self.items = folder, items
        self.model = str(save_base(folder / "base"))
        splits = {"train": train or texts(TRAIN_LETTERS), "dev": texts(DEV_LETTERS), "test": texts(TEST_LETTERS)}
        for split, examples in splits.items():
            rows = [{"id": one.id, "text": one.text, "answer": {"good": one.answer["good"][0]}} for one in examples]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {split: str(folder / f"{split}.jsonl") for split in splits}
        self.task: Mapping[str, Any] = {
            "name": f"letters-{folder.name}", "kind": "label", "slots": ["good"], "labels": ["yes", "no"], "data": data,
        }  # fmt: skip
        trust_definition(self.task)
        self.runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
        self._results: dict[str, TrialResult] = {}

    def trial(
        self, seed: int, size: int, train: Train = TRAIN, curation: Curation | None = None, **options: Any
    ) -> TrialConfig:
        """A trial with these options of data and training axes."""
        config = TrialConfig(
            str(self.task["name"]), make_design(**DESIGN, **options), self.model, seed, size, self.items,
            train=train, lora=Lora(r=16, lora_alpha=32, lora_dropout=0.0), generation=Generation(max_new_tokens=8),
            definition=dict(self.task), curation=curation or Curation(),
        )  # fmt: skip
        return carried_out(replace(config))

    def result(self, config: TrialConfig) -> TrialResult:
        """Its result; trained when it is asked for first."""
        if config.key not in self._results:
            self._results[config.key] = run_trial(self.runner, config, self.folder / "trials" / config.key)
        result = self._results[config.key]
        assert result.status == "finished", result.error
        return result

    def lead(self, first: Sequence[TrialConfig], other: Sequence[TrialConfig]) -> PairedDifference:
        """The mean accuracy of the first ones minus that of the others, paired by seed, with the project's interval."""
        values = {
            (name, config.seed, 0): self.result(config).scores["dev"]["accuracy"]
            for name, configs in (("first", first), ("other", other))
            for config in configs
        }
        designs = {"first": first[0].design, "other": other[0].design}
        lead = tabulate(values, {}, designs, "first", draws=500).compare(["first", "other"])["other"]
        for name in ("first", "other"):
            print(name, [round(values[name, config.seed, 0], 3) for config in first])  # shown by `pytest -s`
        print(lead)
        return lead

    def close(self) -> None:
        self.runner.close()


# ---- teachers --------------------------------------------------------------------------------------------------------


def author(right: bool) -> Callable[[dict[str, Any], int], Answer]:
    """What an endpoint answers whose model writes texts of this world, and knows their labels or has all of them wrong.

    A reply depends on the request alone, not on when it comes.
    """

    def answer(request: dict[str, Any], number: int) -> Answer:
        prompt = request["messages"][0]["content"]
        if prompt.endswith("Answer:"):
            return said(_labelled(prompt.rpartition("Text: ")[2].strip()[0], right))
        random = Random(f"{request['seed']} {prompt}")
        asked = re.search(r"for which good is (yes|no)\.", prompt)
        letter = random.choice([one for one in LETTERS if not asked or label(one) == asked[1]])
        return said(f"{letter} {random.choice(TRAIN_LETTERS)}\nAnswer: {_labelled(letter, right)}")

    return answer


def _labelled(letter: str, right: bool) -> str:
    gold = label(letter)
    return json.dumps({"good": gold if right else {"yes": "no", "no": "yes"}[gold]})
