"""`sde-ray rationales`: rationales for the reasoning axis on your own data, from a template or written by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, out
from sde_ray.cli.options import Json, Sets

if TYPE_CHECKING:
    from sde_ray.tasks.rationales.chat_client import Endpoint
    from sde_ray.tasks.rationales.generate import Cost, Written
    from sde_ray.types import Example, Task

SHOWN_REPLIES = 5


def rationales(
    task_or_sweep: Annotated[
        str, typer.Argument(help="A sweep's YAML file, or a task by name.", metavar="PLACE", show_default=False)
    ],
    folder: Annotated[Path | None, typer.Option("--out", help="Folder for train.jsonl, dev.jsonl, test.jsonl.")] = None,
    template: Annotated[str, typer.Option(help='Such as "the text says {value} of {slot}".')] = "",
    endpoint: Annotated[str, typer.Option(help="Address of an OpenAI-compatible server, up to /v1.")] = "",
    model: Annotated[str, typer.Option(help="With --endpoint: the model to ask.")] = "",
    key_variable: Annotated[
        str, typer.Option("--key-env", help="Environment variable that holds the endpoint's key.")
    ] = "OPENAI_API_KEY",
    n: Annotated[int, typer.Option("--n", min=0, help="First training examples only; 0: all.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests at the same time.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one request may take.")] = 60.0,
    again: Annotated[bool, typer.Option("--again", help="Ask anew where a reply gave no reason.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send the requests; without it only their cost is shown.")] = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Give training examples the reasons that the reasoning axis needs: from a template, or written by a model."""
    from sde_ray.errors import UserError
    from sde_ray.tasks.rationales.chat_client import Endpoint

    task = _open_task(task_or_sweep, sets or [])
    examples = task.load("train")
    chosen = examples[:n] if n else examples
    if template and endpoint:
        raise UserError("Give --template or --endpoint, not both.")
    if not template and not endpoint:
        return _print_state(task, examples, as_json)
    if folder is None:
        raise UserError("Where shall the examples be written? Add --out FOLDER.")
    if not template and not model:
        raise UserError("Which model shall the endpoint ask? Add --model NAME.")
    from sde_ray.tasks.rationales import generate
    from sde_ray.tasks.rationales.template import from_template

    if template:
        written = generate.Written(from_template(chosen, task, template), {})
    else:
        server = Endpoint(endpoint, model, key_variable, timeout)
        replies = _ask_model(chosen, task, server, folder / "replies.jsonl", parallel, again, yes, as_json)
        if replies is None:
            return None
        written = replies
    train = [*written.examples, *examples[len(chosen) :]]
    generate.save(folder, task, {"train": train, "dev": task.load("dev"), "test": task.load("test")})
    return _print_written(written, train, folder, as_json)


def _open_task(task_or_sweep: str, sets: list[str]) -> Task:
    from sde_ray.config.load import load_config, open_tasks
    from sde_ray.errors import UserError
    from sde_ray.tasks import get_task

    if not task_or_sweep.endswith((".yaml", ".yml")):
        return get_task(task_or_sweep)
    tasks = list(open_tasks(load_config(task_or_sweep, sets)).values())
    if len(tasks) > 1:
        names = ", ".join(task.name for task in tasks)
        raise UserError(f"{task_or_sweep} has {len(tasks)} tasks: {names}. Choose one with --set task=NAME.")
    return tasks[0]


def _ask_model(
    examples: list[Example],
    task: Task,
    endpoint: Endpoint,
    replies: Path,
    parallel: int,
    again: bool,
    yes: bool,
    as_json: bool,
) -> Written | None:
    """The examples with rationales that a model writes; None when only the cost is shown."""
    from sde_ray.tasks.rationales import generate

    cost = generate.cost(examples, task, endpoint, replies, again)
    err().print(_describe_cost(cost), highlight=False)
    if cost.requests and not yes:
        if as_json:
            emit(cost)
        err().print("Nothing was sent. Add --yes to send them.")
        return None

    def on_progress(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            err().print(f"{done} of {total} answered", highlight=False)

    return generate.from_model(examples, task, endpoint, replies, parallel, again, on_progress)


def _describe_cost(cost: Cost) -> str:
    cached = f", {cost.cached} are kept from earlier runs" if cost.cached else ""
    return (
        f"{cost.requests} requests{cached}: about {cost.tokens_in:,} tokens to the model, "
        f"at most {cost.tokens_out:,} from it."
    )


def _print_written(written: Written, train: list[Example], folder: Path, as_json: bool) -> None:
    from sde_ray.tasks.rationales import generate

    if as_json:
        return emit(
            {"folder": str(folder), "examples": len(train), "covered": generate.covered(train), "bad": written.bad}
        )
    line = f"{generate.covered(train)} of {len(train)} training examples have a reason for every slot they mention."
    out().print(line, highlight=False)
    for example_id, reason in list(written.bad.items())[:SHOWN_REPLIES]:
        out().print(f"  {example_id}: {reason}", highlight=False, markup=False)
    if written.bad:
        out().print(f"{len(written.bad)} replies lack reasons; --again asks for them once more.", highlight=False)
    out().print(f"Use them: data: {{format: jsonl, path: {folder}}}", highlight=False, markup=False)


def _print_state(task: Task, examples: list[Example], as_json: bool) -> None:
    """How many examples have rationales, and whether the reasoning axis is swept."""
    from sde_ray.design.axes import AXES
    from sde_ray.tasks.rationales import generate

    pinned = AXES["reasoning"].pinned(task, any(example.rationale for example in examples))
    if as_json:
        return emit({"examples": len(examples), "covered": generate.covered(examples), "pinned": pinned})
    line = (
        f"{generate.covered(examples)} of {len(examples)} training examples have a reason for every slot they mention."
    )
    out().print(line, highlight=False)
    axis = f"The reasoning axis stands still: {pinned}." if pinned else "The reasoning axis is swept."
    out().print(f"{axis} Reasons come from --template, or from a model by --endpoint and --model.", highlight=False)


def register(app: typer.Typer) -> None:
    app.command()(rationales)
