"""The typer app: a table of every command, and the one place where errors become messages and exit codes.

0 done · 1 a defect of sde_ray (traceback) · 2 something given cannot be used (message) · 130 Ctrl-C
"""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
import traceback
import warnings
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from sde_ray import __version__
from sde_ray.cli import (
    analyze,
    assemble,
    axes,
    check_endpoint,
    compare,
    demo,
    doctor,
    effects,
    export,
    init,
    logs,
    memory,
    merge,
    plan,
    predict,
    push,
    rationales,
    report,
    robustness,
    run,
    score,
    serve,
    show,
    status,
    stop,
    submit,
    sync,
    tasks,
    ui,
    validate,
)
from sde_ray.cli.bench import app as bench
from sde_ray.cli.console import err, write_plainly
from sde_ray.cli.process_end import end_process
from sde_ray.errors import UserError

# In the order of work, as `sde-ray --help` lists them.
COMMANDS = (
    *(demo, init, run, plan, show, axes, tasks, rationales, memory),
    *(analyze, score, effects, compare, assemble, validate, report, robustness),
    *(predict, serve, ui),
    *(export, merge, check_endpoint, push),
    *(submit, status, logs, stop, sync),
    *(doctor, bench),
)
REFUSALS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The quota of the disk is used up",
    errno.EROFS: "The disk can only be read",
}


PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("stdlib", "purelib", "platlib")  # as `sysconfig` calls their folders
_warned: set[str] = set()


class Commands(TyperGroup):
    """The boundary around all commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)  # in the order of work, not of the alphabet

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            err().print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise SystemExit(2) from None
        except KeyboardInterrupt as stopped:
            words = str(stopped) or "Stopped. What is finished is saved; the same command goes on from there."
            err().print(words, highlight=False, markup=False, soft_wrap=True)
            raise SystemExit(130) from None
        except BrokenPipeError:
            # `sde-ray axes | head`: the reader has enough. Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            where = escape(str(error.filename or "no file named"))
            err().print(
                f"[bold red]error:[/] {REFUSALS[error.errno]} ({where}). Nothing finished is lost. "
                "Free some space, or set `storage_path` to another disk, and run the same command again.",
                highlight=False,
                soft_wrap=True,
            )
            raise SystemExit(2) from None


app = typer.Typer(
    cls=Commands,
    help="Find out how to write fine-tuning samples, with evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(version: bool) -> None:
    if version:
        print(f"sde-ray {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Find out how to write fine-tuning samples, with evidence."""


for command in COMMANDS:
    command.register(app)


def main() -> None:
    """The entry point of the command `sde-ray`."""
    warnings.showwarning = _show_warning
    code: int | str | None = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    except Exception:
        write_plainly(traceback.format_exc())
        code = 1
    end_process(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a warning of the package or of the user's code, once and in one line.

    One of a library is shown where Python was asked for warnings only.

    What a library tells its programmers is no news to the user of a sweep; `python -W default -m sde_ray` shows it.
    """
    if sys.warnoptions:
        write_plainly(warnings.formatwarning(message, category, filename, lineno, line))
    elif not _is_library(_warner()) and (text := " ".join(str(message).split())) not in _warned:
        _warned.add(text)
        write_plainly(f"warning: {text}\n")


def _is_library(file: str) -> bool:
    """Whether a file is one of an installed library or of Python itself, and not of this package."""
    folders = Path(file).parents
    return PACKAGE not in folders and any(Path(sysconfig.get_path(name)) in folders for name in LIBRARIES)


def _warner() -> str:
    """The file that has called `warnings.warn`; the one that a warning names may be its caller's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, warnings.__file__):
        frame = frame.f_back
    return frame.f_code.co_filename
