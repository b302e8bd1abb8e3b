"""The axes of the stage training: how a trial learns its samples; each default leaves the training as it is configured.

    repeat: [1, 4]                    all samples once, or a quarter of them four times
    learning_rate: [0.001, 0.006]     a nuisance axis: does the ranking of designs hold at another rate?

The default of a nuisance axis, `configured`, is the value that the sweep's own settings have.
"""

from __future__ import annotations

from sde_ray.design.base import Axis, Numbers, TrainingOption

CONFIGURED = "configured"


def _repeat_label(times: float) -> str:
    return f"{times:g} epochs of 1/{times:g}"


def _nuisance(name: str, setting: str, numbers: Numbers) -> Axis:
    return Axis(
        name,
        default=CONFIGURED,
        options={CONFIGURED: TrainingOption(f"{name} as configured")},
        numbers=numbers,
        setting=setting,
        nuisance=True,
    )


REPEAT = Axis(
    "repeat",
    default="1",
    options={"1": TrainingOption("all samples", 1)},
    numbers=Numbers(_repeat_label, low=1, high=10_000, whole=True),
    carrier="sde_ray.curation.repeat:Repeat",
    section="repeat",
)
MIXUP = Axis(
    "mixup",
    default="0",
    options={"0": TrainingOption("no mixup", 0.0)},
    numbers=Numbers(lambda mu: f"mixup {mu:g}", low=0, high=1000, cost=lambda mu: 2.0),  # as measured
    carrier="sde_ray.curation.mixup:Mixup",
    section="mixup",
)
FEDERATED = Axis(
    "federated",
    default="central",
    options={
        "central": TrainingOption("all samples in one place"),
        "federated": TrainingOption("Federated", "federated", cost=3.0),
        "local": TrainingOption("one client alone", "local"),
        "pooled": TrainingOption("all samples at one client", "pooled"),
    },
    numbers=Numbers(lambda client: f"client {client:g} alone", low=0, high=9_999, whole=True),
    carrier="sde_ray.curation.federated:Federated",
    section="federated",
)
LEARNING_RATE = _nuisance(
    "learning_rate",
    "train.learning_rate",
    Numbers(lambda rate: f"rate {rate:g}", low=0, high=99, above=True),
)
LORA_R = _nuisance("lora_r", "lora.r", Numbers(lambda rank: f"rank {rank:g}", low=1, high=100_000, whole=True))
NUM_TRAIN_EPOCHS = _nuisance(
    "num_train_epochs",
    "train.num_train_epochs",
    Numbers(lambda epochs: f"{epochs:g} epochs", low=0, high=1000, above=True),
)
CHAT_TEMPLATE = Axis(
    "chat_template",
    default=CONFIGURED,
    options={
        CONFIGURED: TrainingOption("chat_template as configured"),
        "auto": TrainingOption("Chat", "auto"),
        "off": TrainingOption("No-chat", "off"),
    },
    setting="chat_template",
)
"""Whether prompts stand in the tokenizer's chat template, in training and at inference. Not a nuisance axis: it is a
choice in the design of samples, which may suit a base model otherwise than a chat model."""

TRAINING: tuple[Axis, ...] = (REPEAT, MIXUP, FEDERATED, LEARNING_RATE, LORA_R, NUM_TRAIN_EPOCHS, CHAT_TEMPLATE)
