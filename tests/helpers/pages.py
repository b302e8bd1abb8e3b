"""What a Markdown page promises, and whether it holds: commands, YAML, JSON, Python, links, names of files and keys.

Each `check_...` takes a piece of a page and returns what is wrong with it, or "": so a test can hand it a broken one.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from sde_ray.cli.app import app
from sde_ray.config.load import load_config
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "cluster/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def blocks(self, *languages: str) -> list[str]:
        """The fenced blocks of these languages."""
        return [body for language, body in _FENCE.findall(self.text) if language in languages]

    def prose(self) -> str:
        """The page without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def codes(self) -> list[str]:
        """The inline code."""
        return [" ".join(code.split()) for code in _CODE.findall(self.prose())]

    def commands(self) -> list[tuple[str, bool]]:
        """Every `sde-ray` command, and whether it is a whole line (inline, arguments may be left out)."""
        lines = [line for block in self.blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
        whole = [line.partition("sde-ray")[2] for line in lines if re.match(r"(\S+/)?sde-ray\b", line.strip())]
        inline = [code for code in self.codes() if code.startswith("sde-ray ")]
        return [*((f"sde-ray{rest}", True) for rest in whole), *((code, False) for code in inline)]


def pages() -> list[Page]:
    return [Page(path, path.read_text(encoding="utf-8")) for path in PAGES]


# ---- commands --------------------------------------------------------------------------------------------------------


def words_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


@cache
def _commands() -> Any:
    """The real command line with commands that do nothing: what is left is to parse."""
    tree = get_command(app)
    waiting = [tree]
    while waiting:
        command = waiting.pop()
        command.callback = None
        waiting += getattr(command, "commands", {}).values()
    return tree


def check_command(command: str, whole: bool = True) -> str:
    """Options exist and arguments fit; an inline mention may lack arguments."""
    words = [word for word in words_of(command) if word != "..."]
    if not whole and "|" in words:  # `sde-ray bench search planted | recorded`
        words = words[: words.index("|")]
    try:
        _commands().main(words, prog_name="sde-ray", standalone_mode=False)
    except Exception as error:  # the classes of its parser have no public name
        if not hasattr(error, "format_message"):
            raise
        lacks = type(error).__name__ in {"MissingParameter", "NoArgsIsHelpError"}
        return "" if lacks and not whole else str(error.format_message()) or type(error).__name__
    return ""


def check_shell(line: str) -> str:
    """What `make` is asked for is a target, and files of tests exist."""
    words = shlex.split(line, comments=True)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    if words[:1] == ["make"] and not set(words[1:]) <= targets:
        return f"{line}: no such target"
    missing = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    return f"{line}: there is no {missing[0]}" if missing else ""


# ---- YAML ------------------------------------------------------------------------------------------------------------


def check_yaml(block: str, folder: Path) -> str:
    """A sweep or sections of one, valid as a part of a minimal sweep whose files are in the folder."""
    values = yaml.safe_load(block)
    if not isinstance(values, dict):
        return "not a mapping"
    path = folder / "block.yaml"
    path.write_text(
        yaml.safe_dump({"name": "block", "task": "masa:d1", **values}, allow_unicode=True), encoding="utf-8"
    )
    try:
        load_config(path)
    except UserError as error:
        return str(error)
    return ""


def check_key(code: str) -> str:
    """A dotted key of the YAML, `search.n_trials` or `search.asha.rungs`, with or without a value."""
    dotted = re.split(r"[:=]", code, maxsplit=1)[0].strip()
    kind: Any = SweepConfig
    for part in dotted.split("."):
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            return ""  # below a mapping that is passed through, such as DeepSpeed's section
        if part not in fields:
            return f"{dotted}: {getattr(kind, '__name__', kind)} has no {part!r}"
        kind = _section(fields[part].annotation)
    return ""


def _section(annotation: Any) -> Any:
    """The section class in an annotation such as `Asha | None`."""
    options = (annotation, *getattr(annotation, "__args__", ()))
    return next((one for one in options if hasattr(one, "model_fields")), None)


def keys_of(page: Page) -> Iterator[str]:
    """Inline code that names a key of a section: `search.racing`, `--set train.learning_rate=1e-3`, `seeds: [0]`."""
    sections = {name for name, field in SweepConfig.model_fields.items() if _section(field.annotation)}
    for code in page.codes():
        code = code.removeprefix("--set ")
        named = re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+([:=].*)?", code) and code.split(".")[0] in sections
        if named and not (ROOT / code).exists():  # `constraints.txt` is a file
            yield code
    for command, _ in page.commands():
        yield from re.findall(r"--set ['\"]?([a-z_.]+)=", command)


# ---- Python, JSON ----------------------------------------------------------------------------------------------------


def check_python(block: str) -> str:
    """It parses, and what it imports of this package exists."""
    try:
        tree = ast.parse(block)
    except SyntaxError as error:
        return str(error)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sde_ray"):
            try:
                module = importlib.import_module(node.module or "")
            except ImportError as error:
                return str(error)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            if missing:
                return f"{node.module} has no {missing[0]}"
    return ""


def check_json(block: str) -> str:
    try:
        for line in filter(None, block.splitlines()):
            json.loads(line)
    except ValueError as error:
        return str(error)
    return ""


# ---- links and names -------------------------------------------------------------------------------------------------


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return frozenset(heading.strip().replace(" ", "-") for heading in plain)


def check_link(target: str, page: Page) -> str:
    """A relative link leads to a file, and its anchor to a heading."""
    if re.match(r"[a-z]+:", target):
        return ""
    file, _, anchor = target.partition("#")
    path = (page.path.parent / file).resolve() if file else page.path
    if not path.exists():
        return f"{target}: there is no {file}"
    if anchor and (path.is_dir() or anchor not in anchors(path)):
        return f"{target}: no heading gives #{anchor}"
    return ""


def links(page: Page) -> list[str]:
    return _LINK.findall(_CODE.sub("", page.prose()))


_PATH = re.compile(r"(?:sde_ray|tests|sweeps|cluster|docs|bench|analysis|config|sweep|laws)/[\w./-]*(?:::\w+)?")


def check_name(code: str) -> str:
    """A path of the repository, a module, or an object of one, named in inline code."""
    if re.fullmatch(r"sde_ray(\.\w+)+", code):
        return "" if _is_importable(code) else f"{code} is no module of the package and nothing in one"
    if _PATH.fullmatch(code):
        file, _, function = code.partition("::")
        places = [ROOT / file, ROOT / "sde_ray" / file, ROOT / "tests" / file]
        path = next((place for place in places if place.exists()), None)
        if path is None:
            return f"{code} does not exist"
        if function and not re.search(rf"^\s*def {function}\b", path.read_text(encoding="utf-8"), re.M):
            return f"{file} has no {function}"
    return ""


def _is_importable(dotted: str) -> bool:
    """True for a module of the package, or for a name in one."""
    try:
        if importlib.util.find_spec(dotted):
            return True
    except ModuleNotFoundError:
        pass  # what comes before the last dot is no package
    module, _, name = dotted.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False
