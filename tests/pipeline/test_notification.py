"""What hooks are told of a sweep's end, that none of them can change it, and that nothing of it leaks or is foreign."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import in_process
from helpers.fake_runner import Fakes
from typer.testing import CliRunner

from sde_ray import safe_text
from sde_ray.cli.app import app
from sde_ray.config.load import check, load_config, resolved, webhook_variables, write_sweep
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import Notify, SweepConfig
from sde_ray.errors import UserError
from sde_ray.pipeline import run as flow
from sde_ray.pipeline.context import Interrupted, PipelineResult
from sde_ray.pipeline.hooks import HookError, open_hooks
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.pipeline.notification import Ending, _text, ending_of, notification, notified
from sde_ray.pipeline.status import VerdictStatus
from sde_ray.safe_text import mask_webhook, redact
from sde_ray.sweep import run as sweeps

KEY = "T00000000/B00000000/hushvaluehushvalue"
SLACK = f"https://hooks.example.com/services/{KEY}"


@pytest.fixture(autouse=True)
def _no_secret_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_text, "_remembered", set())


def configure(folder: Path, **notify: Any) -> SweepConfig:
    values: dict[str, Any] = {"name": "study", "task": "masa:d1", "out_of_domain": [], "train_sizes": 40}
    values |= {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text", "unmentioned": "omit"}}
    values["axes"] |= {"input_modeling": "off", "instruction": "first"}
    values |= {"search": {"method": "grid"}, "eval_size": 20, "mlflow": {"enabled": False}, "notify": notify}
    values["storage_path"] = str(folder / "runs")
    return check(values)


def program(folder: Path, code: str) -> list[str]:
    """A command that runs this code."""
    path = folder / "hook.py"
    path.write_text(code)
    return [sys.executable, str(path)]


def teller(folder: Path) -> tuple[list[str], Path]:
    """A command that keeps what it is told, and the file where."""
    told = folder / "told.json"
    return program(folder, f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"), told


def go(config: SweepConfig, folder: Path, fail: str = "", validate: bool = False) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(sweeps, "_tune", in_process.Tune())
    try:
        return flow.run(config, PipelineListener(), validate, Fakes(folder / "calls", fail=fail))
    finally:
        patch.undo()


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_finished_sweep_tells_all_of_it(tmp_path: Path) -> None:
    command, told = teller(tmp_path)
    config = configure(tmp_path, command=command)
    go(config, tmp_path)
    read = json.loads(told.read_text())
    assert (read["sweep"], read["status"], read["exit_code"], read["message"]) == ("study", "finished", 0, "")
    assert read["folder"] == str(tmp_path / "runs" / "study") and read["report"].endswith("report.html")
    assert (read["trials"]["finished"], read["trials"]["remaining"]) == (read["trials"]["planned"], 0.0)
    assert read["best"][0]["task"] == "masa:d1" and read["best"][0]["score"] > 0 and read["seconds"] > 0
    assert read["text"].startswith("study: finished after ") and "Best so far on masa:d1: 0." in read["text"]
    page = (Path(__file__).parents[2] / "docs" / "operation.md").read_text("utf-8")
    example = json.loads(page.partition('```\n{\n  "text"')[2].partition("```")[0].join(('{"text"', "")))
    assert list(read) == list(example)
    assert [list(read["best"][0]), list(read["trials"])] == [list(example["best"][0]), list(example["trials"])]
    assert list(vars(VerdictStatus("", "", "", "", ""))) == list(example["verdicts"][0])


def test_what_to_do_is_told_before_what_was_found() -> None:
    verdict = {"task": "hotels", "model": "tiny", "recommended": "baseline", "summary": "No difference is shown."}
    told = {"sweep": "x", "status": "finished", "seconds": 1.0, "message": "", "trials": None, "best": []}
    said = _text({**told, "verdicts": [{**verdict, "action": "Use the baseline: it is cheaper."}]})
    assert said.endswith("hotels on tiny: Use the baseline: it is cheaper. No difference is shown.")
    said = _text({**told, "verdicts": [{**verdict, "action": ""}]})
    assert said.endswith("hotels on tiny: No difference is shown.")


def test_a_sweep_whose_trials_all_fail_tells_that_it_failed(tmp_path: Path) -> None:
    command, told = teller(tmp_path)
    with pytest.raises(UserError, match="trials.* failed"):
        go(configure(tmp_path, command=command), tmp_path, fail="*")
    read = json.loads(told.read_text())
    assert (read["status"], read["exit_code"]) == ("failed", 2) and "planted failure" in read["message"]
    assert read["trials"]["failed"] > 0 and read["verdicts"] == []


def test_an_interrupted_sweep_tells_what_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, told = teller(tmp_path)
    monkeypatch.setattr(sweeps, "_tune", lambda *given: True)
    outcome = flow.run(configure(tmp_path, command=command), PipelineListener(), runner_factory=Fakes(tmp_path / "c"))
    read = json.loads(told.read_text())
    assert (read["status"], read["exit_code"]) == ("interrupted", 130) and read["message"] == outcome.interrupted
    assert "0 of " in read["message"] and read["trials"]["finished"] == 0


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (UserError("No room."), Ending("failed", 2, "No room.")),
        (OSError(28, "No space left on device"), Ending("failed", 2, "OSError: [Errno 28] No space left on device")),
        (KeyError("x"), Ending("failed", 1, "KeyError: 'x'")),
        (RuntimeError("HF_TOKEN=hush-value-1"), Ending("failed", 1, "RuntimeError: HF_TOKEN=***")),
        (Interrupted("Stopped. 2 of 4."), Ending("interrupted", 130, "Stopped. 2 of 4.")),
    ],
)
def test_each_end_has_the_exit_code_of_the_command(error: Exception, ending: Ending) -> None:
    assert ending_of(error) == ending


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(15)])
def test_a_signal_outside_of_the_trials_is_an_interruption(error: BaseException) -> None:
    assert (ending_of(error).status, ending_of(error).exit_code) == ("interrupted", 130)


def test_where_no_run_has_begun_the_end_is_told_all_the_same(tmp_path: Path) -> None:
    told = notification(configure(tmp_path), Ending("failed", 2, "The data are away."), 1.0)
    assert told["trials"] is None and told["best"] == [] and told["report"] is None
    assert told["text"] == "study: failed after 1 s. The data are away."


# ---- a program -------------------------------------------------------------------------------------------------------


def tell(command: list[str], seconds: float = 20.0, body: bytes = b"{}") -> None:
    (hook,) = open_hooks(Notify.model_validate({"command": command}))
    hook(body, seconds)


def test_a_program_that_fails_says_why_without_secrets(tmp_path: Path) -> None:
    command = program(tmp_path, "import sys; print('first'); sys.exit('no answer, HF_TOKEN=hush-value-1 \\x1b[31m')")
    with pytest.raises(HookError, match=r"\): ended with exit code 1: no answer, HF_TOKEN=\*\*\*") as told:
        tell(command)
    assert str(told.value).startswith("notify.command (")
    assert "hush" not in str(told.value) and "\x1b" not in str(told.value)


def test_a_program_that_hangs_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    code = "import subprocess, sys, time; child = subprocess.Popen(['sleep', '600'])\n"
    code += f"open({str(note)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    started = time.monotonic()
    with pytest.raises(HookError, match="did not end within 1.5 s and was killed"):
        tell(program(tmp_path, code), 1.5)
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{note.read_text()}") and time.monotonic() < deadline:
        if "State:\tZ" in Path(f"/proc/{note.read_text()}/status").read_text():
            break  # ended; whoever is first in this container has not asked for its status
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_a_program_that_reads_nothing_or_leaves_a_child_holds_nothing_up(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '5'])"  # it inherits what it prints to
    started = time.monotonic()
    tell(program(tmp_path, code), 20.0, b"x" * 10**6)
    assert time.monotonic() - started < 4.5


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"import sys; open({str(told)!r}, 'w').write(repr(sys.argv[1:]))"
    tell([*program(tmp_path, code), "$HOME; touch owned", "${HOME}"])
    assert told.read_text() == "['$HOME; touch owned', '${HOME}']"


def test_a_program_that_is_not_here_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = configure(tmp_path, command=["no-such-program"])
    with pytest.raises(UserError, match='there is no program "no-such-program" here, where the driver runs'):
        go(config, tmp_path)
    assert not (tmp_path / "runs").exists()


# ---- a webhook -------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A webhook's server: answers with these statuses in turn, the last one for ever; keeps what it was sent."""

    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    sent: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.sent.append((self.path, dict(self.headers), body))
            if server.hold:
                server.hold.wait(20)
            status = server.statuses.pop(0) if len(server.statuses) > 1 else server.statuses[0]
            self.send_response(status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{listener.server_port}"
        try:
            yield server
        finally:
            if server.hold:
                server.hold.set()
            listener.shutdown()


def post(url: str, seconds: float = 20.0) -> None:
    (hook,) = open_hooks(Notify.model_validate({"webhook": url}))
    hook(b'{"status": "finished"}', seconds)


def test_a_webhook_gets_the_json_by_post() -> None:
    with serving(Server()) as server:
        post(f"{server.url}/services/x?room=1")
    ((path, headers, body),) = server.sent
    assert path == "/services/x?room=1" and json.loads(body) == {"status": "finished"}
    assert headers["Content-Type"].startswith("application/json") and headers["User-Agent"].startswith("sde-ray/")


def test_a_webhook_from_the_environment_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Server()) as server:
        monkeypatch.setenv("SDE_WEBHOOK", f"{server.url}/services/{KEY}")
        config = configure(tmp_path, webhook="${SDE_WEBHOOK}")
        go(config, tmp_path)
    assert [path for path, _, _ in server.sent] == [f"/services/{KEY}"]
    assert json.loads(config.run_dir.resolved.read_text())["notify"]["webhook"] == "${SDE_WEBHOOK}"
    assert webhook_variables(config) == ["SDE_WEBHOOK"]
    written = [path.read_bytes() for path in config.run_dir.path.rglob("*") if path.is_file()]
    assert written and not any(b"hushvalue" in text for text in written)


def test_a_webhook_that_is_busy_is_tried_again() -> None:
    with serving(Server([503, 200])) as server:
        post(f"{server.url}/x")
    assert len(server.sent) == 2


@pytest.mark.parametrize(("status", "told"), [(404, "HTTP 404"), (401, "HTTP 401")])
def test_a_webhook_that_refuses_is_told_once(status: int, told: str) -> None:
    with serving(Server([status])) as server, pytest.raises(HookError, match=told):
        post(f"{server.url}/x")
    assert len(server.sent) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    told = pytest.raises(HookError, match="redirects to 127.0.0.1, which is not followed")
    with serving(Server()) as other, serving(Server([status], {"Location": f"{other.url}/stolen"})) as server, told:
        post(f"{server.url}/x")
    assert len(server.sent) == 1 and other.sent == []


def test_a_webhook_that_hangs_or_is_away_costs_its_seconds_only() -> None:
    started = time.monotonic()
    with serving(Server(hold=threading.Event())) as server, pytest.raises(HookError, match="within 1 s|timed out"):
        post(f"{server.url}/services/{KEY}", 1.0)
    with pytest.raises(HookError, match="Connection refused") as refused:
        post(f"http://127.0.0.1:9/services/{KEY}", 0.5)
    assert time.monotonic() - started < 10 and "hushvalue" not in str(refused.value)


def test_a_variable_that_is_not_set_is_refused_before_anything_runs(tmp_path: Path) -> None:
    os.environ.pop("SDE_NO_SUCH", None)
    with pytest.raises(UserError, match="names the environment variable SDE_NO_SUCH, which the driver does not have"):
        go(configure(tmp_path, webhook="${SDE_NO_SUCH}"), tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("value", ["file:///etc/passwd", "ftp://h/x", "https://u:hushvalue@h/x", "hooks.example.com/x"])
def test_a_variable_that_holds_no_webhook_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDE_WEBHOOK", value)
    with pytest.raises(UserError, match="is no address of a webhook") as refused:
        open_hooks(Notify(webhook="${SDE_WEBHOOK}"))
    assert "hushvalue" not in str(refused.value)


# ---- it cannot change the sweep --------------------------------------------------------------------------------------


def test_hooks_that_fail_are_a_warning_each_and_the_end_stays(tmp_path: Path) -> None:
    config = configure(tmp_path, command=program(tmp_path, "raise SystemExit(3)"), webhook="http://127.0.0.1:9/x")
    config = config.model_copy(update={"notify": config.notify.model_copy(update={"timeout_s": 0.5})})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        outcome = go(config, tmp_path)
    assert outcome.report is not None
    said = [str(one.message) for one in told if "this hook was not told" in str(one.message)]
    assert len(said) == 2 and "exit code 3" in said[0] and "notify.webhook (http://127.0.0.1:9/***)" in said[1]


@pytest.mark.filterwarnings("ignore:The sweep has ended")
def test_an_error_stays_itself_where_its_hook_fails(tmp_path: Path) -> None:
    config = configure(tmp_path, command=program(tmp_path, "raise SystemExit(3)"))
    with pytest.raises(ZeroDivisionError), notified(config):
        raise ZeroDivisionError


@pytest.mark.filterwarnings("ignore:The sweep has ended")
@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (UserError("No room."), 2), (Interrupted("Stopped."), 130), (KeyError("x"), 1)]
)
def test_the_exit_code_of_the_command_is_the_sweeps_also_where_its_hook_fails(
    error: Exception | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(*given: Any) -> PipelineResult:
        if error is not None:
            raise error
        return PipelineResult(tmp_path)

    monkeypatch.setattr(flow, "_run_steps", steps)
    command = program(
        tmp_path, f"import json, sys; code = json.load(sys.stdin)['exit_code']; assert code == {code}; sys.exit(9)"
    )
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"task": "masa:d1", "notify": {"command": command}}))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        done = CliRunner().invoke(app, ["run", str(tmp_path / "x.yaml")])
    assert done.exit_code == code, done.output
    assert sum("ended with exit code 9" in str(one.message) for one in told) == 1


def test_an_interrupted_driver_waits_ten_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(
        "sde_ray.pipeline.notification.open_hooks", lambda notify: [lambda body, seconds: given.append(seconds)]
    )
    for error in (Interrupted("x"), UserError("x")):
        with pytest.raises(type(error)), notified(configure(tmp_path)):
            raise error
    assert given == [10.0, 30.0]


def test_without_hooks_nothing_is_read_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde_ray.pipeline.notification.run_status", lambda config: pytest.fail("it costs"))
    with notified(configure(tmp_path)):
        pass


# ---- the YAML --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ({"webhook": "slack"}, "is no address of a webhook"),
        ({"webhook": "ftp://host/x"}, "is no address of a webhook"),
        ({"webhook": "https://user:hushvalue@host/x"}, "without a user and a password"),
        ({"webhook": "https://host/***"}, "leaves secrets out of addresses"),
        ({"webhook": "https://host/a b"}, "has a space in it"),
        ({"command": "tell.sh now"}, r'Write its words one by one: \["tell.sh", "now"\]'),
        ({"timeout_s": 0}, "greater than 0"),
        ({"comand": ["x"]}, 'Unknown key "notify.comand". Did you mean "command"'),
    ],
)
def test_what_cannot_work_is_refused_with_the_key(notify: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as refused:
        configure(tmp_path, **notify)
    assert "notify" in str(refused.value) and "hushvalue" not in str(refused.value)


def test_one_word_may_stand_where_a_list_may(tmp_path: Path) -> None:
    assert configure(tmp_path, command="true").notify.command == ("true",)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SLACK, "https://hooks.example.com/***"),
        ("https://h.example.com:8443?key=hushvalue", "https://h.example.com:8443/***"),
        ("https://u:hushvalue@h/x", "https://h/***"),
        ("${SDE_WEBHOOK}", "${SDE_WEBHOOK}"),
        ("https://hooks.example.com/${KEY}", "https://hooks.example.com/***"),
        ("${HOST}/services/hushvalue", "***"),
        ("hushvalue", "***"),
    ],
)
def test_of_an_address_only_the_host_is_shown(address: str, shown: str) -> None:
    assert mask_webhook(address) == shown


def test_an_address_in_the_yaml_is_in_no_file_and_no_message(tmp_path: Path) -> None:
    config = configure(tmp_path, webhook=SLACK, command=["curl", "-H", "Authorization: Bearer hushvalue12"])
    write_sweep(config)
    text = config.run_dir.resolved.read_text()
    assert "https://hooks.example.com/***" in text and "hushvalue" not in text
    assert "notify" not in yaml.safe_load(config.run_dir.sweep.read_text())
    assert resolved(config)["notify"]["timeout_s"] == 30.0
    open_hooks(Notify(webhook=SLACK))
    assert redact(f"the library said: POST /services/{KEY} failed") == "the library said: POST /*** failed"


def test_the_hook_in_a_folder_of_results_is_never_run(tmp_path: Path) -> None:
    """Somebody else's results, unpacked here, whose sweep.yaml the user even names."""
    command, told = teller(tmp_path)
    config = configure(tmp_path)
    go(config, tmp_path)
    foreign = yaml.safe_load(config.run_dir.sweep.read_text()) | {"notify": {"command": command, "webhook": SLACK}}
    for named in (config.run_dir.sweep, config.run_dir.path / "copy.yaml"):
        named.write_text(yaml.safe_dump(foreign))
        with pytest.warns(UserWarning, match="lies in a folder of results: its `notify` is left out"):
            loaded = load_config(named)
        assert loaded.notify == Notify()
        go(loaded, tmp_path)
    assert not told.exists()
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (alone / "sweep.yaml").write_text(yaml.safe_dump(foreign))
    assert open_sweep(alone).notify == Notify(), "a folder is never more than its results"
    assert load_config(config.run_dir.sweep, ["notify.webhook=https://host/mine"]).notify.webhook == "https://host/mine"


def test_submit_passes_the_variable_of_the_webhook_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sde_ray.sweep.cluster import jobs

    monkeypatch.setenv("MY_HOOK", SLACK)
    passed: dict[str, str] = {}

    def submit(client: Any, package: Any, options: Any) -> Any:
        passed.update(options.env)
        return jobs.Submission("sde-x-1", True)

    monkeypatch.setattr(jobs, "connect", lambda address: type("Client", (), {"get_address": lambda self: "http://h"})())
    monkeypatch.setattr(jobs, "submit", submit)
    (tmp_path / "x.yaml").write_text('task: masa:d1\nstorage_path: /shared/runs\nnotify: {webhook: "${MY_HOOK}"}\n')
    done = CliRunner().invoke(app, ["submit", str(tmp_path / "x.yaml")])
    assert done.exit_code == 0, done.output
    assert passed["MY_HOOK"] == SLACK and "MY_HOOK" in done.output and "hushvalue" not in done.output
    monkeypatch.delenv("MY_HOOK")
    passed.clear()
    assert CliRunner().invoke(app, ["submit", str(tmp_path / "x.yaml")]).exit_code == 0 and "MY_HOOK" not in passed
