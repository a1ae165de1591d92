"""Settings: a bad one stops the start with one sentence, and `.env.example` knows them all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.config import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "0", "greater than or equal to 1"),
        ("PORT", "eighty", "valid integer"),
        ("POOL_SIZE", "0", "greater than or equal to 1"),
        ("STATEMENT_TIMEOUT_S", "0", "greater than 0"),
        ("LOG_LEVEL", "LOUD", "DEBUG"),
        ("ENVIRONMENT", "prod", "production"),
        ("DATABASE_URL", "mysql://db/x", "sqlite:///path/to/file or postgresql://"),
        ("DATABASE_URL", "nonsense", "no database URL"),
        ("DATABASE_URL", "sqlite://", "names no file"),
        ("DATABASE_URL", "sqlite:///:memory:", "names no file"),
        ("DATABASE_URL", "postgresql://db:port/x", "port"),
        ("CORS_ORIGINS", "*", "name each origin"),
        ("CORS_ORIGINS", "study.example", "name each origin"),
        ("CORS_ORIGINS", "https://study.example/", "'https://study.example/'"),
        ("CORS_ORIGINS", "https://a.example,https://*.example", "'https://*.example'"),
        ("CORS_ORIGINS", "https://Study.example", "name each origin"),
        ("FIREBASE_KEYS_URL", "keys.example", "https://host/path"),
        ("FIREBASE_KEYS_URL", "file:///etc/keys", "https://host/path"),
        ("FIREBASE_PROJECT_ID", "My study", "match pattern"),
        ("FORWARDED_ALLOW_IPS", "*", "name the addresses or networks"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.5,0.0.0.0/0", "name the addresses or networks"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.5/8", "host bits set"),
        ("FORWARDED_ALLOW_IPS", "proxy.example", "'proxy.example'"),
        ("RATE_LIMIT_WINDOW_S", "0", "greater than or equal to 1"),
    ],
)
def test_bad_setting_stops_the_start_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        load_settings()
    sentence = str(stop.value)
    assert name in sentence
    assert reason in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "origins", ["https://study.example", "http://localhost:3000, capacitor://localhost", "https://[::1]:8443"]
)
def test_origins_are_taken_as_browsers_send_them(origins: str) -> None:
    settings = Settings(_env_file=None, cors_origins=origins)
    assert settings.allowed_origins == tuple(origins.split(", "))


def test_file_that_is_no_text_stops_the_start_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes("PORT=8111\n".encode("utf-16"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"\.env is no text in UTF-8"):
        load_settings()


def test_production_server_stops_without_a_traceback() -> None:
    environment = os.environ | {"PORT": "none"}
    done = subprocess.run([sys.executable, "main.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "PORT" in done.stderr


def test_example_file_names_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)
    for name in named:
        monkeypatch.delenv(name, raising=False)
    defaults = Settings(_env_file=None)
    assert Settings(_env_file=ROOT / ".env.example") == defaults


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8111\nPOOL_SIZE=3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "8222")
    settings = load_settings()
    assert (settings.port, settings.pool_size) == (8222, 3)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret%40x@db:5432/study", "postgresql://ada:***@db:5432/study"),
        ("postgresql://db/study", "postgresql://db/study"),
        ("postgresql://ada@db/study?password=s3cret&a=b", "postgresql://ada@db/study?password=***&a=b"),
        (
            "postgresql://ada:s@db/x?sslmode=require&sslpassword=t",
            "postgresql://ada:***@db/x?sslmode=require&sslpassword=***",
        ),
        ("sqlite:///data/backend.db", "sqlite:///data/backend.db"),
    ],
)
def test_password_is_not_shown(url: str, shown: str) -> None:
    settings = Settings(_env_file=None, database_url=url)
    assert settings.safe_url == shown
    assert settings.url.render_as_string(hide_password=False).startswith(url.partition("?")[0])


@pytest.mark.parametrize(("url", "workers"), [("sqlite:///x.db", 1), ("postgresql://db/x", 2), ("postgres://db/x", 2)])
def test_sqlite_gets_one_worker(url: str, workers: int) -> None:
    assert Settings(_env_file=None, database_url=url, web_concurrency=None).workers == workers


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("db.example", False),
    ],
)
def test_loopback_is_known(host: str, is_loopback: bool) -> None:
    assert Settings(_env_file=None, host=host).is_loopback is is_loopback
