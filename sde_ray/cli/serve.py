"""`sde-ray serve`: a trained adapter behind an address."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sde_ray.cli.console import err
from sde_ray.cli.options import TrustCode


def serve(
    place: Annotated[
        str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.", metavar="PLACE")
    ],
    host: Annotated[str, typer.Option(help="Address to listen at; the default is seen by this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Texts decoded together, at most.")] = 32,
    max_waiting: Annotated[int, typer.Option(min=1, help="Texts in the queue; more are refused (503).")] = 1024,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for an answer, its time in the queue included.")] = 300,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of a request.")] = 4,
    name: Annotated[str, typer.Option(help="What clients call the model; default: the task's name.")] = "",
    api_key_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Environment variable with a key that clients must send.")
    ] = "",
    trust_remote_code: Annotated[bool, typer.Option(help="Let the base model run code of its own.")] = False,
    trust_code: TrustCode = None,
) -> None:
    """Serve a trained adapter: POST a text to /predict and get the parsed answer, its faults and the completion.

    The prompt is written by the server, in the adapter's own design. OpenAI's clients find it under /v1, with the last
    user message as the text. Requests that wait are answered together. SIGTERM ends it when all are answered.
    """
    from sde_ray.models.predictor import Predictor
    from sde_ray.serving.app import make_app
    from sde_ray.serving.batcher import Batcher
    from sde_ray.serving.guard import LOOPBACK, Limits
    from sde_ray.serving.server import address_of, bind
    from sde_ray.serving.server import serve as serve_app

    api_key = _key(api_key_env)
    bound = bind(host, port)
    local = host in LOOPBACK or host.startswith("127.")
    if not local:
        err().print(_warning(host, api_key), style="yellow", highlight=False, markup=False, soft_wrap=True)
    limits = Limits(int(max_body_mb * 2**20), answer_s=timeout, api_key=api_key,
                    hosts=(*LOOPBACK, host) if local else ())  # fmt: skip
    predictor = Predictor.load(place, trust_remote_code)
    with Batcher(predictor, max_batch, max_waiting) as batcher:
        app = make_app(batcher, name or predictor.model_name, limits)
        words = f"{name or predictor.model_name} on {predictor.card.model} answers at {address_of(bound)}"
        err().print(f"{words} (/predict, /v1, /health, /metrics)", highlight=False, markup=False, soft_wrap=True)
        serve_app(app, bound, limits)
    err().print("Every request was answered.", highlight=False)


def _key(variable: str) -> str:
    """The key in an environment variable. Raises UserError where there is none."""
    from sde_ray.errors import UserError
    from sde_ray.safe_text import remember_secrets

    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(f"--api-key-env {variable}: that environment variable is not set. export {variable}=...")
    remember_secrets({"SERVE_API_KEY": key})
    return key


def _warning(host: str, api_key: str) -> str:
    who = "with the key" if api_key else "without a key (--api-key-env)"
    return f"warning: {host} may be reached from other machines: whoever can, may ask, {who}; nothing is encrypted."


def register(app: typer.Typer) -> None:
    app.command()(serve)
