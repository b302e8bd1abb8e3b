"""Hooks that a notification goes to: a program's standard input, a webhook.

    hooks = open_hooks(config.notify)        UserError for what can never work, before anything runs
    for hook in hooks: hook(body, seconds)   HookError with the reason, in words and without secrets

Each has so many seconds and no more, whatever it does: a program is killed with all that it has started, a server that
sends drop by drop is left. A redirect is not followed: it would lead the notification to a host that nobody named.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Any
from urllib.parse import urlsplit

import sde_ray
from sde_ray.config.schema import Notify, check_webhook
from sde_ray.errors import UserError
from sde_ray.safe_text import VARIABLE, mask_webhook, printable, redact, remember_secrets

ATTEMPTS = 3  # of a webhook whose server is away or busy, within its seconds
SHORTEST_KEY = 16  # characters of a path that holds a key; shorter ones are words, which stand elsewhere, too
SHOWN = 300  # characters of what a program printed last

Hook = Callable[[bytes, float], None]


class HookError(Exception):
    """A hook that did not take the notification; the message says why, without secrets."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {printable(redact(reason))}")


def open_hooks(notify: Notify) -> list[Hook]:
    """The hooks of a sweep. Raises UserError: where a program is not here, or a variable is not set."""
    hooks = [_program(notify.command)] if notify.command else []
    return [*hooks, _webhook(notify.webhook)] if notify.webhook else hooks


# ---- a program -------------------------------------------------------------------------------------------------------


def _program(command: tuple[str, ...]) -> Hook:
    name = f"notify.command ({command[0]})"
    if shutil.which(command[0]) is None:
        raise UserError(
            f'notify.command: there is no program "{command[0]}" here, where the driver runs. Install it, write its '
            "whole path, or take the line out."
        )

    def run(body: bytes, seconds: float) -> None:
        # Files, not pipes: what the program has started may outlive it, and would hold a pipe open.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
            given.write(body)
            given.seek(0)
            try:
                process = subprocess.Popen(command, stdin=given, stdout=printed, stderr=printed, start_new_session=True)
            except OSError as error:
                raise HookError(name, f"cannot be run ({error.strerror})") from None
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise HookError(name, f"did not end within {seconds:g} s and was killed") from None
            finally:
                if process.returncode is None:
                    _kill_group(process)
            if code:
                raise HookError(name, f"ended with exit code {code}{_last_words(printed)}")

    return run


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _last_words(printed: IO[bytes]) -> str:
    printed.seek(max(0, printed.seek(0, os.SEEK_END) - 4096))
    lines = printed.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:SHOWN]}" if lines else ""


# ---- a webhook -------------------------------------------------------------------------------------------------------


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: Any) -> None:
        return None  # the answer is then the HTTP error that it is


class _Busy(Exception):
    """It may work a moment later."""


def _webhook(setting: str) -> Hook:
    url = _with_variables(setting)
    path = url.partition("://")[2].partition("/")[2]
    if len(path) >= SHORTEST_KEY:
        remember_secrets({"NOTIFY_WEBHOOK": path})  # its path is its key
    name = f"notify.webhook ({mask_webhook(url)})"

    def send(body: bytes, seconds: float) -> None:
        reasons: list[str] = []
        sender = threading.Thread(target=_send, args=(url, body, seconds, reasons), daemon=True)
        sender.start()
        sender.join(seconds)
        if sender.is_alive():
            raise HookError(name, f"did not answer within {seconds:g} s")
        if reasons:
            raise HookError(name, reasons[-1])

    return send


def _with_variables(setting: str) -> str:
    """The address, with the values of its variables. Raises UserError."""
    missing = sorted({variable for variable in VARIABLE.findall(setting) if not os.environ.get(variable)})
    if missing:
        names = ", ".join(missing)
        raise UserError(
            f"notify.webhook names the environment variable {names}, which the driver does not have. "
            f"export {missing[0]}=https://...; a submitted sweep gets it from the shell that submits it."
        )
    url = VARIABLE.sub(lambda match: os.environ[match[1]].strip(), setting)
    try:
        return check_webhook(url)
    except ValueError as error:
        raise UserError(f"notify.webhook: {error}") from None


def _send(url: str, body: bytes, seconds: float, reasons: list[str]) -> None:
    """POST the body, and note why each attempt failed; no reason: it was taken."""
    end = time.monotonic() + seconds
    for attempt in range(ATTEMPTS):
        try:
            _post(url, body, max(0.1, end - time.monotonic()))
            reasons.clear()
            return
        except _Busy as busy:
            reasons.append(str(busy))
        except HookError as refused:
            reasons.append(str(refused))
            return
        if time.monotonic() + 2.0**attempt > end:
            return
        time.sleep(2.0**attempt)


def _post(url: str, body: bytes, seconds: float) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"sde-ray/{sde_ray.__version__}"}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds):
            return
    except urllib.error.HTTPError as error:
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Busy(f"answers HTTP {error.code}") from None
        if 300 <= error.code < 400:
            host = urlsplit(error.headers.get("Location", "")).hostname or "another path"
            raise HookError("refused", f"redirects to {host}, which is not followed; give the final address") from None
        raise HookError("refused", f"HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Busy(f"{getattr(error, 'reason', None) or error or type(error).__name__}") from None
