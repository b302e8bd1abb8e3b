"""For all tests: where child processes find the code; a tiny random Llama with its own tokenizer; the real data."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from sde_ray.cli.process_end import RAY, end_process

ROOT = Path(__file__).parents[1]
STATUS = pytest.StashKey[int]()

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that a test starts, those of Ray too, must find the package and `helpers`.
PATHS = [str(ROOT / "tests"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(PATHS)

# No note of a test's sweeps in the user's own cache, and the plugins of `helpers` are the tests' own.
_own_sweeps = tempfile.TemporaryDirectory(prefix="sde-own-")
os.environ["SDE_OWN_SWEEPS"] = _own_sweeps.name
os.environ["SDE_MICRO_BATCHES"] = _own_sweeps.name
TRUSTED = json.dumps(["helpers", "helpers.*", "nowhere.at", "no_such_module", "worked_example"])
os.environ["SDE_TRUSTED"] = TRUSTED

pytest.register_assert_rewrite("sde_ray.testing")

# Hypothesis: the same cases in each run, but in the long profile, and nothing kept in the checkout.
_hypothesis_home = tempfile.TemporaryDirectory(prefix="sde-hypothesis-")
set_hypothesis_home_dir(_hypothesis_home.name)
settings.register_profile("usual", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("long", parent=settings.get_profile("usual"), derandomize=False)
settings.load_profile("usual")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved two-layer Llama with random weights and a byte-level BPE tokenizer that encodes every character."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["food: positive, service: negative, price: neutral"] * 50, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.3,  # wide, so that greedy decoding of the untrained model is not one token for ever
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder with `data` and `models` that were not made here; skips where it is missing."""
    default = ROOT.parent / "shared"
    folder = Path(os.environ.get("SDE_SHARED", default))
    if not (folder / "data").is_dir() and not (folder / "models").is_dir():
        pytest.skip(f"no real data at {folder} (set SDE_SHARED)")
    return folder


@pytest.fixture(autouse=True, scope="module")
def names_of_one_module_are_not_trusted_in_the_next() -> Iterator[None]:
    """What a sweep names stays trusted for the life of a process, and its folder importable: here, for a module."""
    folders = sys.path.copy()
    yield
    os.environ["SDE_TRUSTED"] = TRUSTED
    sys.path[:] = folders


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing of a process stays, whoever ends it; and one with a dozen Rays behind it ends as a command does."""
    _own_sweeps.cleanup()
    _hypothesis_home.cleanup()
    if RAY in sys.modules and not hasattr(config, "workerinput"):
        end_process(config.stash.get(STATUS, 0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The last gate stands last, also beside tests of other folders."""
    items.sort(key=lambda item: item.get_closest_marker("walk") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many hostile cases were tried, in whichever process (`tests/fuzz/conftest.py` tells it by a property)."""
    ended = [one for one in terminalreporter.stats.get("", []) if getattr(one, "when", None) == "teardown"]
    cases = [count for one in ended for name, count in one.user_properties if name == "hostile cases"]
    if cases:
        terminalreporter.write_line(f"{sum(cases):,} hostile cases in {len(cases)} tests")
