"""`rationales`: reasons for the reasoning axis on your own data, from a template or written by a model."""

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

SHOWN = 5


def rationales(
    place: Annotated[str, typer.Argument(help="A sweep's YAML file, or a task by name.", show_default=False)],
    to: Annotated[Path | None, typer.Option("--out", help="Folder for train.jsonl, dev.jsonl, test.jsonl.")] = None,
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

    task = _task(place, sets or [])
    examples = task.load("train")
    chosen = examples[:n] if n else examples
    if template and endpoint:
        raise UserError("Give --template or --endpoint, not both.")
    if not template and not endpoint:
        return _state(task, examples, as_json)
    if to is None:
        raise UserError("Where shall the examples be written? Add --out FOLDER.")
    if not template and not model:
        raise UserError("Which model shall the endpoint ask? Add --model NAME.")
    from sde_ray.tasks.rationales import generate as rooms

    if template:
        written = rooms.Written(rooms.from_template(chosen, task, template), {})
    else:
        asked = Endpoint(endpoint, model, key_variable, timeout)
        found = _written(chosen, task, asked, to / "replies.jsonl", parallel, again, yes, as_json)
        if found is None:
            return None
        written = found
    whole = [*written.examples, *examples[len(chosen) :]]
    rooms.save(to, task, {"train": whole, "dev": task.load("dev"), "test": task.load("test")})
    return _told(written, whole, to, as_json)


def _task(place: str, sets: list[str]) -> Task:
    from sde_ray.config.load import load_config, open_tasks
    from sde_ray.errors import UserError
    from sde_ray.tasks import get_task

    if not place.endswith((".yaml", ".yml")):
        return get_task(place)
    tasks = list(open_tasks(load_config(place, sets)).values())
    if len(tasks) > 1:
        names = ", ".join(task.name for task in tasks)
        raise UserError(f"{place} has {len(tasks)} tasks: {names}. Choose one with --set task=NAME.")
    return tasks[0]


def _written(
    examples: list[Example],
    task: Task,
    endpoint: Endpoint,
    replies: Path,
    parallel: int,
    again: bool,
    yes: bool,
    as_json: bool,
) -> Written | None:
    """The examples with what the model has written; None where only the cost was wanted."""
    from sde_ray.tasks.rationales import generate as rooms

    price = rooms.cost(examples, task, endpoint, replies, again)
    err().print(_price(price), highlight=False)
    if price.requests and not yes:
        if as_json:
            emit(price)
        err().print("Nothing was sent. Add --yes to send them.")
        return None

    def on_progress(done: int, count: int) -> None:
        if done % 50 == 0 or done == count:
            err().print(f"{done} of {count} answered", highlight=False)

    return rooms.from_model(examples, task, endpoint, replies, parallel, again, on_progress)


def _price(price: Cost) -> str:
    kept = f", {price.kept} are kept from earlier runs" if price.kept else ""
    return (
        f"{price.requests} requests{kept}: about {price.tokens_in:,} tokens to the model, "
        f"at most {price.tokens_out:,} from it."
    )


def _told(written: Written, whole: list[Example], folder: Path, as_json: bool) -> None:
    from sde_ray.tasks.rationales import generate as rooms

    if as_json:
        return emit(
            {"folder": str(folder), "examples": len(whole), "covered": rooms.covered(whole), "bad": written.bad}
        )
    line = f"{rooms.covered(whole)} of {len(whole)} training examples have a reason for every slot they mention."
    out().print(line, highlight=False)
    for name, fault in list(written.bad.items())[:SHOWN]:
        out().print(f"  {name}: {fault}", highlight=False, markup=False)
    if written.bad:
        out().print(f"{len(written.bad)} replies lack reasons; --again asks for them once more.", highlight=False)
    out().print(f"Use them: data: {{format: jsonl, path: {folder}}}", highlight=False, markup=False)


def _state(task: Task, examples: list[Example], as_json: bool) -> None:
    """What there is already, and what that means for the axis."""
    from sde_ray.design.axes import AXES
    from sde_ray.tasks.rationales import generate as rooms

    pinned = AXES["reasoning"].pinned(task, any(example.rationale for example in examples))
    if as_json:
        return emit({"examples": len(examples), "covered": rooms.covered(examples), "pinned": pinned})
    line = f"{rooms.covered(examples)} of {len(examples)} training examples have a reason for every slot they mention."
    out().print(line, highlight=False)
    said = f"The reasoning axis stands still: {pinned}." if pinned else "The reasoning axis is swept."
    out().print(f"{said} Reasons come from --template, or from a model by --endpoint and --model.", highlight=False)


def register(app: typer.Typer) -> None:
    app.command()(rationales)
