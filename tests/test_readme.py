"""What the README and the contract tell a newcomer to run does what they say."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.service_process import ServiceProcess

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def service(migrated_url: str) -> Iterator[httpx.Client]:
    with ServiceProcess({"DATABASE_URL": migrated_url}) as process:
        process.start()
        process.wait_until_up()
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=30) as client:
            yield client


def test_example_walks_through_all_resources(service: httpx.Client) -> None:
    environment = os.environ | {"BASE_URL": str(service.base_url)}
    command = [sys.executable, "examples/basic_usage.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for path in ("/users", "/sessions", "/recordings", "/algos", "/events"):
        assert f"POST {path}  ->  201" in done.stdout
        assert service.get(path).json() == []


def test_sample_study_is_sent_once(service: httpx.Client) -> None:
    environment = os.environ | {"BASE_URL": str(service.base_url)}
    command = [sys.executable, "examples/sample_study.py"]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert service.get("/events?count=exact").headers["x-total-count"] == "10"


@pytest.mark.parametrize("example", ["basic_usage", "sample_study"])
def test_example_says_when_nothing_answers(example: str) -> None:
    environment = os.environ | {"BASE_URL": "http://127.0.0.1:9"}
    command = [sys.executable, f"examples/{example}.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "make serve" in done.stderr


def test_requests_of_the_readme_answer_as_it_says(service: httpx.Client) -> None:
    body = re.search(r"-d '(\{.*?\})'", README)
    answer = re.search(r"^(\{\"user_id\".*\})$", README, re.MULTILINE)
    assert body is not None
    assert answer is not None
    created = service.post("/users", json=json.loads(body.group(1)))
    assert created.status_code == 201
    shown = json.loads(answer.group(1))
    assert created.json() | {"created_at": "", "updated_at": ""} == shown | {"created_at": "", "updated_at": ""}
    refused = service.get("/users?siz=5")
    assert refused.json()["detail"] in README
    event = {"device_id": "pixel-1", "seq": 1, "event_type": "tap", "ts": "2026-01-31T09:30:00Z"}
    assert service.post("/events/-/batch", json=[event]).json()["accepted"] == 1
    for path in re.findall(r"^\| `GET (\S+)`", README, re.MULTILINE):
        # One of them has no end.
        with service.stream("GET", path) as answer:
            assert answer.status_code == 200, path


def test_every_endpoint_of_the_readme_exists(service: httpx.Client) -> None:
    paths = service.get("/openapi.json").json()["paths"]
    for path in re.findall(r"`(?:GET|PUT|POST|DELETE) (/\w+)", README):
        assert any(known == path or known.startswith(f"{path}/") for known in paths), path


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_commands_of_the_contract_work_in_a_fresh_folder(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", "venv", ".git", "data", ".*_cache", ".env"))
    shutil.copy(folder / ".env.example", folder / ".env")
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    for command in (
        ["alembic", "upgrade", "head"],
        ["alembic", "downgrade", "-1"],
        ["scripts.migrate"],
        ["scripts.generate_models", "--check"],
        ["alembic", "revision", "--autogenerate", "-m", "nothing yet"],
        ["alembic", "upgrade", "head"],
        ["scripts.reset_and_migrate", "--yes"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert (folder / "data" / "backend.db").exists()
    before = len(list((ROOT / "migrations" / "versions").glob("*.py")))
    assert len(list((folder / "migrations" / "versions").glob("*.py"))) == before + 1


def test_development_server_serves(migrated_url: str) -> None:
    command = (sys.executable, "-m", "uvicorn", "src.main:app", "--port")
    with ServiceProcess({"DATABASE_URL": migrated_url}) as probe:
        port = probe.port
    with ServiceProcess({"DATABASE_URL": migrated_url}, (*command, str(port))) as process:
        process.port = port
        process.start()
        process.wait_until_up("/users")
        base_url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{base_url}/docs").status_code == 200
        assert httpx.post(f"{base_url}/users", json={"user_id": "ada"}).status_code == 201
