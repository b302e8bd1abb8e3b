"""Floor: the least seconds that the matrix products of a work take, at the matrix rate measured on this machine.

    flops = Work(train_tokens=9_000, loss_tokens=2_000).training_flops(Parameters(body=3_000_000, head=400_000))
    seconds = flops / measure_rates(workers=2, threads=1, dtype="float32")

A frozen base costs 4 operations a parameter and trained token (2 forward, 2 for the gradients of the inputs; there are
no gradients of its weights) and 2 a parameter and decoded token. The output layer counts only where its logits are
needed. Attention, adapters, norms, padding and the optimizer count nothing: no engine can reach the floor.

    python -m sde_ray.bench.engine.floor float32 1              one process' rate, in operations a second
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

SECONDS = 3.0  # of multiplying, which the processes of one measurement spend side by side
SIZE = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough for a device's best rate


@dataclass(frozen=True)
class Parameters:
    """Weights of a model's matrix products: `body` of all layers, `head` of the output layer."""

    body: int
    head: int


@dataclass(frozen=True)
class Work:
    """Tokens of a work: trained ones, those of them that count in the loss, prompts' and generated ones."""

    train_tokens: int = 0
    loss_tokens: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.train_tokens + other.train_tokens,
            self.loss_tokens + other.loss_tokens,
            self.prompt_tokens + other.prompt_tokens,
            self.new_tokens + other.new_tokens,
        )

    def training_flops(self, parameters: Parameters) -> int:
        return 4 * (parameters.body * self.train_tokens + parameters.head * self.loss_tokens)

    def decoding_flops(self, parameters: Parameters) -> int:
        decoded = self.prompt_tokens + self.new_tokens
        return 2 * (parameters.body * decoded + parameters.head * self.new_tokens)


def count_parameters(model_name: str) -> Parameters:
    """The weights of a model's linear layers, without loading them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from sde_ray.models import base

    with torch.device("meta"), base.explained(model_name, "model"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**base.pretrained(model_name)))
    return count_model_parameters(model)


def count_model_parameters(model: Any) -> Parameters:
    """The weights of the linear layers of a model, each once."""
    import torch

    head = model.get_output_embeddings()
    body = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return Parameters(sum(layer.weight.numel() for layer in body), head.weight.numel())


def measure_rates(workers: int, threads: int, dtype: str) -> float:
    """Operations a second of so many processes side by side, as the trials run; on a GPU of one process."""
    import torch

    command = [sys.executable, "-m", "sde_ray.bench.engine.floor", dtype, str(threads)]
    count = 1 if torch.cuda.is_available() else workers
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(process.communicate()[0].split()[-1]) for process in processes)


def matrix_rate(dtype: str, seconds: float = SECONDS) -> float:
    """Operations a second of this process in products of large square matrices: 2 n^3 each."""
    import time

    import torch

    from sde_ray.bench.engine.measurement import synchronize
    from sde_ray.models.base import DTYPES, device

    size, where = SIZE[device().type], device()
    one, other = (torch.randn(size, size, device=where).to(DTYPES[dtype]) for _ in range(2))
    product = one @ other  # the first one sets up the library
    synchronize()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        torch.mm(one, other, out=product)
        synchronize()
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - started)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    print(matrix_rate(sys.argv[1]))
