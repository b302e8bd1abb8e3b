"""A sweep's YAML: defaults, precedence, and every fault told at once with the nearest known name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from sde_ray.config.load import check, load_config, open_tasks, resolved, write_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import Generation, Lora, Train
from sde_ray.errors import UserError
from sde_ray.safe_text import mask
from sde_ray.sweep.plan import plan
from sde_ray.tasks.trial_task import trial_task


def load(folder: Path, text: str, *sets: str) -> SweepConfig:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, sets)


def refused(folder: Path, text: str, *sets: str) -> str:
    with pytest.raises(UserError) as error:
        load(folder, text, *sets)
    return str(error.value)


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    config = load(tmp_path, "task: masa:d1\n")
    assert config.name == "study"
    assert config.task == ("masa:d1",)
    assert config.model == ("tiny",)
    assert config.lora == Lora(r=8, lora_alpha=16, lora_dropout=0.1)
    assert config.train == Train(learning_rate=1e-4, num_train_epochs=1.0, train_batch_size=4)
    assert (config.search.method, config.seeds, config.objective.split) == ("adaptive", (0,), "dev")


def test_set_wins_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    text = "task: masa:d1\ntrain: {learning_rate: 0.01, num_train_epochs: 3}\n"
    config = load(
        tmp_path,
        text,
        "train.learning_rate=1e-3",
        "seeds=[0,1]",
        "search.method=random",
        "search.asha={}",
        "lora.r=4",
        "name=other",
    )
    assert (config.train.learning_rate, config.train.num_train_epochs, config.train.train_batch_size) == (1e-3, 3, 4)
    assert (config.seeds, config.lora.r, config.name) == ((0, 1), 4, "other")
    assert config.rungs() == (0.25, 0.5, 1.0)


def test_one_value_may_stand_where_a_list_may(tmp_path: Path) -> None:
    config = load(tmp_path, "task: masa:d1\nseeds: 3\ntrain_sizes: 40\nmodel: [tiny, other/model]\n")
    assert (config.seeds, config.train_sizes, config.model) == ((3,), (40,), ("tiny", "other/model"))


def test_bare_on_and_off_are_options(tmp_path: Path) -> None:
    config = load(tmp_path, "task: masa:d1\naxes: {input_modeling: [on, off], reasoning: none}\n")
    assert config.axes == {"input_modeling": [True, False], "reasoning": ["none"]}


@pytest.mark.parametrize("written", ["off", "'off'"])
def test_the_chat_template_may_be_off(tmp_path: Path, written: str) -> None:
    """YAML reads a bare `off` as false."""
    assert load(tmp_path, f"name: x\ntask: masa:d1\nchat_template: {written}\n").chat_template == "off"


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = """
task: masa:d1
sed: 1
seeds: [1, 1]
name: ../elsewhere
axes: {fromat: [lines], labels: [nmber], reasoning: [], unmentoned: omit}
train: {learning_rate: fast, train_bath_size: 4}
objective: {metric: weigted_kappa}
search: {method: gird, reference_design: basline}
out_of_domain: [mams:d9]
validation: {controls: [es-sd]}
"""
    told = refused(tmp_path, text)
    for part in (
        'Unknown key "sed". Did you mean "seeds"?',
        "seeds: lists 1 more than once",
        '"../elsewhere" cannot name a folder',
        'Unknown axis "fromat". Did you mean "format"?',
        'Unknown option of labels "nmber". Did you mean "number"?',
        "axes.reasoning lists no option",
        'Unknown axis "unmentoned". Did you mean "unmentioned"?',
        'train.learning_rate: "fast" is not allowed',
        'Unknown key "train.train_bath_size". Did you mean "train_batch_size"?',
        'Did you mean "weighted_kappa"?',
        'Unknown search method "gird". Did you mean "grid"?',
        'Unknown design "basline". Did you mean "baseline"?',
        'Unknown design "es-sd". Did you mean "es-sde"?',
        "out_of_domain: ",
    ):
        assert part in told, (part, told)
    assert told.startswith(f"{tmp_path / 'study.yaml'}: 14 faults\n  - ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no mapping"),
        ("[1, 2]", "holds no mapping"),
        ("task: masa:d1\ntask: masa:d2\n", 'line 2, column 1: the key "task" stands twice'),
        ("task: masa:d1\ntrain: {lr: 1, lr: 2}\n", 'the key "lr" stands twice'),
        ("task: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("task: [masa:d1\n", "is no valid YAML: line 2"),
        ("seeds: [0]\n", '"task" is missing'),
        ("task: maza:d1\n", "maza"),
        ("task: masa:d1\ntrain: 3\n", "train: 3 is not allowed"),
        ("task: masa:d1\nsearch: {method: grid, n_trials: 5}\n", "grid tries every design. Set search.method: random"),
        ("task: masa:d1\nsearch: {method: random, asha: {rungs: [0.5]}}\n", "must rise from above 0 and end with 1.0"),
        ("task: masa:d1\nsearch: {method: random, asha: {rungs: [0.5, 0.25, 1.0]}}\n", "must rise"),
        ("task: masa:d1\nsearch: {rungs: [0.5, 0.25]}\n", "must rise from above 0 and end with 1.0"),
        ("task: masa:d1\nsearch: {asha: {}}\n", "adaptive decides itself which trials go on. Set search.rungs"),
        ("task: masa:d1\nsearch: {method: random, asha: {}, rungs: [1.0]}\n", "both set rungs"),
        (
            "task: masa:d1\nsearch: {interactions: [[format, labels]]}\n",
            "search.interactions is for search.method: fact",
        ),
        ("task: masa:d1\nseeds: [101]\n", "validation.seeds [101] are seeds of the sweep, too"),
        ("task: masa:d1\nseeds: []\n", "seeds"),
        ("task: masa:d1\nobjective: {split: test}\n", "objective.split"),
        ("task: masa:d1\ndesigns: [baseline]\naxes: {format: json}\n", "`designs` lists the designs"),
        ("task: masa:d1\nformat: json\n", 'Unknown key "format": it is an axis of the design. To pin it'),
        (
            "task: masa:d1\nresources: {resources_per_worker: {CPU:1}}\n",
            'YAML wants a blank after the colon: "CPU: 1".',
        ),
        ("task: masa:d1\nresources: {num_workers: 2, resources_per_worker: {GPU: 0.5}}\n", "cannot share a GPU"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


@pytest.mark.parametrize("given", ["train.learning_rate", "=3", ".lr=3", "train.=3"])
def test_a_set_without_key_and_value_is_refused(tmp_path: Path, given: str) -> None:
    assert "Write --set key=value" in refused(tmp_path, "task: masa:d1\n", given)


def test_a_set_into_a_plain_value_is_refused(tmp_path: Path) -> None:
    assert '"seeds" is [0], not a section' in refused(tmp_path, "task: masa:d1\nseeds: [0]\n", "seeds.first=1")


def test_a_missing_file_suggests_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("task: masa:d1\n")
    with pytest.raises(UserError, match=r'There is no file.*Did you mean "quickstart.yaml"\?'):
        load_config(tmp_path / "quikstart.yaml")
    with pytest.raises(UserError, match=r'There is no file.*nothing.yaml". There are: quickstart.yaml. Give the path'):
        load_config(tmp_path / "nothing.yaml")


def test_data_in_place_of_a_sweep_lead_to_init(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": "c", "label": "d"}\n')
    with pytest.raises(UserError, match=r'tickets.jsonl" is data, no sweep. sde-ray init .*tickets.jsonl'):
        load_config(tmp_path / "tickets.jsonl")


def test_a_file_that_is_not_utf8_or_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("task: masa:d1 # caf\xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml")
    with pytest.raises(UserError, match="Cannot read"):
        load_config(tmp_path)


def test_resolved_is_complete_json_without_passwords(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "task: masa:d1\nmlflow: {tracking_uri: 'https://me:hunter2@host/x'}\n"
        "resources: {env_vars: {HF_TOKEN: hf_abc, HTTP_PROXY: 'http://u:p4ss@proxy', LANG: C}}\n",
    )
    plain = resolved(config)
    text = json.dumps(plain)
    assert set(plain) == set(SweepConfig.model_fields)
    assert plain["mlflow"]["tracking_uri"] == "https://me:***@host/x"
    assert plain["resources"]["env_vars"] == {"HF_TOKEN": "***", "HTTP_PROXY": "http://u:***@proxy", "LANG": "C"}
    assert not any(secret in text for secret in ("hunter2", "hf_abc", "p4ss"))
    assert mask("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"
    assert mask(None) is None


def test_a_task_written_out_in_the_sweep_can_be_built_again_from_a_trial_alone(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"room {n} is fine", "answer": {"room": "good"}} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values: dict[str, Any] = {
        "storage_path": str(tmp_path / "runs"),
        "train_sizes": 10,
        "eval_size": 5,
        "task": {
            "name": "my hotels/..",
            "kind": "label",
            "slots": ["room"],
            "labels": ["good", "bad"],
            "data": {"format": "jsonl", "path": "rows.jsonl"},
        },
    }
    config = load(tmp_path, yaml.safe_dump(values))
    ((name, task),) = open_tasks(config).items()
    assert name == task.name == "my hotels/.."
    trial = plan(config).trials[0].resolved()
    again = trial_task(trial["task"], trial["definition"])
    assert again.slots == task.slots == ("room",)
    assert again.load("train") == task.load("train") != []


def test_two_tasks_of_a_sweep_have_two_names(tmp_path: Path) -> None:
    task = "{name: masa:d1, kind: span, slots: [a], data: {format: jsonl, path: rows.jsonl}}"
    (tmp_path / "rows.jsonl").write_text("")
    for other in ("masa:d1", task):
        told = refused(tmp_path, f"task: [{task}, {other}]\n")
        assert 'two tasks are called "masa:d1". Give each a name of its own.' in told
    assert "two tasks" in refused(tmp_path, f"task: {task}\nout_of_domain: [masa:d1]\nsed: 1\n")


def test_a_faulty_written_out_task_is_told_with_the_other_faults(tmp_path: Path) -> None:
    told = refused(tmp_path, "task: {name: x, kind: labl, slots: [a]}\nsed: 1\n")
    assert "labl" in told
    assert 'Unknown key "sed"' in told


def test_every_field_is_documented() -> None:
    waiting: list[type[BaseModel]] = [SweepConfig]
    seen = 0
    while waiting:
        for name, field in waiting.pop().model_fields.items():
            assert field.description, name
            seen += 1
            kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
            waiting += [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert seen > 50


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_sweep_is_right_but_for_data_that_is_not_here(path: Path) -> None:
    try:
        load_config(path)
    except UserError as error:
        assert "data: there is no file" in str(error) and " faults" not in str(error)


def test_check_takes_plain_values() -> None:
    assert check({"name": "x", "task": "masa:d1"}).name == "x"


def test_the_written_sweep_is_sparse_and_reads_back_as_the_same(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        f"task: masa:d1\nstorage_path: {tmp_path / 'runs'}\nlora: {{r: 4}}\nsearch: {{method: random, asha: {{}}}}\n",
    )
    write_sweep(config)
    folder = tmp_path / "runs" / "study"
    written = yaml.safe_load((folder / "sweep.yaml").read_text())
    assert set(written) == {"name", "task", "storage_path", "lora", "search"}
    assert written["lora"] == {"r": 4}
    assert load_config(folder / "sweep.yaml") == config
    assert json.loads((folder / "resolved.json").read_text()) == resolved(config)


def test_storage_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    config = load(tmp_path, f"task: masa:d1\nstorage_path: {tmp_path / 'runs'}\n")
    with pytest.raises(UserError, match="Cannot write to .*Set storage_path to a folder with room"):
        write_sweep(config)


def test_settings_of_decoding_make_no_other_key_where_they_are_not_named(tmp_path: Path) -> None:
    assert Generation().rows is None
    assert dict(Generation().key_values) == dict(Generation(batch_size=32).key_values)
    assert dict(Generation().key_values) == {"batch_size": 32, "max_new_tokens": None}
    assert Generation(merge_adapter=False, batch_size=4).key_values == {
        "batch_size": 4,
        "max_new_tokens": None,
        "merge_adapter": False,
    }


@pytest.mark.parametrize(
    ("section", "name"), [("generation", "batch_size"), ("train", "gradient_accumulation_steps"), ("resources", "pack")]
)
def test_a_number_or_auto_is_refused_in_one_message(tmp_path: Path, section: str, name: str) -> None:
    for wrong in ("0", "many", "true", "1.5"):
        message = refused(tmp_path, f"task: masa:d1\n{section}: {{{name}: {wrong}}}\n")
        assert message.count("is neither auto nor a whole number of at least 1") == 1, message


def test_more_trials_in_a_pack_than_ray_can_count_are_refused(tmp_path: Path) -> None:
    assert "more than the 64 trials" in refused(tmp_path, "task: masa:d1\nresources: {pack: 65}\n")
