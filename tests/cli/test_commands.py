"""The command `sde-ray` as a user meets it: output, JSON, messages, exit codes, and how fast it answers."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sde_ray.cli.app import app
from sde_ray.design.axes import ALL_AXES
from sde_ray.errors import UserError
from sde_ray.tasks import TASKS

ROOT = Path(__file__).parents[2]
COMMANDS = ["run", "plan", "show", "axes", "tasks", "score", "effects", "assemble", "validate"]
COMMANDS += ["report", "predict", "ui", "submit", "status", "logs", "stop", "sync", "doctor", "bench"]
COMMANDS += ["rationales", "analyze", "robustness", "memory", "init", "demo"]


def call(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def answer(*words: str | Path) -> object:
    return json.loads(call(*words, "--json").stdout)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class TestStart:
    def test_help_lists_every_command(self) -> None:
        shown = call("--help").stdout
        assert [name for name in COMMANDS if f" {name} " not in shown] == []

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_has_help(self, name: str) -> None:
        assert "Usage" in call(name, "--help").stdout

    def test_help_is_quick_and_imports_nothing_heavy(self) -> None:
        code = "import sys, sde_ray.cli.app as a; a.app(['--help'], standalone_mode=False); print(*sys.modules)"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert loaded & {"torch", "ray", "mlflow", "numpy", "pydantic", "transformers", "yaml"} == set()
        assert (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6
        )  # CPU time, not a busy machine's

    def test_the_installed_module_is_the_command(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "sde_ray", "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("sde-ray ")


class TestLook:
    def test_axes_are_the_table(self) -> None:
        rows = answer("axes")
        assert [(r["axis"], r["option"]) for r in rows] == [(a.name, o) for a in ALL_AXES.values() for o in a.options]
        assert {r["axis"]: r["option"] for r in rows if r["default"]} == {a.name: a.default for a in ALL_AXES.values()}

    def test_tasks_are_the_table(self) -> None:
        rows = answer("tasks")
        assert [row["name"] for row in rows] == list(TASKS)
        assert rows[0]["domains"] == ["masa:d2"]

    def test_show_gives_the_sample_and_its_loss(self) -> None:
        (shown,) = answer("show", "--design", "input_modeling=on,format=lines")
        assert shown["prompt"] == "".join(s["text"] for s in shown["segments"][:-1])
        assert shown["segments"][-1] == {"text": shown["completion"], "loss": True, "role": "completion"}
        assert all(segment["loss"] for segment in shown["segments"])
        assert shown["faults"] == []

    def test_show_of_a_sweep_shows_its_designs(self, tmp_path: Path) -> None:
        shown = answer("show", ROOT / "sweeps/bring_your_own.yaml", "-n", "3", "--set", f"storage_path={tmp_path}")
        assert len({one["design"] for one in shown}) == 3
        assert len({one["id"] for one in shown}) == 1

    def test_show_in_colour_prints_the_whole_sample(self) -> None:
        shown = call("show", "--design", "es-sde").stdout
        assert "Inst-first, No-MI, Lines" in shown
        assert "parking: unmentioned" in shown

    def test_show_cuts_the_sample_at_token_borders(self, tiny_llama: Path) -> None:
        from sde_ray.cli.views.sample import token_text
        from sde_ray.pipeline.preview import preview_task

        (one,) = preview_task("masa:d1", ["es-sde"])
        painted = token_text(one, str(tiny_llama)).plain
        whole = "".join(s.text for s in (*one.sample.prompt, one.sample.completion))
        assert painted.startswith(whole)
        assert painted.splitlines()[-1].endswith(" tokens")

    def test_plan_counts_and_explains(self, tmp_path: Path) -> None:
        sweep, seeds = ROOT / "sweeps/quickstart.yaml", ("--set", "seeds=[0,1]", "--set", f"storage_path={tmp_path}")
        made = answer("plan", sweep, *seeds, "--set", "search.method=one_at_a_time")
        assert made["trials"] == len(made["planned"]) == 20
        assert made["counts"]["seeds"] == 2
        assert "20 trials" in call("plan", sweep, *seeds, "--set", "search.method=one_at_a_time").stdout
        said = " ".join(call("plan", sweep, *seeds).stdout.split())
        assert "22 full trials' worth by adaptive" in said and "D-optimal fraction" in said


class TestScore:
    """The design is the baseline of masa:d1: `food: positive, drinks: unmentioned, ...`."""

    SLOTS = ("food", "drinks", "price", "hygiene", "staff", "parking")

    def text(self, **labels: str) -> str:
        return ", ".join(f"{slot}: {labels.get(slot, 'unmentioned')}" for slot in self.SLOTS) + "."

    def test_gold_scores_one_and_a_slip_costs(self, tmp_path: Path) -> None:
        gold = self.text(food="positive", staff="negative")
        slip = self.text(food="positive", staff="positive")
        path = lines(tmp_path / "p.jsonl", *({"target": gold, "prediction": p} for p in (gold, gold, gold, slip)))
        scores = answer("score", path, "--task", "masa:d1")
        assert scores["accuracy"] == pytest.approx(23 / 24)
        assert scores["sentence_accuracy"] == pytest.approx(3 / 4)
        assert scores["format_adherence"] == 1.0
        assert scores["accuracy/staff"] == pytest.approx(3 / 4)
        assert 0 < scores["weighted_kappa"] < 1
        assert scores["items"] == 4

    def test_faults_are_counted(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "p.jsonl", {"target": self.text(), "prediction": "no idea"})
        scores = answer("score", path, "--task", "masa:d1")
        assert scores["format_adherence"] == 0.0
        assert sum(scores["faults"].values()) >= 1

    def test_spans_have_precision_recall_and_soft_ones(self, tmp_path: Path) -> None:
        row = {"target": "DNA: ABC gene\nprotein: XY", "prediction": "DNA: ABC\nprotein: XY"}
        design = "format=lines,unmentioned=omit"
        scores = answer("score", lines(tmp_path / "p.jsonl", row), "--task", "nested_ner", "--design", design)
        assert {"precision", "recall", "f1", "precision_soft", "recall_soft", "f1_soft"} <= set(scores)
        assert scores["f1"] == pytest.approx(0.5)
        assert scores["f1_soft"] == pytest.approx(1.0)

    def test_a_target_in_another_form_is_told(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "p.jsonl", {"target": "food=positive", "prediction": "x"})
        result = call("score", path, "--task", "masa:d1", "--json")
        assert "lines 1" in result.stderr
        assert json.loads(result.stdout)["items"] == 1

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b'{"target": "a"}\n[1]\n{broken\n', "3 faults"),
            (b"\xff\xfe\n", "not UTF-8"),
        ],
    )
    def test_bad_files_are_told_at_once(self, tmp_path: Path, content: bytes, said: str) -> None:
        path = tmp_path / "p.jsonl"
        path.write_bytes(content)
        assert said in call("score", path, "--task", "masa:d1", code=2).stderr

    def test_the_task_must_be_said(self, tmp_path: Path) -> None:
        assert "--task" in call("score", lines(tmp_path / "p.jsonl", {}), code=2).stderr


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["plan", "sweeps/nowhere.yaml"], 'no file "sweeps/nowhere.yaml"'),
            (["show", "--task", "massa:d1"], 'Did you mean "masa:d1"'),
            (["show", "--design", "es-sed"], 'Did you mean "es-sde"'),
            (["show", "--design", "format=line"], 'Did you mean "lines"'),
            (["score", "nowhere.jsonl", "--task", "masa:d1"], "Cannot read nowhere.jsonl"),
            (["predict", ".", "some text"], "holds no adapter"),
        ],
    )
    def test_what_cannot_be_used_is_one_message_and_code_2(self, words: list[str], said: str) -> None:
        result = call(*words, code=2)
        assert said in " ".join(result.stderr.split())
        assert result.stdout == ""

    def test_all_faults_of_a_sweep_come_together(self, tmp_path: Path) -> None:
        sweep = tmp_path / "s.yaml"
        sweep.write_text("task: massa\ntrain: {lrr: 1}\nsearch: {method: gird}\n")
        said = call("plan", sweep, code=2).stderr
        assert "faults" in said
        assert [word for word in ("massa", "train.lrr", '"grid"') if word not in said] == []

    def test_ctrl_c_is_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sde_ray.pipeline.preview.preview_task", raising(KeyboardInterrupt()))
        assert "Stopped" in call("show", code=130).stderr

    def test_a_full_disk_is_a_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "sde_ray.pipeline.preview.preview_task", raising(OSError(28, "No space left on device", "ledger.jsonl"))
        )
        assert "disk is full (ledger.jsonl)" in call("show", code=2).stderr

    def test_markup_in_a_message_is_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sde_ray.pipeline.preview.preview_task", raising(UserError("seeds [101] and [/red] clash")))
        assert "seeds [101] and [/red] clash" in call("show", code=2).stderr

    def test_a_reader_that_leaves_early_is_no_error(self) -> None:
        shell = f"{sys.executable} -m sde_ray axes | head -n 1"
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("axis")


def raising(error: BaseException) -> object:
    def fail(*given: object, **named: object) -> object:
        raise error

    return fail


class TestDoctor:
    def checks(self, tmp_path: Path, uri: str | None = None) -> dict[str, object]:
        from sde_ray.sweep.cluster.doctor import Target, examine

        return {check.name: check for check in examine(Target(tmp_path, uri))}

    def test_the_file_store_is_refused_with_a_remedy(self, tmp_path: Path) -> None:
        found = self.checks(tmp_path, "./mlruns")["mlflow tracking"]
        assert found.state == "fail"
        assert "sqlite:////" in found.remedy

    def test_a_dead_server_is_told(self, tmp_path: Path) -> None:
        found = self.checks(tmp_path, "http://127.0.0.1:9")["mlflow tracking"]
        assert (found.state, "does not answer" in found.found) == ("fail", True)

    def test_a_password_is_never_shown(self, tmp_path: Path) -> None:
        found = self.checks(tmp_path, "http://me:secret@127.0.0.1:9")["mlflow tracking"]
        assert "secret" not in found.found + found.remedy

    def test_an_old_build_lock_is_found_and_a_new_one_is_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
        lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
        lock.parent.mkdir(parents=True)
        lock.touch()
        assert self.checks(tmp_path)["build lock"].state == "ok"
        os.utime(lock, (0, 0))
        found = self.checks(tmp_path)["build lock"]
        assert (found.state, str(lock) in found.remedy) == ("fail", True)

    def test_a_stale_cluster_address_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
        found = self.checks(tmp_path)["ray cluster"]
        assert (found.state, "nothing listens" in found.found) == ("warn", True)

    def test_a_check_that_breaks_is_a_warning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.disk_usage", raising(OSError("odd file system")))
        found = self.checks(tmp_path)["storage"]
        assert (found.state, "odd file system" in found.found) == ("warn", True)
