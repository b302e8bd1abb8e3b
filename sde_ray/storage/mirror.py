"""Mirror of a remote folder: a run in a remote storage, with a copy of it on each machine that works on it.

    folder = open_folder("s3://bucket/runs/hotels")      or open_folder("runs/hotels"), whose methods then do nothing
    folder.download()                                    what is small: ledger, strategy, completions, scores
    folder.upload(folder.folder / "report.html")         True; False while the storage is away: a later upload sends it
    folder.download("trials/5f0c")                       all of one trial, its adapter too

The remote storage is the truth; a mirror is what this machine has seen of it, and what it could not upload yet. Each
such file or folder is marked dirty in `.unsent`: dirty things are never overwritten by a download, and are uploaded at
the next chance, also in another process or a later run on this machine. Of a ledger that could not be uploaded those
lines are kept that the remote one lacks (`remote_ledger`), so that no result is lost on either side.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sde_ray.errors import UserError
from sde_ray.storage.dirty_marks import UNSENT, DirtyMarks
from sde_ray.storage.file_lock import LOCK
from sde_ray.storage.files import NEW
from sde_ray.storage.layout import ADAPTER, CHECKPOINT, LEDGER, PARTIAL, RESULT, TRIALS, TUNE
from sde_ray.storage.lease import token_of
from sde_ray.storage.ledger import Ledger, load_result, to_json
from sde_ray.storage.remote import REMEDY, RemoteFolder, reason, set_time
from sde_ray.storage.remote_ledger import COPY, RemoteLedger
from sde_ray.storage.uri import checked, is_uri, local_path
from sde_ray.types import TrialResult

LATE = (
    CHECKPOINT,
    PARTIAL,
    RESULT,
)  # of a trial's files those that speak of the others: they are uploaded last, in turn
OWN = (UNSENT, TUNE, COPY, ".nodes", "lease.json", f"{LEDGER}.torn")
SMALL = (".json", ".jsonl", ".txt")  # of a trial's files; its adapter and the like are downloaded when they are needed


class LocalFolder:
    """A folder that every process sees: nothing to upload or download. Base class of `MirroredFolder`."""

    remote: RemoteFolder | None = None
    strategy = "PACK"  # how Ray spreads the processes of a trial over nodes, which all see the folder

    def __init__(self, location: str) -> None:
        self.location, self.folder = location, local_path(location).absolute()

    def trial(self, key: str) -> str:
        """The path or address of a trial's folder for another process, which opens it by `open_trial_folder`."""
        return str(self.folder / TRIALS / key)

    @contextmanager
    def open_ledger(self, check: Callable[[], None]) -> Iterator[Ledger]:
        """The ledger, for the driver that holds the lease.

        Args:
            check: Called at each result; raises UserError when the lease was lost.
        """
        yield Ledger(self.folder / LEDGER, fence=check)

    def download(self, within: str = "") -> None:
        """Download what is small, or all that is `within` a file or folder.

        Raises UserError: when the remote storage is away.
        """

    def mark_dirty(self, path: Path) -> None:
        """A file is being written that is costly to make: no download may replace it before it is uploaded."""

    def upload(self, *paths: Path) -> bool:
        """Upload files or folders of this folder, and what is still dirty; False when some could not be uploaded."""
        return True

    def start_trial(self, folder: Path) -> None:
        """A trial starts on this machine: download what an earlier attempt has left."""

    def upload_trial(self, folder: Path, result: TrialResult | None, last: bool) -> str:
        """Upload a trial's folder. Returns what to report to the driver besides, as JSON; "" for nothing.

        Args:
            folder: The trial's folder on this machine.
            result: The result so far; None where the trial was stopped from outside.
            last: The trial has ended.
        """
        return ""

    def download_trial(self, folder: Path) -> None:
        """Download the small files of a trial that may have run on another machine, if that can be done now."""

    def delete(self, folder: Path, *patterns: str) -> None:
        """Delete files of a trial, here and in the remote storage if that can be done now."""
        for pattern in patterns:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)

    def say_unsent(self, why: str) -> None:
        """Warn, once, that files could not be uploaded."""

    @property
    def unsent(self) -> int:
        """How many files and folders of trials this machine has and the remote storage lacks, those at work aside."""
        return 0


class MirroredFolder(LocalFolder):
    """A folder in a remote storage, with its mirror on this machine."""

    remote: RemoteFolder
    strategy = "STRICT_PACK"  # a trial's processes write into one mirror

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.remote = RemoteFolder(location)
        self._ledger = RemoteLedger(self.remote, self.folder)
        self.marks = DirtyMarks(self.folder)
        self._missing: set[str] = set()
        self._told = False

    def trial(self, key: str) -> str:
        return f"{self.location}/{TRIALS}/{key}"

    # ---- download ----------------------------------------------------------------------------------------------------

    def download(self, within: str = "") -> None:
        self.remote.try_again()  # nothing goes on without it
        try:
            self._download(within, whole=bool(within))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f'"{self.location}" cannot be read ({reason(error)}). {REMEDY}') from error

    def _download(self, within: str, whole: bool) -> None:
        listed = self.remote.list(within)
        unsent = self.marks.all()
        kept = {*unsent, *OWN, LEDGER}
        mine = {name for name in self._local(within) if not _is_below(name, kept)}
        there = {name: seen for name, seen in listed.items() if not _is_below(name, kept)}
        for gone in mine - set(there):
            (self.folder / gone).unlink(missing_ok=True)
        wanted = {name: seen for name, seen in there.items() if whole or _is_small(name)}
        self.remote.get(self.folder, {n: seen for n, seen in wanted.items() if not seen.matches_local(self.folder / n)})
        if not within:
            self._ledger.download(listed, unsent=LEDGER in unsent)

    def _local(self, within: str) -> list[str]:
        """The mirror's files by their path in it, but for what is this machine's own."""
        start = self.folder / within
        found = [start] if start.is_file() else [Path(at, name) for at, _, names in os.walk(start) for name in names]
        names = [path.relative_to(self.folder).as_posix() for path in found]
        return [name for name in names if not _is_below(name, OWN) and not name.endswith((NEW, LOCK))]

    def download_trial(self, folder: Path) -> None:
        name = self._name(folder)
        try:
            self._download(name, whole=False)
            self._missing.discard(name)
        except Exception as error:
            self._missing.add(name)
            self._say(error)

    def start_trial(self, folder: Path) -> None:
        name = self._name(folder)
        try:
            self._download(name, whole=True)
        except UserError:
            raise
        except Exception:
            pass  # a trial can do without what an earlier attempt has left
        self.marks.set(name, at_work=True)

    def delete(self, folder: Path, *patterns: str) -> None:
        super().delete(folder, *patterns)
        try:
            listed = self.remote.list(self._name(folder))
            self.remote.remove(name for name in listed if any(Path(name).match(pattern) for pattern in patterns))
        except Exception as error:
            self._say(error)

    # ---- upload ------------------------------------------------------------------------------------------------------

    def mark_dirty(self, path: Path) -> None:
        self.marks.set(self._name(path), at_work=True)

    def upload(self, *paths: Path) -> bool:
        names = [self._name(path) for path in paths if path.exists()]
        for name in names:
            self.marks.set(name)
        try:
            for name in names:
                self._upload(name)
                self.marks.remove(name)
            self._upload_unsent()
        except UserError:
            raise
        except Exception as error:
            self._say(error)
            return False
        return True

    def _upload(self, name: str) -> None:
        """Make a file or folder of the store what the mirror has: what says that a trial has ended comes last."""
        listed = self.remote.list(name)
        local = self._local(name)
        changed = [one for one in local if one not in listed or not listed[one].matches_local(self.folder / one)]
        ends = [one for last in LATE for one in changed if one.endswith(f"/{last}")]
        self.remote.put(self.folder, [one for one in changed if one not in ends])
        self.remote.put(self.folder, ends)
        self.remote.remove(one for one in listed if one not in local and (self.folder / name).is_dir())
        if changed:
            after = self.remote.list(name)
            for one in changed:
                if one in after and after[one].size == (self.folder / one).stat().st_size:
                    set_time(self.folder / one, after[one])

    def _upload_unsent(self) -> None:
        """Send what nobody is at work on. A trial that has meanwhile ended elsewhere is no longer wanted."""
        for name, at_work in self.marks.all().items():
            if at_work or name == LEDGER:
                continue
            if not (self.folder / name).exists() or (name.startswith(f"{TRIALS}/") and self._is_superseded(name)):
                self.marks.remove(name)
                continue
            self._upload(name)
            self.marks.remove(name)

    def _is_superseded(self, name: str) -> bool:
        own = load_result(self.folder / name / RESULT)
        there = self.remote.read(f"{name}/{RESULT}")
        if there is None:
            return False
        return own is None or own.status == "failed" or json.loads(there).get("status") == "finished"

    def upload_trial(self, folder: Path, result: TrialResult | None, last: bool) -> str:
        name, why = self._name(folder), ""
        try:
            self.marks.set(name, at_work=True)
            self._upload(name)
            if last:
                self.marks.remove(name)
                self._upload_unsent()
        except Exception as error:
            why = reason(error)
            self.marks.set(name, at_work=not last)
        return json.dumps({"result": result and to_json(result), "last": last, "unsent": why})

    @contextmanager
    def open_ledger(self, check: Callable[[], None]) -> Iterator[Ledger]:
        self.download()  # another driver may have ended since the plan was made
        self.marks.set(LEDGER, at_work=True)
        token = token_of(self.folder)

        def refuse_other_driver() -> None:
            if token_of(self.folder) != token:  # one that shares this mirror; `check` says so
                check()

        try:
            yield Ledger(self.folder / LEDGER, lambda: self._upload_ledger(check), refuse_other_driver, verify=check)
        finally:
            self._finish(check)

    def _upload_ledger(self, check: Callable[[], None], last: bool = False) -> bool:
        check()
        try:
            self._ledger.upload()
            if last:
                self._ledger.upload_index()
        except UserError:
            raise
        except Exception as error:
            self._say(error)
            return False
        return True

    def _finish(self, check: Callable[[], None]) -> None:
        """A driver ends: send what is unsent, bring what is missing, and say what could not be."""
        self.remote.try_again()  # the last chance
        try:
            sent = self._upload_ledger(check, last=True)
        except UserError:  # the sweep is another driver's, as was said; what is unsent is kept for the next run here
            self.marks.set(LEDGER)
            return
        if sent:
            self.marks.remove(LEDGER)
        else:
            self.marks.set(LEDGER)
        sent = self.upload() and sent
        for name in sorted(self._missing):
            self.download_trial(self.folder / name)
        if not sent:
            warnings.warn(
                f'"{self.location}" does not have everything of this sweep. It is in "{self.folder}" on this machine: '
                "run the same command here again when the store answers.",
                stacklevel=2,
            )
        elif self._missing:
            warnings.warn(
                f"The completions of {len(self._missing)} trials could not be fetched, so intervals are wider. Run the "
                "same command again when the store answers.",
                stacklevel=2,
            )

    def say_unsent(self, why: str) -> None:
        if why and not self._told:
            self._told = True
            warnings.warn(
                f'"{self.location}" does not take or give files now ({why}). The sweep goes on: results are kept in '
                "the mirror of each machine and go up when the store answers again.",
                stacklevel=3,
            )

    def _say(self, fault: Exception) -> None:
        self.say_unsent(reason(fault))

    @property
    def unsent(self) -> int:
        return sum(not at_work for at_work in self.marks.all().values())

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _is_below(name: str, folders: Iterable[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _is_small(name: str) -> bool:
    """Of a trial its own texts, of the rest all but adapters."""
    parts = name.split("/")
    if parts[0] == TRIALS:
        return len(parts) == 3 and name.endswith(SMALL)
    return len(parts) == 1


def open_folder(location: str) -> LocalFolder:
    """The folder of a run: a plain one, or the mirror of a URI."""
    if not is_uri(location):
        return LocalFolder(location)
    if location not in _remotes:
        _remotes[location] = MirroredFolder(location)
    return _remotes[location]


_remotes: dict[str, MirroredFolder] = {}  # one of each for a process, as it knows what it has seen and said


def with_adapter(location: str) -> Path:
    """The folder on this machine of a sweep, a trial or an adapter in a store, its adapter brought."""
    try:
        location = checked(location)
    except ValueError as error:
        raise UserError(str(error)) from None
    sweep, _, trial = location.partition(f"/{TRIALS}/")
    if trial:
        open_folder(sweep).download(f"{TRIALS}/{trial.partition('/')[0]}")
        return local_path(location)
    folder, _, name = location.rpartition("/")
    if name.endswith((".yaml", ".yml")):
        return with_adapter(folder)
    open_folder(location).download(ADAPTER)
    if not (local_path(location) / ADAPTER).is_dir() and name.startswith(ADAPTER):
        open_folder(folder).download(name)  # the adapter itself
    return local_path(location)


def open_trial_folder(location: str) -> tuple[LocalFolder, Path]:
    """The folder of a trial's run, and the trial's own folder on this machine."""
    sweep = location.rpartition(f"/{TRIALS}/")[0]
    return open_folder(sweep), local_path(location)
