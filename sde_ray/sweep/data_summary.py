"""What a sweep reads of each task before anything is paid for: items, metric, texts that do not fit, odd labels.

    summary, = summarize(plan)
    summary.items          {"train": 243, "dev": 27, "test": 30}
    summary.notes          ("eval_size is 60, but the dev split has 27 items: trials are scored on 27.", ...)

Plan, run and report show the same. The test split is only measured here: how many items, how long, which labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from sde_ray.config.load import open_tasks
from sde_ray.config.scaffold import CHARACTERS_PER_TOKEN, FEW_ITEMS
from sde_ray.config.schema import SweepConfig
from sde_ray.data import draw
from sde_ray.data.source import DatasetSource
from sde_ray.design.asking import samples_of
from sde_ray.errors import UserError
from sde_ray.metrics.meanings import metric_meaning
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.plan import Plan, out_of_domain
from sde_ray.tasks import resolve_task
from sde_ray.tasks.titles import task_title
from sde_ray.types import Example, Split, Task

if TYPE_CHECKING:
    from sde_ray.models.tokenization import Encoder

SPLITS: tuple[Split, ...] = get_args(Split)
SUSPICIOUS = 0.5  # of the room, by characters: shorter texts fit by any tokenizer, so none is loaded for them
SKETCHED = 4  # examples whose answers tell how many tokens a completion needs
SHOWN = 6


@dataclass(frozen=True)
class OverlongTexts:
    """Texts that do not fit beside the longest instruction and its answer: they are cut.

    `counts`: by split. `room`: tokens that a text may have. `longest`: tokens of the longest. `is_estimate`: counted in
    characters, as the model's tokenizer is not at hand.
    """

    model: str
    counts: Mapping[str, int]
    room: int
    longest: int
    is_estimate: bool


@dataclass(frozen=True)
class DataSummary:
    """What a sweep reads of one task, and what its scores say.

    `items`: by split. `scored` and `tested`: items that a trial, and a trial of the final comparison, is scored on.
    `domains`: the dev and test items of each out-of-domain task. `source`: how data of one's own were read.
    """

    task: str
    title: str
    metric: str
    meaning: str
    split: str
    items: Mapping[str, int]
    scored: int
    tested: int
    domains: Mapping[str, tuple[int, int]]
    source: str
    overlong: tuple[OverlongTexts, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> str:
        """`243 train / 27 dev / 30 test`."""
        return " / ".join(f"{count} {split}" for split, count in self.items.items())

    @property
    def facts(self) -> tuple[str, str]:
        """Metric and items, a line each, for plan and report."""
        meaning = f" ({self.meaning})" if self.meaning else ""
        parts = [f"{self.counts} items", f"a trial is scored on {self.scored}, the final comparison on {self.tested}"]
        parts += [f"out of domain {name}: {dev} dev / {test} test" for name, (dev, test) in self.domains.items()]
        return f"{self.metric} on {self.split}{meaning}", "; ".join([*parts, *([self.source] if self.source else [])])


def summarize(plan: Plan) -> list[DataSummary]:
    """Summaries of a plan's tasks. Texts are counted in tokens where the model's tokenizer is at hand."""
    return [_summarize(plan, name, task) for name, task in open_tasks(plan.config).items()]


def _summarize(plan: Plan, name: str, task: Task) -> DataSummary:
    config = plan.config
    contests = [contest for contest in plan.contests if contest.task == name and contest.trials]
    examples = {split: task.load(split) for split in SPLITS}
    items: dict[str, int] = {split: len(rows) for split, rows in examples.items()}
    siblings = {other: resolve_task(other) for other in out_of_domain(config, task)}
    scored = min((trial.eval_size for one in contests for group in one.trials.values() for trial in group), default=0)
    tested = min(config.validation.test_size, items["test"])
    overlong = tuple(_overlong(contest, task, examples, config) for contest in contests)
    load = getattr(task.load, "load", task.load)  # a task with rationales by template wraps its source
    load = getattr(load, "source", load)  # and so does a table task
    return DataSummary(
        name,
        task_title(name),
        config.metric_for(task),
        metric_meaning(config.metric_for(task)),
        config.objective.split,
        items,
        scored,
        tested,
        {task_title(other): (len(one.load("dev")), len(one.load("test"))) for other, one in siblings.items()},
        load.summary().partition("; ")[2] if isinstance(load, DatasetSource) else "",  # what follows the counts
        tuple(one for one in overlong if any(one.counts.values())),
        (
            *(load.notes() if isinstance(load, DatasetSource) else ()),
            *_few(config, items, scored, tested),
            *_odd_labels(task, examples),
        ),
    )


# ---- items ---------------------------------------------------------------------------------------------------------


def _few(config: SweepConfig, items: Mapping[str, int], scored: int, tested: int) -> Iterator[str]:
    """Sizes that were asked for and are not there, and splits too small to tell designs apart."""
    if "eval_size" in config.model_fields_set and scored < config.eval_size:
        why = (
            f"the dev split has {items['dev']}" if scored == items["dev"] else "an out-of-domain dev split has no more"
        )
        yield f"eval_size is {config.eval_size}, but {why}: trials are scored on {scored} items."
    if "test_size" in config.validation.model_fields_set and tested < config.validation.test_size:
        yield (
            f"validation.test_size is {config.validation.test_size}, but the test split has {items['test']}: "
            f"the final comparison is on {tested} items."
        )
    few = [f"{count} {what} items" for what, count in (("dev", scored), ("test", tested)) if count < FEW_ITEMS]
    if few:
        yield (
            f"{' and '.join(few)}: with fewer than {FEW_ITEMS} intervals are wide, and most differences between "
            f"designs will not be shown. {_more(items, scored, tested)}"
        )


def _more(items: Mapping[str, int], scored: int, tested: int) -> str:
    """Where further items would come from."""
    settings = ["eval_size"] * (scored < min(FEW_ITEMS, items["dev"]))
    settings += ["validation.test_size"] * (tested < min(FEW_ITEMS, items["test"]))
    return f"More are there, and cost no training: raise {' and '.join(settings)}." if settings else "Add data."


# ---- texts ---------------------------------------------------------------------------------------------------------


def _overlong(
    contest: Contest, task: Task, examples: Mapping[Split, Sequence[Example]], config: SweepConfig
) -> OverlongTexts:
    """Texts of a contest's task that do not fit into its model's context."""
    per_token = CHARACTERS_PER_TOKEN[task.language]
    longest = max((len(row.text) for rows in examples.values() for row in rows), default=0) / per_token
    room = config.train.max_length - _needed(contest, task, config, None)
    encoder = model_encoder(contest.model, config) if longest > SUSPICIOUS * room else None
    if encoder is not None:
        room = encoder.max_length - _needed(contest, task, config, encoder)
    sizes = {split: [_tokens(row.text, room, encoder, per_token) for row in rows] for split, rows in examples.items()}
    counts: dict[str, int] = {split: sum(size > room for size in each) for split, each in sizes.items()}
    largest = max((size for each in sizes.values() for size in each), default=0)
    return OverlongTexts(contest.model, counts, max(0, room), largest, encoder is None)


def model_encoder(name: str, config: SweepConfig) -> Encoder | None:
    """The encoder of a model with the context that a trial has; None where the model is not on this machine."""
    from sde_ray.models.availability import check_model
    from sde_ray.models.base import load_tokenizer
    from sde_ray.models.tokenization import Encoder

    try:
        model = check_model(name, config.trust_remote_code)
        if not model.is_local:
            return None
        limit = min(config.train.max_length, model.context or config.train.max_length)
        return Encoder(load_tokenizer(name, config.trust_remote_code), limit, config.chat_template)
    except UserError:
        return None  # said by whoever loads it


def _needed(contest: Contest, task: Task, config: SweepConfig, encoder: Encoder | None) -> int:
    """Tokens that instruction and completion take in the design that takes most."""
    train, per_token = task.load("train"), CHARACTERS_PER_TOKEN[task.language]
    chosen = draw(train, min(SKETCHED, len(train)), config.seeds[0])
    needed = 0
    for design in contest.trials:
        samples = samples_of(chosen, task, design, config.instruction_variant)
        if not samples:
            continue
        if encoder is not None:
            from sde_ray.models.decoder import completion_budget

            budget = completion_budget(config.generation.max_new_tokens, encoder, samples)
            needed = max(needed, budget + max(encoder.fixed_length(sample.prompt) for sample in samples))
            continue
        for sample in samples:
            fixed = sum(len(segment.text) for segment in sample.prompt if segment.role != "text")
            needed = max(needed, round((fixed + 1.5 * len(sample.completion.text)) / per_token))
    return needed


def _tokens(text: str, room: int, encoder: Encoder | None, per_token: float) -> int:
    """Tokens of a text. One with fewer bytes than there is room for tokens fits: a token is a byte or more."""
    if encoder is None:
        return round(len(text) / per_token)
    size = len(text.encode("utf-8", "surrogatepass"))
    return size if size <= room else len(encoder.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def overlong_notes(summary: DataSummary) -> list[str]:
    """One sentence a model whose context is too short for some texts."""
    return [
        f"{'about ' if one.is_estimate else ''}{_joined(one.counts)} texts do not fit on {one.model} beside the "
        f"longest instruction and answer, and are cut: there is room for {one.room} tokens, the longest has "
        f"{'about ' if one.is_estimate else ''}{one.longest}. Raise train.max_length as far as the model's context "
        "goes, or shorten the texts."
        for one in summary.overlong
    ]


def _joined(counts: Mapping[str, int]) -> str:
    """`3 train and 1 dev`, without splits that have none."""
    *rest, last = [f"{count} {split}" for split, count in counts.items() if count]
    return f"{', '.join(rest)} and {last}" if rest else last


# ---- labels --------------------------------------------------------------------------------------------------------


def _odd_labels(task: Task, examples: Mapping[Split, Sequence[Example]]) -> Iterator[str]:
    """Slots whose gold answers are all alike, and labels that training or scoring never meets."""
    if task.kind != "label":
        return
    alike = []
    for slot in task.slots:
        answers = Counter(row.answer.get(slot, ()) for row in examples["dev"])
        if len(answers) == 1 and len(examples["dev"]) > 1:
            alike.append(f'{slot} ("{" and ".join(next(iter(answers))) or task.placeholder}")')
    if alike:
        yield (
            f"Every dev item has the same answer for {_listed(alike)}. Any design gets that right, so its scores say "
            "nothing about designs. Add other items, or leave the slot out."
        )
    labels = {
        split: {(slot, label) for row in rows for slot, values in row.answer.items() for label in values}
        for split, rows in examples.items()
    }
    unlearned = sorted((labels["dev"] | labels["test"]) - labels["train"])
    unscored = sorted(labels["train"] - labels["dev"] - labels["test"])
    if unlearned:
        yield f"Labels in dev or test that no train item has, so that none can be learned: {_named(task, unlearned)}."
    if unscored and examples["dev"]:
        yield f"Labels of train items that no dev or test item has, so that none is scored: {_named(task, unscored)}."


def _named(task: Task, pairs: Sequence[tuple[str, str]]) -> str:
    return _listed([label if len(task.slots) == 1 else f"{slot}: {label}" for slot, label in pairs])


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
