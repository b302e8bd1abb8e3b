"""Whether a model can be loaded, told without its weights: from its configuration, its tokenizer and its files' names.

    check_model("tiny")                       ModelCheck("tiny", context=1024, is_local=True)
    check_model("org/repo")                   asked of the hub within seconds, or found in the cache
    check_model("org/typo")                   UserError: the hub has no such model

A library that looks for a model on a hub that cannot be reached tries again and again; so the hub is asked once here,
with a time limit, before anything else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from sde_ray.errors import UserError, suggest
from sde_ray.models import gguf
from sde_ray.models.base import PACKAGED, explained, locate, pretrained, refuse_other_kinds, split_revision
from sde_ray.models.tokenization import eos_token_id

HUB_TIMEOUT_S = 5.0  # of the one question to the hub
CONFIG = "config.json"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


@dataclass(frozen=True)
class ModelCheck:
    """What is known of a model before it is loaded.

    `context`: the longest sequence in tokens that its position embeddings allow; None: not known here. `is_local`:
    configuration and tokenizer are on this machine. `note`: what could not be told.
    """

    name: str
    context: int | None = None
    is_local: bool = True
    note: str = ""


@lru_cache(maxsize=32)
def check_model(name: str, trust_remote_code: bool = False, must_load: bool = False) -> ModelCheck:
    """Look at a model's configuration and tokenizer. A hub model that is not in the cache is looked up, not fetched.

    Args:
        name: as in `load_base`.
        trust_remote_code: as there.
        must_load: it is loaded next, on this machine: a hub that cannot be reached is an error then, else a note.

    Raises:
        UserError: when there is no such model, or this machine cannot load it; with the remedy.
    """
    if not _is_hub_name(name):
        _refuse_without_weights(name)
        return _read(name, trust_remote_code)
    if _is_cached(name):
        return _read(name, trust_remote_code, local_files_only=True)
    note = _ask_hub(name, must_load)
    return ModelCheck(name, is_local=False, note=note)


def _read(name: str, trust_remote_code: bool, local_files_only: bool = False) -> ModelCheck:
    where = {**pretrained(name), "trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    with explained(name, "tokenizer"):
        eos_token_id(AutoTokenizer.from_pretrained(**where))
    with explained(name, "configuration"):
        config = AutoConfig.from_pretrained(**where)
        refuse_other_kinds(name, config, trust_remote_code)
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return ModelCheck(name, int(longest) if longest else None)


def _is_hub_name(name: str) -> bool:
    """Whether the name leads to the hub; `locate` and `gguf.split` refuse paths that hold no model."""
    name, _ = split_revision(name)
    if (file := gguf.split(name)) is not None:
        return not Path(file[0]).is_dir()
    return locate(name) == name and not Path(name).is_dir()


def _refuse_without_weights(name: str) -> None:
    """Raises UserError for a folder that has a configuration and no weights that may be loaded."""
    if gguf.split(name) is not None:
        return
    folder = Path(locate(name))
    if any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        return
    pickled = sorted(file.name for file in folder.glob("*.bin"))
    only = f", only {pickled[0]}, which is a pickle and is not loaded" if pickled else ""
    raise UserError(
        f"{name} has no *.safetensors file{only}. Give a folder written by `save_pretrained`, with the model's weights "
        "beside its config.json."
    )


def _repository(name: str) -> tuple[str, str, str | None]:
    """The hub repository of a model, the file that tells that it is there, and the revision that is asked for."""
    name, revision = split_revision(name)
    repository, file = gguf.split(name) or (name, CONFIG)
    return repository, file, revision


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    repository, file, revision = _repository(name)
    try:
        return isinstance(try_to_load_from_cache(repository, file, revision=revision), str)
    except HFValidationError:
        raise UserError(
            f'"{name}" is no name of a model. Give org/repo of the Hugging Face hub, the path of a folder or of a GGUF '
            "file, or tiny."
        ) from None


def _ask_hub(name: str, must_load: bool) -> str:
    """Ask the hub for the model's file, once. Returns what could not be told. Raises UserError: see `check_model`."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, file, revision = _repository(name)
    reason = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=HUB_TIMEOUT_S)
            return ""
        except GatedRepoError:
            raise UserError(
                f"{repository} is gated, and this machine's account may not read it. Accept its terms on "
                f"{constants.ENDPOINT}/{repository}, and log in: hf auth login (or set HF_TOKEN)."
            ) from None
        except RepositoryNotFoundError:
            raise UserError(
                f'The hub has no model "{repository}", or it is private. Check the name on {constants.ENDPOINT}, give '
                "a folder or a GGUF file, or log in: hf auth login (or set HF_TOKEN)."
            ) from None
        except RevisionNotFoundError:
            raise UserError(
                f'{repository} of the hub has no revision "{revision}". Give a commit, tag or branch of '
                f"{constants.ENDPOINT}/{repository}, or the name alone for its newest version."
            ) from None
        except EntryNotFoundError:
            raise UserError(f"{repository} of the hub has no {file}: it is no model that can be loaded.") from None
        except Exception as error:  # no network, in the words of whatever library is at work
            reason = f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    words = f'"{name}" is neither a folder here nor in the cache of the hub, and {reason}'
    if must_load:
        wanted = f"{repository} --revision {revision}" if revision else repository
        raise UserError(
            f"{words}.{suggest(name, PACKAGED)} Check the path or the name; without a network, copy the model into a "
            f"folder and give its path, or fetch it where there is one: hf download {wanted}"
        )
    return f"{words}: it was not checked.{suggest(name, PACKAGED)}"
