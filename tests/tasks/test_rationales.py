"""Reasons for the reasoning axis: from a template, or from a model; kept, resumed, and honest about what is missing."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.model_server import Answer, reasons, said, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from sde_ray.cli.app import app
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.tasks import get_task
from sde_ray.tasks.rationales import generate
from sde_ray.tasks.rationales.chat_client import Endpoint, Reply
from sde_ray.tasks.rationales.template import from_template
from sde_ray.testing.tasks import ENTITIES, REVIEWS
from sde_ray.types import Example

ROOT = Path(__file__).parents[2]
MANY = [Example(f"r{n}", f"Review {n}.", {"food": ("positive",), "price": ("negative",)}) for n in range(12)]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def call(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


class TestTemplate:
    def test_every_mentioned_slot_gets_a_reason_and_those_there_stay(self) -> None:
        given_one = Example("a", "Good.", {"food": ("positive",), "price": ("negative",)}, {"food": "tasty"})
        (made,) = from_template([given_one], REVIEWS, '{slot} is {value} in "{text}" {"json": 1}')
        assert made.rationale == {"food": "tasty", "price": 'price is negative in "Good." {"json": 1}'}
        (spans,) = from_template([Example("b", "x", {"DNA": ("p", "q")})], ENTITIES, "{value}")
        assert spans.rationale == {"DNA": "p, q"}

    @pytest.mark.parametrize(
        ("template", "told"),
        [("", "is empty"), ("{text}", "same for every slot"), ("{valeu} x", 'Did you mean "value"')],
    )
    def test_templates_that_cannot_work(self, template: str, told: str) -> None:
        with pytest.raises(UserError, match=told):
            from_template(MANY, REVIEWS, template)


class TestModel:
    def test_one_request_an_example_and_none_twice(self, tmp_path: Path) -> None:
        with serving(lambda request, n: reasons(request)) as served:
            endpoint = Endpoint(served.url, "m")
            before = generate.cost(MANY, REVIEWS, endpoint, tmp_path / "r.jsonl")
            assert (before.requests, before.cached) == (12, 0) and before.tokens_in > 100
            written = generate.from_model(MANY, REVIEWS, endpoint, tmp_path / "r.jsonl")
            assert written.examples[3].rationale == {"food": "because of food", "price": "because of price"}
            assert written.bad == {} and generate.covered(written.examples) == 12 == len(served.requests)
            again = generate.from_model(MANY, REVIEWS, endpoint, tmp_path / "r.jsonl")
            assert again == written and len(served.requests) == 12
        after = generate.cost(MANY, REVIEWS, endpoint, tmp_path / "r.jsonl")
        assert (after.requests, after.cached, after.tokens_in, after.tokens_out) == (0, 12, 0, 0)
        assert generate.cost(MANY, REVIEWS, Endpoint(served.url, "other"), tmp_path / "r.jsonl").requests == 12
        prompt = served.requests[0]["messages"][0]["content"]
        assert "review" in prompt and "food: positive\nprice: negative" in prompt

    def test_a_run_that_breaks_off_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        """The server dies after five answers; what it said is kept, and only the rest is asked of the next one."""
        with (
            serving(lambda request, n: reasons(request) if n <= 5 else Answer(401)) as served,
            pytest.raises(UserError, match="wants a key"),
        ):
            generate.from_model(MANY, REVIEWS, Endpoint(served.url, "m"), tmp_path / "r.jsonl", parallel=1)
        with serving(lambda request, n: reasons(request)) as served:
            written = generate.from_model(MANY, REVIEWS, Endpoint(served.url, "m"), tmp_path / "r.jsonl")
        assert generate.covered(written.examples) == 12 and len(served.requests) == 7

    def test_bad_replies_are_told_kept_and_asked_again_only_when_wanted(self, tmp_path: Path) -> None:
        answers = [
            said("I cannot."),
            said('{"food": "tasty", "price": ""}'),
            Answer(body=b"<html>"),
            said('{"food": 3}'),
        ]
        few, place = MANY[:4], tmp_path / "r.jsonl"
        with serving(lambda request, n: answers[n - 1] if n < 5 else reasons(request)) as served:
            endpoint = Endpoint(served.url, "m")
            written = generate.from_model(few, REVIEWS, endpoint, place, parallel=1)
            assert len(written.bad) == 4 and sum("no reason for price" in why for why in written.bad.values()) == 1
            assert sum(one.rationale == {"food": "tasty"} for one in written.examples) == 1
            assert generate.from_model(few, REVIEWS, endpoint, place).bad == written.bad and len(served.requests) == 4
            assert generate.cost(few, REVIEWS, endpoint, place, again=True).requests == 4
            mended = generate.from_model(few, REVIEWS, endpoint, place, again=True)
            assert mended.bad == {} and len(served.requests) == 8

    def test_examples_with_reasons_or_without_slots_cost_nothing(self, tmp_path: Path) -> None:
        done = [Example("a", "x", {"food": ("positive",)}, {"food": "y"}), Example("b", "x", {})]
        assert generate.cost(done, REVIEWS, Endpoint("http://127.0.0.1:9/v1", "m"), tmp_path / "r").requests == 0
        assert (
            generate.from_model(done, REVIEWS, Endpoint("http://127.0.0.1:9/v1", "m"), tmp_path / "r").examples == done
        )

    @settings(max_examples=200, deadline=None)
    @given(text=st.text(max_size=80) | st.text(alphabet='{}[]":, fodprice1\\', max_size=60))
    def test_any_reply_can_be_read(self, text: str) -> None:
        found, fault = generate.read_reply(Reply(text), ("food", "price"))
        assert set(found) <= {"food", "price"} and bool(fault) == (len(found) < 2)
        assert all(0 < len(why) <= generate.MAX_CHARS and "\n" not in why for why in found.values())


class TestFiles:
    @pytest.mark.parametrize("task", ["masa:d1", "nested_ner", "qa"])
    def test_what_is_saved_is_read_back(self, tmp_path: Path, task: str) -> None:
        one = get_task(task)
        splits = {split: one.load(split)[:20] for split in ("train", "dev", "test")}
        generate.save(tmp_path / "out", one, splits)
        back = get_task(f"{task}@jsonl:{tmp_path / 'out'}")
        for split, examples in splits.items():
            plain = [replace(e, aliases={slot: more for slot, more in e.aliases.items() if more}) for e in examples]
            assert back.load(split) == plain

    def test_an_empty_split_has_no_file(self, tmp_path: Path) -> None:
        generate.save(tmp_path, REVIEWS, {"train": MANY, "dev": []})
        assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]

    def test_a_keyed_file_survives_torn_lines_and_many_writers(self, tmp_path: Path) -> None:
        file = JsonlCache(tmp_path / "deep" / "k.jsonl")
        assert file.read() == {}
        file.append("a", {"n": 1})
        with file.path.open("ab") as torn:
            torn.write(b'{"key": "b", "val')
        writers = [threading.Thread(target=file.append, args=(str(n), {"n": n})) for n in range(8)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        file.append("a", {"n": 2})
        assert file.read() == {"a": {"n": 2}, **{str(n): {"n": n} for n in range(8)}}
        assert content_hash({"a": 1, "b": "é"}) == content_hash({"b": "é", "a": 1}) != content_hash({"a": 2, "b": "é"})


class TestCommand:
    SWEEP = ROOT / "sweeps/bring_your_own.yaml"

    def bare(self, folder: Path) -> Path:
        """The user's sweep on data without reasons."""
        rows = [json.loads(line) for line in (ROOT / "sweeps/bring_your_own.jsonl").read_text().splitlines()]
        for row in rows:
            row.pop("rationale", None)
        (folder / "bring_your_own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "sweep.yaml").write_text(self.SWEEP.read_text())
        return folder / "sweep.yaml"

    def test_without_reasons_the_axis_is_pinned_and_it_is_said(self, tmp_path: Path) -> None:
        sweep = self.bare(tmp_path)
        assert "stands still: the examples of" in call("rationales", sweep).stdout
        planned: Any = json.loads(call("plan", sweep, "--set", f"storage_path={tmp_path}", "--json").stdout)
        assert "have no rationales" in planned["pinned"]["reasoning"]

    def test_a_template_makes_the_axis_sweep(self, tmp_path: Path) -> None:
        sweep, to = self.bare(tmp_path), tmp_path / "with"
        shown = call("rationales", sweep, "--template", "{slot} is called {value}", "--out", to).stdout
        assert f"path: {to}" in " ".join(shown.split())
        planned = json.loads(
            call("plan", sweep, "--set", f"task.data={{format: jsonl, path: {to}}}", "--set",
                 f"storage_path={tmp_path}", "--json").stdout
        )  # fmt: skip
        assert "reasoning" not in planned["pinned"]

    def test_a_template_in_the_yaml_makes_the_axis_sweep(self, tmp_path: Path) -> None:
        sweep = self.bare(tmp_path)
        sweep.write_text(
            sweep.read_text().replace("  data:", '  rationale: {template: "the {slot} is called {value}"}\n  data:', 1)
        )
        planned = json.loads(call("plan", sweep, "--set", f"storage_path={tmp_path}", "--json").stdout)
        assert "reasoning" not in planned["pinned"]
        shown = call("show", sweep, "--design", "reasoning=cot", "-n", "1").stdout
        assert "is called good" in shown or "is called bad" in shown

    def test_the_cost_comes_first_and_nothing_is_sent_without_yes(self, tmp_path: Path) -> None:
        sweep, to = self.bare(tmp_path), tmp_path / "with"
        with serving(lambda request, n: reasons(request)) as served:
            words = ("rationales", sweep, "--endpoint", served.url, "--model", "m", "--out", to, "--n", "5")
            first = call(*words)
            assert "5 requests: about" in first.stderr and "Add --yes" in first.stderr
            assert served.requests == [] and not to.exists()
            done = json.loads(call(*words, "--yes", "--json").stdout)
            assert (done["covered"], done["bad"], len(served.requests)) == (5, {}, 5)
            assert "0 requests, 5 are kept" in call(*words).stderr and len(served.requests) == 5
        assert len((to / "train.jsonl").read_text().splitlines()) == done["examples"] > 5

    def test_what_cannot_be_used_is_one_message(self, tmp_path: Path) -> None:
        sweep, to = self.bare(tmp_path), ("--out", tmp_path / "with")
        gone = ("--endpoint", "http://127.0.0.1:9/v1")
        for words, told in [
            ((*gone, *to), "Add --model"),
            ((*gone, "--template", "{value}", *to), "not both"),
            (("--template", "{value}"), "Add --out"),
            (("--endpoint", "nowhere", "--model", "m", "--yes", *to), "is no address"),
            (("--set", "task=[masa:d1, masa:d2]"), "has 2 tasks"),
        ]:
            assert told in " ".join(call("rationales", sweep, *words, code=2).stderr.split())
