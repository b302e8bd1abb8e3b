"""Where a sweep's folder is: a path, or the address of a store such as `s3://bucket/runs`.

    is_uri("s3://bucket/runs")                   True: the truth is there, and each machine has a mirror of it
    local_path("s3://bucket/runs/hotels")        ~/.cache/sde_ray/mirror/s3/bucket/runs/hotels
    local_path("runs/hotels")                    runs/hotels: a path is where it is

The mirror of an address is the same for every command and process of a machine, and is made anew where it is gone.
`SDE_MIRROR` names another folder for all mirrors. Nothing here opens a connection.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

MIRROR = "SDE_MIRROR"
MEMORY = "memory"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")


def is_uri(location: object) -> bool:
    """Whether a location is a URI, not a path."""
    return bool(_URI.match(str(location)))


def scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()


def checked(location: str) -> str:
    """The location, a URI without a slash at its end. Raises ValueError where no sweep could be stored there."""
    if not is_uri(location):
        return location
    shown, inner = re.sub(r"://.*@", "://***@", location), location.partition("://")[2].rstrip("/")
    if re.search(r"://[^@]*:[^@]*@", location):  # not by urlsplit: a secret may hold a slash
        name = scheme(location).upper()
        raise ValueError(
            f'"{shown}" has a password in it, and an address is written wherever a sweep is named. Leave it out, and '
            f"set it where the store's own library looks (AWS_SECRET_ACCESS_KEY), or as FSSPEC_{name}_PASSWORD."
        )
    odd = "::" in location or not inner or re.search(r"[\\?#\s\0]", inner) or {"..", "."} & set(inner.split("/"))
    if odd or (scheme(location) in ("file", "local") and not inner.startswith("/")):
        raise ValueError(
            f'"{shown}" is no folder of a store. Write scheme://place/folder without "..", "?" or "::", such as '
            "s3://bucket/runs, gs://bucket/runs or file:///shared/runs."
        )
    from fsspec.registry import known_implementations, registry

    if scheme(location) not in {*known_implementations, *registry}:
        raise ValueError(
            f'"{shown}": no store is called "{scheme(location)}". Known are s3, gs, abfs, file and what else fsspec '
            "opens. Or mount it on every node, and give the folder's path."
        )
    return f"{location.partition('://')[0]}://{inner}"


def local_path(location: str) -> Path:
    """The path itself; of an address, its mirror on this machine."""
    if not is_uri(location):
        return Path(location)
    inner = location.partition("://")[2]
    # Quoted part by part, so that none can leave the folder; "." and ".." are not quoted, so they are refused before.
    parts = [quote(part, safe="@:+=,~ ") for part in inner.split("/") if part not in ("", ".", "..")]
    return mirrors() / scheme(location) / Path(*parts)


def mirrors() -> Path:
    """The folder of all mirrors: as set, else in the user's cache; a temporary one where there is no home."""
    if os.environ.get(MIRROR):
        return Path(os.environ[MIRROR]).absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    home = cache.parent
    if cache.is_absolute() and home.is_dir() and os.access(cache if cache.is_dir() else home, os.W_OK):
        return cache / "sde_ray" / "mirror"
    return Path(tempfile.gettempdir()) / f"sde_ray-{os.getuid()}" / "mirror"


def join(location: str | Path, *names: str) -> str:
    """The location of something below a location."""
    return "/".join([str(location), *names]) if is_uri(location) else str(Path(location, *names))


def split(location: str) -> tuple[str, str]:
    """The parent folder of a location, and its name there."""
    folder, _, name = checked(location).rpartition("/")
    return folder, name
