"""Pushing an adapter, or a merged model, to the hub: its files, its card, and nothing else.

    package = make_package(find_adapter("runs/quickstart"), "me/reviews", folder)   what would be uploaded
    push(package, "me/reviews", private=True)                                       uploads it

Files go by a list of names, so that what else lies in the folder stays here: completions, checks, logs. Paths of this
machine are refused or replaced by the base's name on the hub.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sde_ray.config.names import trust_own_run_of
from sde_ray.errors import UserError
from sde_ray.export.model_card import evidence_of, model_card
from sde_ray.models.adapter_files import CONFIG, WEIGHTS, read_adapter
from sde_ray.models.predictor import ADAPTER_CARD, AdapterCard, read_card
from sde_ray.safe_json import read_json
from sde_ray.safe_text import mask_values
from sde_ray.storage.files import write_atomic

README = "README.md"
OF_ADAPTER = (WEIGHTS, CONFIG)
OF_MODEL = (
    *("*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "chat_template.jinja", "Modelfile"),
)
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PACKAGED = "tiny"  # a base that comes with this package, and has no name on the hub


@dataclass(frozen=True)
class HubPackage:
    """A folder that is ready to be uploaded, with the sizes of its files in bytes."""

    folder: Path
    files: dict[str, int]


def make_package(
    adapter: Path, repo: str, folder: Path, base_model: str = "", with_demonstrations: bool = False
) -> HubPackage:
    """Put what belongs on the hub into an empty folder: weights, configuration, `sde.json` and the model card.

    Args:
        adapter: the folder of an adapter or of a merged model, with its card.
        repo: the repository's name, for the card's code.
        folder: where it goes.
        base_model: the base's name on the hub; needed where the adapter knows its base by a path.
        with_demonstrations: upload the training examples that stand in the prompt of a design with demonstrations.

    Raises:
        UserError: for a name that is none, a base without a name, or a path of this machine among the files.
    """
    if not REPO.fullmatch(repo):
        raise UserError(f'"{repo}" is no repository. Give its owner and its name, such as me/reviews.')
    card = read_card(adapter)
    if card.demonstrations and not with_demonstrations:
        raise UserError(
            f"{len(card.demonstrations)} training examples are part of this adapter's prompt (demonstrations="
            f"{card.design['demonstrations']}), and would be uploaded with it. If anybody may see them: "
            "--with-demonstrations."
        )
    if not card.merged:
        read_adapter(adapter)
    base, model = _hub_names(card, base_model)
    trust_own_run_of(adapter)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty. Give a new folder: --out DIR.")
    folder.mkdir(parents=True, exist_ok=True)
    patterns = OF_MODEL if card.merged else OF_ADAPTER
    for path in sorted(adapter.iterdir()):
        if path.is_file() and not path.is_symlink() and any(fnmatch(path.name, pattern) for pattern in patterns):
            shutil.copyfile(path, folder / path.name)
    values = {**read_json((adapter / ADAPTER_CARD).read_bytes()), "model": model}
    _refuse_paths(values)
    text = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
    if mask_values(text) != text:
        raise UserError(f"{ADAPTER_CARD} holds the value of a secret of this machine's environment. Take it out first.")
    write_atomic(folder / ADAPTER_CARD, text)
    for name, key in ((CONFIG, "base_model_name_or_path"), ("config.json", "_name_or_path")):
        if (folder / name).is_file():
            _set(folder / name, key, base or card.model)
    page = model_card(adapter, evidence_of(adapter), repo, base)
    write_atomic(folder / README, page)
    return HubPackage(folder, {path.name: path.stat().st_size for path in sorted(folder.iterdir())})


def _hub_names(card: AdapterCard, base_model: str) -> tuple[str, str]:
    """The base's repository on the hub ("": the one in this package), and what `sde.json` calls the base."""
    if card.model == PACKAGED and not base_model:
        return "", card.model
    model = base_model or card.model
    name = model.partition("@")[0]
    if name.endswith(".gguf") and name.count("/") == 2:
        name = name.rpartition("/")[0]
    if not REPO.fullmatch(name) or os.path.exists(os.path.expanduser(model)):
        raise UserError(
            f"The adapter's base is {name}, which is no name on the hub: whoever downloads the adapter needs the base. "
            "Name the model that it is: --base-model org/name."
        )
    return name, model


def _refuse_paths(value: Any) -> None:
    """Raises UserError for a string that is a path of this machine."""
    if isinstance(value, dict):
        for inner in value.values():
            _refuse_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_paths(inner)
    elif isinstance(value, str) and (os.path.isabs(value) or value.startswith("~/")) and "\n" not in value:
        raise UserError(
            f"{ADAPTER_CARD} names {value}, a path of this machine, which would be uploaded. Take it out of the task's "
            "definition, or push an adapter of a task without it."
        )


def _set(path: Path, key: str, value: str) -> None:
    values = read_json(path.read_bytes())
    if key in values:
        write_atomic(path, json.dumps({**values, key: value}, ensure_ascii=False, indent=2) + "\n")


def push(package: HubPackage, repo: str, private: bool = True, api: Any = None) -> str:
    """Upload a package, making the repository where there is none. Returns its address.

    `api`: an `HfApi`. Raises UserError when the hub refuses, or nobody is logged in.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = api or HfApi()
    try:
        api.whoami()
        url = api.create_repo(repo_id=repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=str(package.folder), commit_message="Adapter and its card")
    except LocalTokenNotFoundError:
        raise UserError("Nobody is logged in to the hub. Run `hf auth login`, or set HF_TOKEN.") from None
    except (HfHubHTTPError, OSError) as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"The hub did not take {repo}: {words} Check the name, and that your token may write (`hf auth login`)."
        ) from None
    return str(url)
