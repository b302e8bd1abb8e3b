"""Safe text: what leaves the process tells no secret, and has no character that a terminal or a browser would obey.

    mask("ftp://user:secret@host")           ftp://user:***@host
    redact("it failed: HF_TOKEN=hf_abcdef")  it failed: HF_TOKEN=***
    printable("\\x1b]0;owned\\x07")            �]0;owned�

A secret is recognised in two ways: by the name that stands before it, and by its value. The values are those of this
process' environment variables whose names tell a secret, those of the variables that `SDE_SECRETS` names (a list with
commas, which every process of a sweep has from `sde-ray submit` and `resources.env_vars`), and what `remember_secrets`
took.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

MASK = "***"
SECRETS = "SDE_SECRETS"
SHORTEST = 6  # characters of a value that is masked wherever it stands: "1" or "true" stands everywhere
SECRET = re.compile(
    r"(password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|account_?key|private_?key|signing_?key"
    r"|connection_?string|webhook|credential|authorization|cookie|_(?:key|pass|pat|dsn)\b)",
    re.IGNORECASE,
)
"""Names of secrets, also as a part of a longer name."""

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""An environment variable in a setting: `${SDE_WEBHOOK}`."""

# Settings of libraries that hold no secret: the only variables of a sweep whose values are written down.
PUBLIC_VARIABLE = re.compile(
    r"(NCCL|GLOO|UCX|FI|OMP|MKL|OPENBLAS|KMP|CUDA|CUDNN|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|DS|RAY|TUNE|TRANSFORMERS"
    r"|TOKENIZERS|SDE|PYTHON|LC|NVIDIA|HIP|ROCR)_\w+"
    r"|HF_(HOME|HUB_CACHE|HUB_OFFLINE|DATASETS_CACHE|DATASETS_OFFLINE|HUB_ENABLE_HF_TRANSFER|HUB_DOWNLOAD_TIMEOUT"
    r"|ENDPOINT|XET_CACHE)"
    r"|PYTHON\w+|PATH|LD_LIBRARY_PATH|LANG|TZ|HOME|TMPDIR|XDG_CACHE_HOME|MLFLOW_TRACKING_URI|MLFLOW_S3_ENDPOINT_URL"
    r"|AWS_(REGION|DEFAULT_REGION|PROFILE|ENDPOINT_URL|ENDPOINT_URL_S3)|AZURE_STORAGE_ACCOUNT_NAME"
    r"|FSSPEC_\w+_(ENDPOINT_URL|REGION|ANON|PROJECT|PROTOCOL)|(HTTP|HTTPS|NO|ALL)_PROXY|CC|CXX|MAX_JOBS"
)
# Names that hold a word of `SECRET`, and no secret.
_HARMLESS = re.compile(r"(OLD)?PWD|TOKENIZERS_\w+|\w+_(PATH|FILE|DIR|SOCK|SOCKET)|SSH_ASKPASS", re.IGNORECASE)
# In an address: the password up to the last @ (it may hold / and @), a token in the user's place, a secret argument.
MASKS = (
    (re.compile(r"(://[^/@:\s]{0,100}:)[^\s\"'<>]{0,500}@"), r"\1***@"),
    (re.compile(r"(://)[^/@:\s]{20,500}@"), r"\1***@"),
    (re.compile(rf"([?&]\w{{0,40}}{SECRET.pattern}\w{{0,40}}=)[^&\s\"'<>]{{1,500}}", re.IGNORECASE), r"\1***"),
)
_BEARER = re.compile(r"(?i)\b((?:bearer|authorization['\"]?\s{0,9}[:=]\s{0,9}['\"]?basic)\s{1,9})[\w.~+/=-]{6,}")
# Bounded: a hostile line would cost the square of its length.
_NAMED = re.compile(
    rf"(?i)\b(\w{{0,60}}(?:{SECRET.pattern.strip('()')})\w{{0,60}}['\"]?\s{{0,9}}[=:]\s{{0,9}}['\"]?)[^\s'\",;]{{6,}}"
)
_LOCATION = re.compile(r"[~.]{0,2}/[^=;]*|[a-z0-9+]+://[^@?]*")  # a path or an address says where, and is no secret
_PASSWORD = re.compile(r"://[^/@:\s]{0,100}:([^\s\"'<>]{1,500})@")

UNSHOWN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
"""Control characters, lone surrogates, and marks that turn the reading direction."""
REPLACEMENT = "\ufffd"

_remembered: set[str] = set()


def mask(address: str | None) -> str | None:
    """`http://user:secret@host` as `http://user:***@host`, and `?token=secret` as `?token=***`; also within a text."""
    for pattern, shown in MASKS:
        address = pattern.sub(shown, address) if address else address
    return address


def mask_webhook(address: str) -> str:
    """`https://hooks.example.com/services/T0/key` as `https://hooks.example.com/***`: a webhook's path is its secret.

    `${NAME}`, which stands for an environment variable, is shown.
    """
    if not address or VARIABLE.fullmatch(address):
        return address
    scheme, separator, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host}/{MASK}" if separator and not VARIABLE.search(scheme + host) else MASK


def is_masked(value: str) -> bool:
    """Whether a text holds what `mask` and `redact` write in place of a secret."""
    return value == MASK or bool(re.search(r":\*\*\*@|=\*\*\*(&|$)", value))


def is_secret(variable: str) -> bool:
    """Whether an environment variable's value may not be written down: all but those known to hold none."""
    return not PUBLIC_VARIABLE.fullmatch(variable.upper()) or _tells_secret(variable)


def secret_names(variables: Mapping[str, str]) -> str:
    """What `SDE_SECRETS` says in a process that is given these variables."""
    named = [name for name in variables if name != SECRETS and is_secret(name)]
    return ",".join(dict.fromkeys([*_listed(os.environ), *_listed(variables), *named]))


def remember_secrets(variables: Mapping[str, str]) -> None:
    """Mask the values of these environment variables from here on, wherever a text of this process is written."""
    _remembered.update(value for name, value in variables.items() if is_secret(name) and value != MASK)


def mask_values(text: str) -> str:
    """Mask the values of secrets that this process has, and passwords in addresses."""
    text = str(mask(text))
    for value in sorted(_values(), key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def redact(text: str) -> str:
    """Mask the secrets in a text: known values, passwords in addresses, `TOKEN=...`, `"token": "..."`, `Bearer ...`."""
    text = _BEARER.sub(r"\1***", mask_values(text))
    return _NAMED.sub(r"\1***", text)


def printable(text: str) -> str:
    """A text as a terminal may show it: what would move its cursor, name its window or turn the text becomes �."""
    return UNSHOWN.sub(REPLACEMENT, text.replace("\r\n", "\n")).replace("\r", REPLACEMENT)


@lru_cache(maxsize=4096)
def _tells_secret(variable: str) -> bool:
    return bool(SECRET.search(variable)) and not _HARMLESS.fullmatch(variable)


def _listed(variables: Mapping[str, str]) -> list[str]:
    return [name for name in variables.get(SECRETS, "").split(",") if name]


def _values() -> set[str]:
    """Every value to be masked, also as it stands in an address and in JSON."""
    listed = set(_listed(os.environ))
    values = [value for name, value in os.environ.items() if name in listed or _tells_secret(name)]
    return {form for value in (*values, *_remembered) for form in _forms(value) if len(form) >= SHORTEST}


@lru_cache(maxsize=256)
def _forms(value: str) -> tuple[str, ...]:
    lines: Iterable[str] = (value, *(line.strip() for line in value.splitlines()))
    texts = [*(line for line in lines if not _LOCATION.fullmatch(line)), *_PASSWORD.findall(value)]
    return tuple(
        form for text in texts for form in (text, quote(text, safe=""), text.encode("unicode_escape").decode())
    )
