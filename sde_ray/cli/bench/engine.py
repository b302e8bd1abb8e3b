"""`sde-ray bench engine`: speed and fidelity of the engine, side by side with transformers, peft and plain Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json
from sde_ray.errors import UserError, unknown

Model = Annotated[str, typer.Option(help="The base model: a name, or a folder.")]
Repeats = Annotated[int, typer.Option(min=1, help="Repeats of each measure; shown are median and range.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one trial.")]
TrainSize = Annotated[int, typer.Option(min=1, help="Training samples of a design.")]
DTYPES = ("float32", "bfloat16")


def sweeps(
    designs: Annotated[int, typer.Option(min=1, help="Designs, one trial each.")] = 16,
    train_size: TrainSize = 80,
    eval_size: Annotated[int, typer.Option(min=1, help="Items that each design answers.")] = 40,
    at_once: Annotated[int, typer.Option(min=1, help="Trials at a time, in every way; they share one GPU.")] = 2,
    threads: Threads = 1,
    model: Model = "tiny",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16, in every way.")] = "auto",
    repeats: Repeats = 3,
    ways: Annotated[str, typer.Option(help="Only these ways, separated by commas: process,tune,ours.")] = "",
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of our own sweep that changes no result."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The same designs as one process each, as plain Ray Tune trials and as a sweep of ours."""
    from sde_ray.bench.engine.sweeps import compare
    from sde_ray.bench.engine.ways import WAYS, Machine
    from sde_ray.bench.engine.work import Size

    chosen = _names("way", ways, tuple(WAYS))
    _names("dtype", dtype, ("auto", *DTYPES))
    measured = compare(
        Size(designs, train_size, eval_size),
        Machine(at_once, threads, tuple(sets or ())),
        model=model,
        dtype=dtype,
        repeats=repeats,
        ways=chosen,
        say=_say,
    )
    if as_json:
        return emit(measured)
    _show_rows("", measured["rows"])
    for way, phases in measured["phases"].items():
        _show_rows(f"\nWhere the time goes: {way}", phases)
    _show("\nScores", measured["scores"])
    for way, gap in measured["score_differences"].items():
        _show("", [{"difference of scores": f"ours - {way}", **gap}])
    return _show_settings(measured["settings"])


def decode(
    items: Annotated[int, typer.Option(min=1, help="Items to answer.")] = 128,
    train_size: TrainSize = 80,
    model: Model = "tiny",
    dtypes: Annotated[str, typer.Option(help="Number formats, separated by commas.")] = ",".join(DTYPES),
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes to try, in both ways.")] = "1,8,32,64,128",
    repeats: Repeats = 3,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Tokens a second of our decoding and of transformers' `generate`, each at its own best batch size."""
    chosen, sizes = _names("dtype", dtypes, DTYPES), _sizes(batch_sizes)
    from sde_ray.bench.engine.decode import compare

    measured = compare(
        items=items,
        train_size=train_size,
        model=model,
        dtypes=chosen,
        batch_sizes=sizes,
        repeats=repeats,
        threads=threads,
        say=_say,
    )
    if as_json:
        return emit(measured)
    _show_rows("", measured["rows"])
    _show("\nItems with the same tokens in both ways", measured["equality"])
    _show(
        "\nTokens a second by batch size", [{"way": way, **rates} for way, rates in measured["by_batch_size"].items()]
    )
    return _show_settings(measured["settings"])


def fidelity(
    samples: Annotated[int, typer.Option(min=1, help="Training samples of a case.")] = 64,
    model: Model = "tiny",
    dtypes: Annotated[str, typer.Option(help="Number formats, separated by commas.")] = ",".join(DTYPES),
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Losses of our trainer against transformers' Trainer with peft, step by step."""
    chosen = _names("dtype", dtypes, DTYPES)
    from sde_ray.bench.engine.fidelity import compare

    measured = compare(samples=samples, model=model, dtypes=chosen, threads=threads, say=_say)
    if as_json:
        return emit(measured)
    _show("", measured["rows"])
    return _show_settings(measured["settings"])


def shapes(
    shape: Annotated[str, typer.Option(help="Shapes, separated by commas: test,0.5b,1.5b,7b.")] = "0.5b,1.5b,7b",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 4,
    length: Annotated[int, typer.Option(min=16, help="Tokens of a sample, and of a prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of one measure.")] = 20,
    ways: Annotated[str, typer.Option(help="Only these ways to train, separated by commas: eager,compiled.")] = "",
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Speed and memory at the shapes of usual models, random weights; for a GPU."""
    from sde_ray.bench.engine.shapes import SHAPES, STEPS, compare

    measured = compare(
        _names("shape", shape, tuple(SHAPES)),
        batch_size=batch_size,
        length=length,
        new_tokens=new_tokens,
        steps=steps,
        repeats=repeats,
        ways=_names("way", ways, tuple(STEPS)),
        say=_say,
    )
    if as_json:
        return emit(measured)
    _show_rows("", measured["rows"])
    return _show_settings(measured["settings"])


def packed(
    model: Annotated[str, typer.Option(help="A model's name or folder, or a shape: 0.5b, 1.5b, 7b.")] = "tiny",
    members: Annotated[str, typer.Option(help="Numbers of trials, separated by commas.")] = "1,2,4,8,16",
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes of a trial, separated by commas.")] = "1,4,8",
    steps: Annotated[int, typer.Option(min=1, help="Steps of one measure.")] = 4,
    ways: Annotated[
        str, typer.Option(help="These ways, the first being what others are compared with.")
    ] = "alone,loop,packed",
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="Dropout of the adapters.")] = 0.1,
    repeats: Repeats = 3,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Trials that share each pass through the base, against each alone and against a loop over adapters."""
    counts, sizes = _sizes(members, "--members"), _sizes(batch_sizes)
    from sde_ray.bench.engine.packed import WAYS, compare

    measured = compare(
        model,
        members=counts,
        batch_sizes=sizes,
        steps=steps,
        repeats=repeats,
        threads=threads,
        ways=_names("way", ways, tuple(WAYS)),
        dropout=dropout,
        say=_say,
    )
    if as_json:
        return emit(measured)
    _show_rows("", measured["rows"])
    _show("\nLargest differences from the first way", measured["equality"])
    return _show_settings(measured["settings"])


def roofline(
    shape: Annotated[str, typer.Option(help="Shapes, separated by commas: test,0.5b,1.5b,7b.")] = "0.5b,1.5b,7b",
    members: Annotated[str, typer.Option(help="Numbers of packed trials, separated by commas.")] = "1,4,16",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples of a trial's step.")] = 4,
    length: Annotated[int, typer.Option(min=16, help="Tokens of a sample.")] = 512,
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="Dropout of the adapters.")] = 0.1,
    peak_tflops: Annotated[float, typer.Option(min=0.001, help="The GPU's nominal bfloat16 matrix rate.")] = 989.0,
    share: Annotated[float, typer.Option(min=0.01, max=1, help="Share of it that products reach.")] = 0.45,
    bandwidth_tbs: Annotated[float, typer.Option(min=0.001, help="The GPU's nominal memory bandwidth, TB/s.")] = 3.35,
    launch_us: Annotated[float, typer.Option(min=0, help="Microseconds in which the host starts a kernel.")] = 5.0,
    as_json: Json = False,
) -> None:
    """What packing can gain on a GPU that is not at hand: kernels counted, their times assumed. No measurement."""
    counts = _sizes(members, "--members")
    from sde_ray.bench.engine.roofline import Gpu, estimate
    from sde_ray.bench.engine.shapes import SHAPES

    estimated = estimate(
        _names("shape", shape, tuple(SHAPES)),
        members=counts,
        batch_size=batch_size,
        length=length,
        dropout=dropout,
        gpu=Gpu(peak_tflops, share, bandwidth_tbs, launch_us),
    )
    if as_json:
        return emit(estimated)
    _show("", estimated["rows"])
    return _show_settings(estimated["settings"])


def _names(what: str, text: str, choices: Sequence[str]) -> tuple[str, ...]:
    """Names separated by commas; none: all. Raises UserError for one that does not exist."""
    names = tuple(name.strip() for name in text.split(",") if name.strip()) or tuple(choices)
    for name in names:
        if name not in choices:
            raise UserError(unknown(what, name, choices))
    return tuple(dict.fromkeys(names))


def _sizes(text: str, option: str = "--batch-sizes") -> list[int]:
    """Whole numbers separated by commas."""
    try:
        sizes = [int(size) for size in text.split(",") if size.strip()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(f'{option} "{text}" must be whole numbers from 1, separated by commas, such as 1,8,32.')
    return sizes


def _say(line: str) -> None:
    err().print(line, highlight=False, markup=False)


def _show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Measurements: median and range."""
    measures = table(title, "measure", "median", "range", "unit", right=("median", "range"))
    for row in rows:
        spread = f"{_number(row['low'])} - {_number(row['high'])}" if len(row["values"]) > 1 else ""
        measures.add_row(row["name"], _number(row["median"]), spread, row["unit"])
    out().print(measures)


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same keys, as a table."""
    names = [str(name).replace("_", " ") for name in rows[0]]
    lines = table(title, *names, right=tuple(names[1:]))
    for row in rows:
        lines.add_row(*(_number(value) for value in row.values()))
    out().print(lines)


def _show_settings(settings: Mapping[str, Any]) -> None:
    text = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in settings.items())
    out().print("\n" + text, highlight=False, markup=False, soft_wrap=True)


def _number(value: Any) -> str:
    """A value for a table: four digits where it is a fraction."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_number(one)}" for name, one in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def register(app: typer.Typer) -> None:
    for command in (sweeps, decode, packed, fidelity, shapes, roofline):
        app.command()(command)
