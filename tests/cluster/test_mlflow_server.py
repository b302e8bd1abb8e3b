"""cluster/mlflow: what its compose file promises, and its server really started, with a login, against PostgreSQL.

Containers are not at hand in the tests: the command and the environment of the service are run as processes, with the
image's own `basic_auth.ini`. Where there is no PostgreSQL (`initdb`), the database is a sqlite file.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.nodes import free_port, kill

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "mlflow"
SECRETS = {
    "POSTGRES_PASSWORD": "p" * 48,
    "MLFLOW_AUTH_ADMIN_PASSWORD": "a" * 48,
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 48,
}
STARTS = 400.0  # seconds; the first start makes the tables


def compose(env: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """The compose file, with its variables filled in as `docker compose` does."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    variable = re.compile(r"\$\{(\w+)(?::([-?])([^${}]*))?\}")

    def fill(match: re.Match[str]) -> str:
        name, mark, word = match.groups()
        if value := env.get(name):
            return value
        assert mark == "-", f"{name}: {word}"
        return word or ""

    while variable.search(text):
        text = variable.sub(fill, text)
    read: dict[str, Any] = yaml.safe_load(text)
    return read


# ---- what the file says ----------------------------------------------------------------------------------------------


def test_every_image_has_an_exact_tag() -> None:
    services = compose()["services"]
    assert {name: service["image"] for name, service in services.items()} == {
        "database": "postgres:17.10-bookworm",
        "mlflow": f"sde-mlflow:{pins()['mlflow']}",
    }


def pins() -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))


def test_it_waits_until_it_is_healthy() -> None:
    services = compose()["services"]
    assert services["mlflow"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "pg_isready" in services["database"]["healthcheck"]["test"]
    assert "/health" in services["mlflow"]["healthcheck"]["test"][-1]
    compile(services["mlflow"]["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert "up --detach --build --wait" in (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def test_it_asks_for_a_login_and_listens_here_alone() -> None:
    service = compose()["services"]["mlflow"]
    assert service["command"][-2:] == ["--app-name", "basic-auth"]
    assert service["ports"] == ["127.0.0.1:5000:5000"]
    assert service["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"] == "localhost:5000,127.0.0.1:5000"
    assert "ports" not in compose()["services"]["database"]


@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_it_does_not_start(name: str) -> None:
    with pytest.raises(AssertionError, match=rf"{name}: make cluster/mlflow/\.env as the first lines"):
        compose({**SECRETS, name: ""})


def test_no_secret_is_an_argument_or_in_a_file_of_the_repository() -> None:
    service = compose()["services"]["mlflow"]
    assert not [word for word in service["command"] for secret in SECRETS.values() if secret in word]
    assert "password" not in re.sub(r"(?m)^#.*$", "", (FOLDER / "basic_auth.ini").read_text(encoding="utf-8"))
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_runs_accounts_and_artifacts_outlive_the_containers() -> None:
    """`down` keeps named volumes; the accounts are in the database of the runs."""
    read = compose()
    assert set(read["volumes"]) == {"database", "artifacts"}
    assert read["services"]["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    service = read["services"]["mlflow"]
    assert service["volumes"] == [f"artifacts:{service['environment']['MLFLOW_ARTIFACTS_DESTINATION']}"]
    uri = service["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert f"database_uri = {uri}\n" in (FOLDER / "basic_auth.ini").read_text(encoding="utf-8")


def test_the_image_has_what_the_login_and_the_database_need() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    (line,) = re.findall(r"pip install (.*?)&&", text.replace("\\\n", ""), re.DOTALL)
    packages = [re.sub(r'"|\[.*?\]', "", word) for word in line.split() if not word.startswith("-")][1:]
    assert {"mlflow", "psycopg", "boto3"} <= set(packages) <= set(pins())
    assert '"mlflow[auth]"' in line and {"Flask-WTF", "WTForms", "psycopg-binary"} <= set(pins())
    assert "USER 1000" in text


# ---- what it does ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a PostgreSQL of this test's own; empty where there is none."""
    if not (initdb := shutil.which("initdb")):
        yield {}
        return
    pytest.importorskip("psycopg")
    folder = Path("/tmp") / f"sde-pg-{os.getpid()}"  # sockets need a short path, which another user may enter
    folder.mkdir(mode=0o755)
    (folder / "password").write_text(SECRETS["POSTGRES_PASSWORD"], encoding="utf-8")
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if user:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
        shutil.chown(folder / "password", "nobody", "nogroup")
    data, port = str(folder / "data"), free_port()
    make = [initdb, "--pgdata", data, "--auth=scram-sha-256", "--username=mlflow", f"--pwfile={folder / 'password'}"]
    server = None
    try:
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **user)
        postgres = str(Path(initdb).with_name("postgres"))
        serve = [postgres, "-D", data, "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user)
        env = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "mlflow"}
        env["PGPASSWORD"] = SECRETS["POSTGRES_PASSWORD"]
        _create_database(env)
        yield env
    finally:
        if server is not None:
            kill([server.pid])
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _create_database(env: Mapping[str, str]) -> None:
    import psycopg

    deadline = time.monotonic() + STARTS
    while True:
        try:
            with psycopg.connect(
                host=env["PGHOST"],
                port=int(env["PGPORT"]),
                user=env["PGUSER"],
                password=env["PGPASSWORD"],
                dbname="postgres",
                autocommit=True,
            ) as connection:
                connection.execute("CREATE DATABASE mlflow")
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.2)


class Server:
    """The service `mlflow` of the compose file, as a process: `up`, `down`, and requests to it."""

    def __init__(self, folder: Path, database: Mapping[str, str]) -> None:
        service = compose()["services"]["mlflow"]
        self.port = free_port()
        places = {"0.0.0.0": "127.0.0.1", "5000": str(self.port), "2": "1"}  # one worker starts sooner
        self.command = [sys.executable, "-m", *(places.get(word, word) for word in service["command"])]
        ini = (FOLDER / "basic_auth.ini").read_text(encoding="utf-8")
        store = service["environment"]["MLFLOW_BACKEND_STORE_URI"]
        if not database:
            sqlite = f"sqlite:///{folder / 'mlflow.db'}"
            ini, store = ini.replace(store, sqlite), sqlite
        (folder / "basic_auth.ini").write_text(ini, encoding="utf-8")
        self.env = {
            **os.environ,
            **SECRETS,
            **service["environment"],
            **database,
            "MLFLOW_BACKEND_STORE_URI": store,
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
            "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{self.port}",
        }
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it; returns when the health check of the compose file passes."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTS
        while self.ask("/health")[0] != 200:
            text = (self.folder / "server.log").read_text(errors="replace")
            assert time.monotonic() < deadline and self.process.poll() is None, text[-2000:]
            time.sleep(0.3)

    def down(self) -> None:
        if self.process is not None:
            kill([self.process.pid])
            self.process.wait()
            self.process = None

    def ask(self, path: str, login: str = "", body: object = None) -> tuple[int, Any]:
        """(status, what it answers) to a request, with a login `user:password`; 0: nobody answers."""
        headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text.startswith(b"{") else text
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, None


@pytest.mark.cluster
@pytest.mark.long
def test_the_server_starts_asks_for_a_login_and_keeps_its_accounts(tmp_path: Path, database: dict[str, str]) -> None:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed (it is among the dev requirements)")
    server = Server(tmp_path, database)
    admin = f"admin:{SECRETS['MLFLOW_AUTH_ADMIN_PASSWORD']}"
    search = "/api/2.0/mlflow/experiments/search?max_results=10"
    driver = "driver:" + "d" * 24
    name, password = driver.split(":")
    try:
        server.up()
        assert server.ask(search)[0] == 401
        assert server.ask(search, "admin:password1234")[0] == 401
        assert server.ask(search, admin)[0] == 200
        account = {"username": name, "password": password}
        assert server.ask("/api/2.0/mlflow/users/create", admin, account)[0] == 200
        created = server.ask("/api/2.0/mlflow/experiments/create", driver, {"name": "sweep"})
        assert created[0] == 200
        server.down()
        server.up()
        status, answer = server.ask(search, driver)
        assert status == 200 and "sweep" in {one["name"] for one in answer["experiments"]}
        run = {"experiment_id": created[1]["experiment_id"]}
        assert server.ask("/api/2.0/mlflow/runs/create", driver, run)[0] == 200, "the rights are kept, too"
    finally:
        server.down()
