"""Whether a model can be loaded, told before anything runs: folders, hub names, a hub that is away, slow or says no."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sde_ray.errors import UserError
from sde_ray.models import availability
from sde_ray.models.availability import check_model
from sde_ray.models.base import PACKAGED, pretrained


class Hub(BaseHTTPRequestHandler):
    """Answers for each repository as the hub does: by status and X-Error-Code."""

    def do_HEAD(self) -> None:
        owner = self.path.split("/")[1]
        if owner == "slow":
            time.sleep(2)
        status, code = {"gated": (403, "GatedRepo"), "empty": (404, "EntryNotFound"), "there": (200, "")}.get(
            owner, (404, "RepoNotFound")
        )
        if "/resolve/v9/" in self.path:
            status, code = 404, "RevisionNotFound"
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    check_model.cache_clear()
    yield address
    server.shutdown()
    check_model.cache_clear()


def test_a_model_of_this_machine_is_read_without_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PACKAGED["tiny"], folder)
    (folder / "model.safetensors").write_bytes(b"not read here")
    for name in ("tiny", str(folder)):
        checked = check_model(name)
        assert (checked.is_local, checked.context, checked.note) == (True, 1024, "")


def test_a_folder_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PACKAGED["tiny"], folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no \*.safetensors file, only pytorch_model.bin, which is a pickle"):
        check_model(str(folder))
    with pytest.raises(UserError, match="is not a model: it has no config.json"):
        check_model(str(tmp_path))
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-architecture"}))
    with pytest.raises(UserError, match="of .*model cannot be loaded"):
        check_model(str(folder))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody/typo", 'The hub has no model "nobody/typo", or it is private'),
        ("gated/llama", "gated/llama is gated"),
        ("empty/repo", "has no config.json"),
        ("bad name!!", "is no name of a model"),
    ],
)
def test_what_the_hub_does_not_have_is_an_error_at_once(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_model(name)


def test_what_the_hub_has_is_fetched_later() -> None:
    checked = check_model("there/model", must_load=True)
    assert (checked.is_local, checked.note) == (False, "")


@pytest.mark.parametrize("case", ["slow", "away", "offline"])
def test_a_hub_that_cannot_be_reached_is_a_note_or_an_error_within_seconds(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "HUB_TIMEOUT_S", 0.3)
    if case == "away":
        address = "http://127.0.0.1:9"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/{revision}/{filename}"
        )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", case == "offline")
    began = time.monotonic()
    checked = check_model("slow/model")
    assert "it was not checked" in checked.note and not checked.is_local
    with pytest.raises(UserError, match="neither a folder here nor in the cache"):
        check_model("slow/model", must_load=True)
    assert time.monotonic() - began < 5


def test_a_name_like_a_packaged_one_is_answered_with_it() -> None:
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True  # the fixture puts it back
    assert 'Did you mean "tiny"?' in check_model("tinny").note


# ---- revisions -------------------------------------------------------------------------------------------------------


def test_a_revision_is_asked_for_wherever_a_model_is_loaded() -> None:
    assert pretrained("org/repo@v1.1") == {"pretrained_model_name_or_path": "org/repo", "revision": "v1.1"}
    gguf_file = {"pretrained_model_name_or_path": "org/repo", "gguf_file": "m.Q8_0.gguf", "revision": "main"}
    assert pretrained("org/repo/m.Q8_0.gguf@main") == gguf_file
    assert pretrained("org/repo") == {"pretrained_model_name_or_path": "org/repo"}
    checked = check_model("there/model@v1", must_load=True)
    assert (checked.is_local, checked.note) == (False, "")
    with pytest.raises(UserError, match='there/model of the hub has no revision "v9".*commit, tag or branch'):
        check_model("there/model@v9")


def test_a_folder_with_the_sign_in_its_name_is_a_folder_and_has_no_revision(tmp_path: Path) -> None:
    folder = tmp_path / "model@home"
    shutil.copytree(PACKAGED["tiny"], folder)
    assert check_model(str(folder)).is_local
    for name in (f"{folder}@main", "tiny@main", "./nowhere@main", "org/repo@"):
        with pytest.raises(UserError, match="asks for a revision, which only a model of the hub has"):
            check_model(name)


def test_a_model_that_is_still_to_be_fetched_is_not_asked_for_its_layers(hub: str) -> None:
    """Its first trial checks the adapter; no configuration is looked for that is not here."""
    from helpers.plans import plan_of

    from sde_ray.sweep.device_memory import check_adapters, trial_memory, worker_device

    plan = plan_of(model="there/model", designs=["baseline"])
    check_adapters(plan)
    assert trial_memory(plan, worker_device(plan.config.resources, 40)) == []
