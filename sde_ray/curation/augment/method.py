"""The method of the axis `augment`: a trial's examples and what a teacher has written for them.

    examples() ─▶ D_0 and the written ones, in order; steps() ─▶ as many optimiser steps as without (`equal: steps`)

What was asked, kept and dropped is counted by reason in `curation/augment.json` of the trial's folder, where a round's
counts sum up: answered = right + wrong_written + wrong_seeds, requests = kept + all dropped, wrong_seeds = kept +
given_up; of SELF-GUIDE texts = kept + all dropped, and all kept = written + cut. The written
examples, of LLM2LLM with their parents, are in `curation/augment.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.curation.augment import teacher
from sde_ray.curation.augment.llm2llm import llm2llm
from sde_ray.curation.augment.self_guide import self_guide
from sde_ray.curation.augment.teacher import generate_written  # what the workers are told to call is looked up here
from sde_ray.curation.augment.written import example_of
from sde_ray.errors import UserError
from sde_ray.tasks.rationales.chat_client import check_answers, check_endpoint
from sde_ray.training.curation import Method
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation

__all__ = ["Augment", "generate_written"]


class Augment(Method):
    """Examples by a teacher; `value` is the scheme."""

    def faults(self) -> Iterable[str]:
        settings = self.settings
        if not settings.is_endpoint:
            return
        try:
            check_endpoint(teacher.endpoint_of(settings))
        except UserError as error:
            yield f"curation.augment.teacher: {error}"
        if not settings.teacher_model:
            yield (
                "curation.augment.teacher is an address, and no model is named. Set curation.augment.teacher_model to "
                "one that the endpoint serves."
            )
        if settings.max_requests < self._first_round:
            yield (
                f"curation.augment.max_requests is {settings.max_requests}, and a first round of "
                f"{self.value} with {self.config.train_size} examples may need {self._first_round} requests. Set it to "
                "that at least."
            )

    def check_reachable(self) -> None:
        if self.settings.is_endpoint:
            check_answers(teacher.endpoint_of(self.settings))

    @property
    def _first_round(self) -> int:
        """Requests that the first round may need: one for each example, or for each text and its answers."""
        settings = self.settings
        return settings.texts * (1 + settings.outputs) if self.value == "self_guide" else self.config.train_size

    def cost(self) -> float:
        """At most, without the teacher's time: round i of LLM2LLM trains on up to i + 1 times the examples."""
        rounds = self.settings.rounds
        if self.value == "self_guide":
            more = 0 if self.settings.equal == "steps" else rounds * self.settings.texts / self.config.train_size
            return 1 + float(more)
        return rounds * (rounds + 1) / 2 + (1 if self.settings.equal == "steps" else rounds + 1)

    def notes(self) -> Iterable[str]:
        settings = self.settings
        if settings.is_endpoint:
            each = self._first_round * (1 if self.value == "self_guide" else settings.attempts)
            most = min(settings.max_requests, settings.rounds * each)
            yield f"augment={self.value}: up to {most} requests a trial to {settings.teacher_model} at the endpoint"

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        writer = teacher.open_teacher(self.settings, preparation)
        scheme = self_guide if self.value == "self_guide" else llm2llm
        audit = scheme(examples, self.settings, preparation, writer)
        self._record(audit, preparation)
        return [*examples, *(example_of(row) for row in audit["written"])]

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """As many samples seen, in as many steps, as without what was written; or passes over all of it."""
        from sde_ray.training.batching import batch_indices

        if self.settings.equal == "samples" or len(samples) == self.config.train_size:
            return steps
        total = max(1, round(self.config.train_size * self.config.train.num_train_epochs))
        return batch_indices(len(samples), self.config.train, self.config.seed, total)

    def _record(self, audit: dict[str, Any], preparation: Preparation) -> None:
        rounds, written = audit["rounds"], audit["written"]
        preparation.count("rounds", len(rounds))
        preparation.count(f"ended_{audit['ended']}", 1)
        for name in ("requests", "kept", "given_up"):
            preparation.count(name, sum(one.get(name, 0) for one in rounds))
        preparation.count("cut", audit.get("cut", 0))
        for one in rounds:
            for reason, number in one["dropped"].items():
                preparation.count(f"dropped_{reason}", number)
        told = {
            "scheme": self.value,
            "ended": audit["ended"],
            "rounds": rounds,
            "cut": audit.get("cut", 0),
            "written": len(written),
        }
        preparation.write("augment.json", json.dumps(told, indent=2))
        preparation.write("augment.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written))
