"""Settings of the data and training axes, the section `curation` of the YAML: one section a method.

    axes: {repeat: [1, 4]}
    curation: {repeat: {dropout_from: 0.5}}

They count for trials whose design has another option of the axis than the neutral one, and only these have them in
their key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sde_ray.config.memory_file import digest_of_levels
from sde_ray.config.section import Neutral, Section, without_neutral


def _without_query(teacher: str) -> str:
    """A teacher; an address has no query and no password, since it is written into files."""
    if teacher.startswith(("http://", "https://")) and any(sign in teacher for sign in "?#@"):
        raise ValueError(
            "an address of a teacher has neither a query nor a password: it is written into files. Put the key into "
            "the environment variable that key_variable names."
        )
    return teacher


class Augment(Section):
    """Settings of the axis `augment`: a teacher writes examples for a trial."""

    teacher: Annotated[str, Field(min_length=1), AfterValidator(_without_query)] = "same"
    """Who writes: `same`, the trial's own base model; another model by its name or folder, which every worker then
    loads once and holds beside the base; or the address of an OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1."""
    teacher_model: str = ""
    """The model's name at the endpoint."""
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), Neutral()] = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; the key itself stands nowhere else."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    """Rounds, at most; of `llm2llm` each trains, answers and writes, of `self_guide` each writes and answers.
    The published LLM2LLM has 10."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 2
    """How often `llm2llm` asks the teacher for one example, until one is usable."""
    texts: Annotated[int, Field(ge=1)] = 30
    """Texts that `self_guide` asks for in a round."""
    outputs: Annotated[int, Field(ge=1, le=100)] = 10
    """Samples of each text's answer in `self_guide`; the most frequent counts, if its share is 0.3 or more."""
    near_copy: Annotated[float, Field(gt=0, le=1)] = 0.95
    """A text whose ROUGE-L F1 with a seed or another written example is above this is dropped."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest reply of the teacher."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Sampling of the teacher; 0: greedily, so that another attempt writes the same."""
    equal: Literal["steps", "samples"] = "steps"
    """What a trial has in common with one without the axis, besides its labelled examples: the optimiser steps; or
    how often it sees each sample (`num_train_epochs` over all, so more steps, as published)."""
    max_requests: Annotated[int, Field(ge=1)] = 1000
    """Requests to an endpoint that one trial may make. A round that could not ask once for each wrong example is not
    begun (`llm2llm`), nor one that may need more than is left (`self_guide`): the trial trains on what it has."""
    timeout_s: Annotated[float, Field(gt=0), Neutral()] = 60.0
    """Seconds for one request to an endpoint, which is tried up to six times while the endpoint is busy."""
    parallel: Annotated[int, Field(ge=1, le=64), Neutral()] = 4
    """Requests to an endpoint at a time."""

    @property
    def is_endpoint(self) -> bool:
        """Whether the teacher is behind an address."""
        return self.teacher.startswith(("http://", "https://"))

    @property
    def budget(self) -> float:
        """Requests that a trial may make; a model on the workers costs none."""
        return self.max_requests if self.is_endpoint else math.inf


class Repeat(Section):
    """Settings of the axis `repeat`."""

    dropout_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training after which `lora.lora_dropout` sets in; 0: from the start. Before it there is none."""


class MemoryLevel(Section):
    """Settings of the axis `memory_level`."""

    levels: str = ""
    """The file that `sde-ray memory` has written; empty: that in the sweep's own folder."""
    rule: Literal["words", "substring"] = "words"
    """What counts as a hit: the answer as whole words, or as a raw substring (as published)."""
    aliases: str = ""
    """A file of further names of answers, `{"Czech Republic": ["Czechia"]}`, as JSON or a line each. They are hits when
    levels are measured, by both rules, and right answers in the study's accuracy by level; the score of a trial has
    those only that its data hold."""

    @cached_property
    def key_values(self) -> Mapping[str, Any]:
        """The levels themselves in place of where they are."""
        return {"levels": digest_of_levels(self.levels, self.rule), "rule": self.rule}


FilterRule = Literal[
    "language", "length", "repeated_lines", "control_characters", "exact_duplicates", "near_duplicates"
]


class Filter(Section):
    """Settings of the axis `filter`. Every threshold is of the train split."""

    score: Literal["perplexity", "length"] = "perplexity"
    """What the best share is by: the perplexity of the text for the untuned base (low is good), or the number of
    characters (long is good), which needs no model."""
    rules: tuple[FilterRule, ...] = (
        "language",
        "length",
        "repeated_lines",
        "control_characters",
        "exact_duplicates",
    )
    """What is dropped beside the worst texts; `[]`: nothing. `near_duplicates` needs `sde_ray[filter]` installed."""
    min_language_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Rule `language`: the least share of a text's characters, blanks apart, that are letters of its language."""
    min_characters: Annotated[int, Field(ge=0)] = 5
    """Rule `length`: the shortest text."""
    max_characters: Annotated[int, Field(ge=1)] = 100_000
    """Rule `length`: the longest text."""
    max_repeated_lines: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Rule `repeated_lines`: the largest share of a text's lines that stand in it before."""
    max_control_characters: Annotated[int, Field(ge=0)] = 0
    """Rule `control_characters`: the most control, unassigned and replacement characters, tabs and line ends apart."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Rule `near_duplicates`: the Jaccard similarity of two texts' runs of characters from which one is dropped."""
    audit: Annotated[int, Field(ge=0)] = 20
    """Examples in the audit file of a trial, of those kept and of those dropped by each rule."""

    @cached_property
    def key_values(self) -> Mapping[str, Any]:
        """All but how many examples are shown."""
        return {name: value for name, value in without_neutral(self).items() if name != "audit"}


class Mix(Section):
    """Settings of the axis `mix`."""

    task: str = ""
    """The task whose train examples are mixed in: any name that the sweep's own task may have, such as `masa:d2` or
    `mams@data/MAMS`."""
    equal: Literal["samples", "tokens"] = "samples"
    """What stays as many as without: a share of the samples is replaced, or of their tokens."""


def parse_split(text: str) -> tuple[str, float, str]:
    """How samples are split among clients: (`iid`, `dirichlet` or `field`; Dirichlet's alpha, else 0; field, or "").

    Raises ValueError: with what is expected.
    """
    kind, *words = text.split()[:4] or [""]
    if kind == "iid" and not words:
        return kind, 0.0, ""
    if kind == "field" and len(words) == 1:
        return kind, 0.0, words[0]
    if kind == "dirichlet" and len(words) in (1, 2):
        with suppress(ValueError):
            alpha = float(words[0])
            if 0 < alpha <= 1e6:
                return kind, alpha, words[1] if len(words) == 2 else ""
    raise ValueError(
        f'"{text[:80]}" is no split. Expected iid, field NAME, dirichlet ALPHA or dirichlet ALPHA NAME, such as '
        '"field food" or "dirichlet 0.5": NAME is a slot of the task or id, ALPHA a number above 0.'
    )


def _spell_split(text: str) -> str:
    kind, alpha, field = parse_split(text)
    return " ".join([kind, *([f"{alpha:g}"] if alpha else []), *([field] if field else [])])


class Federated(Section):
    """Settings of the axis `federated`."""

    clients: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Among how many clients the samples are split."""
    split: Annotated[str, AfterValidator(_spell_split)] = "iid"
    """How: `iid`; `field NAME`, by the value of a slot, or with `field id` by what ids begin with, up to a dot;
    `dirichlet ALPHA`, by label with shares drawn at random, the more uneven the lower ALPHA (`dirichlet ALPHA NAME`: by
    that slot)."""
    rounds: Annotated[int, Field(ge=1)] = 4
    """How many times the adapters are averaged."""
    local_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps of a client in a round; empty: so many that each client takes the steps of the plain trial."""
    aggregate: Literal["weighted", "mean"] = "weighted"
    """Average the clients by their number of samples, or plainly."""
    optimizer_state: Literal["fresh", "carried"] = "fresh"
    """Whether a client starts each round with a new optimizer, or with its own of the round before."""


class Mixup(Section):
    """Settings of the axis `mixup`."""

    alpha: Annotated[float, Field(gt=0, le=1000)] = 0.5
    """Both parameters of the Beta distribution that a pair's weight is drawn from: small ones favour weights near 0 and
    1, large ones weights near a half."""
    checkpoints: Annotated[int, Field(ge=1, le=100)] = 3
    """Points of the reference run, evenly spaced up to its end, at which the perplexity of each answer is measured."""
    reference: Annotated[str, Field(min_length=1)] | None = None
    """Model of the reference run; empty: the trial's own. A smaller one will do."""


class Curation(Section):
    """Settings of the data and training axes, one section a method."""

    filter: Filter = Filter()
    """Samples of the best texts only (`axes: {filter: [off, 1, 0.6, 0.3]}`)."""
    mix: Mix = Mix()
    """A share of another task's samples (`axes: {mix: [0, 0.25, 0.5]}`)."""
    augment: Augment = Augment()
    """Examples that a teacher writes (`axes: {augment: [none, llm2llm, self_guide]}`)."""
    repeat: Repeat = Repeat()
    """Fewer samples, more often (`axes: {repeat: [1, 4]}`)."""
    memory_level: MemoryLevel = MemoryLevel()
    """Facts that the untuned model knows to some degree (`axes: {memory_level: [0, 2, 4]}`)."""
    federated: Federated = Federated()
    """Training on clients that share adapters, no samples (`axes: {federated: [central, federated, local]}`)."""
    mixup: Mixup = Mixup()
    """Pairs of confident and unconfident samples, mixed (`axes: {mixup: [0, 0.2]}`)."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models that these settings name, beside the sweep's own, and that workers load."""
        teacher = "" if self.augment.is_endpoint or self.augment.teacher == "same" else self.augment.teacher
        return tuple(name for name in (self.mixup.reference, teacher) if name)
