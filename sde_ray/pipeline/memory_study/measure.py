"""Memory levels of a sweep's facts on one untuned model: prepare, say the cost, measure what the cache lacks.

    study = prepare_memory(config, "qa:location", "tiny", MemorySettings(), limit=100)
    study.cost          1,300 facts (100 kept): 1,300 x 12 templates x 10 samples, 5.0 M tokens, about 3 h
    measure(study)      memory of every fact by split, each on disk as soon as it is measured

Measured are at most `limit` training facts a relation, and every dev item that the trials are scored on, in-domain and
out-of-domain: these are what accuracy by level is made of. Test splits are not read (law 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from statistics import fmean

from sde_ray import data
from sde_ray.config.alias_file import read_aliases
from sde_ray.config.load import definition_of, open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import CPU_ROWS
from sde_ray.curation.memory.completions import BATCHES, MemoryMeter, MemorySettings, memory_key
from sde_ray.curation.memory.levels import FactMemory, fact_memory
from sde_ray.data.completion_templates import TEMPLATES, RelationTemplates
from sde_ray.data.facts import Fact, facts_of, first_of_each_relation, prompts, with_aliases
from sde_ray.errors import UserError
from sde_ray.pipeline.prompting.run import identity
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.cluster.actor_pool import map_on_actors
from sde_ray.sweep.plan import out_of_domain
from sde_ray.tasks.trial_task import trial_examples
from sde_ray.types import Example, Task

TRAIN, DEV, DEV_OOD = "train", "dev", "dev_ood"


@dataclass(frozen=True)
class MemoryCost:
    """Cost of what is missing: facts (of all), completions, new tokens at most, seconds if some were measured."""

    missing: int
    facts: int
    completions: int
    tokens: int
    seconds: float | None


@dataclass(frozen=True)
class MemoryStudy:
    """One task on one model, before anything is measured; facts by split."""

    config: SweepConfig
    task: str
    model: str
    settings: MemorySettings
    facts: Mapping[str, tuple[Fact, ...]]
    templates: Mapping[str, RelationTemplates] = field(default_factory=lambda: TEMPLATES)

    @property
    def cache(self) -> JsonlCache:
        return JsonlCache(self.config.run_dir.memory_cache)

    @cached_property
    def keys(self) -> Mapping[Fact, str]:
        """The cache's key of every fact."""
        model = f"{identity(self.model)} {self.config.train.dtype}"
        facts = (fact for group in self.facts.values() for fact in group)
        return {fact: memory_key(fact, self.templates, model, self.settings) for fact in facts}

    def cost(self) -> MemoryCost:
        """What `measure` would do; what the cache has is not measured again."""
        stored = self.cache.read()
        missing = [fact for fact, key in self.keys.items() if key not in stored]
        completions = sum(self.num_completions(fact) for fact in missing)
        took = [float(stored[key]["seconds"]) for key in self.keys.values() if "seconds" in stored.get(key, {})]
        seconds = fmean(took) * len(missing) if took else None
        tokens = completions * self.settings.max_new_tokens
        return MemoryCost(len(missing), len(self.keys), completions, tokens, seconds)

    def facts_of_a_call(self, facts: Sequence[Fact]) -> int:
        """Facts that a worker measures together: as many as fill its batches."""
        most = max(map(self.num_completions, facts), default=1)
        return max(1, BATCHES * (self.config.generation.rows or CPU_ROWS) // most)

    def num_completions(self, fact: Fact) -> int:
        return len(prompts(fact, self.templates, self.settings.templates)) * self.settings.samples


def prepare_memory(
    config: SweepConfig,
    task_name: str,
    model: str,
    settings: MemorySettings,
    limit: int | None,
    templates: Mapping[str, RelationTemplates] = TEMPLATES,
) -> MemoryStudy:
    """Prepare the measurement of one task on one model.

    Args:
        config: the sweep's configuration.
        task_name: a task of the sweep, by the name that its trials carry.
        model: a model of the sweep.
        settings: how memory is measured.
        limit: training facts of each relation at most; None: all.
        templates: completion templates by relation.

    Raises:
        UserError: when the task asks no closed-book questions, or a relation has no templates.
    """
    task = open_tasks(config)[task_name]
    if task.kind != "free" or len(task.slots) != 1:
        raise UserError(
            f'The task "{task_name}" asks no closed-book questions: memory is of facts, which are questions with one '
            "free answer. Use a task such as qa:location@PATH, with the folder of EntityQuestions."
        )
    splits = {TRAIN: first_of_each_relation(task.load("train"), limit), **scored_items(config, task)}
    aliases = read_aliases(config.curation.memory_level.aliases)
    facts = {
        split: tuple(facts_of(with_aliases(examples, aliases), templates))
        for split, examples in splits.items()
        if examples
    }
    return MemoryStudy(config, task_name, model, settings, facts, templates)


def scored_items(config: SweepConfig, task: Task) -> dict[str, list[Example]]:
    """The dev items that a trial of the task is scored on, in-domain and out-of-domain."""
    definition = definition_of(config, task.name)
    others = [trial_examples(name, "dev", definition) for name in out_of_domain(config, task)]
    home = task.load("dev")
    size = min(config.eval_size, len(home), *map(len, others))
    ood = [example for examples in others for example in data.eval_items(examples, size)]
    return {DEV: data.eval_items(home, size), DEV_OOD: ood}


def measure(
    study: MemoryStudy, on_progress: Callable[[int, int], None] = lambda done, count: None
) -> dict[str, list[FactMemory]]:
    """Measure what the cache lacks; `on_progress(done, count)` is called after each chunk. Returns memory by split."""
    cache, config = study.cache, study.config
    config.run_dir.folder.mark_dirty(cache.path)
    stored = dict(cache.read())
    missing = [fact for fact, key in study.keys.items() if key not in stored]
    size = study.facts_of_a_call(missing)
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    rows_at_a_time = config.generation.rows or CPU_ROWS
    make = partial(
        MemoryMeter, study.model, study.settings, config.trust_remote_code, config.train.dtype, rows_at_a_time
    )
    calls = [(chunk, _templates_of(chunk, study.templates)) for chunk in chunks]
    done = 0
    for n, measured in map_on_actors(config.resources, make, calls):
        rows = {
            study.keys[fact]: {**memory.to_dict(), "id": fact.id, "seconds": round(seconds, 3)}
            for fact, (memory, seconds) in zip(chunks[n], measured, strict=True)
        }
        cache.append_all(rows)
        stored |= rows
        done += len(rows)
        on_progress(done, len(missing))
    return memories(study, stored)


def memories(study: MemoryStudy, stored: Mapping[str, Mapping[str, object]]) -> dict[str, list[FactMemory]]:
    """Memory by split of the facts that are measured."""
    return {
        split: [fact_memory(fact.id, stored[study.keys[fact]]) for fact in facts if study.keys[fact] in stored]
        for split, facts in study.facts.items()
    }


def _templates_of(facts: Sequence[Fact], templates: Mapping[str, RelationTemplates]) -> dict[str, RelationTemplates]:
    return {fact.relation: templates[fact.relation] for fact in facts}
