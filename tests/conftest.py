"""What tests are given: real databases, SQLite and PostgreSQL, empty or migrated by our own migrations."""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from src.db.migration import upgrade
from src.main import create_app
from tests import canaries, study
from tests.postgres import PostgresServer
from tests.server import serving, serving_database, settings_for

DATABASES = ("sqlite", "postgresql")

canaries.watch_answers()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return canaries.check((yield))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=DATABASES)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database at the newest revision, without rows."""
    if request.param == "sqlite":
        copy = tmp_path / "migrated.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), copy)
        yield f"sqlite:///{copy}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database(template=request.getfixturevalue("postgresql_template"))
    yield url
    server.drop_database(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    upgrade(make_url(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    upgrade(make_url(url))
    yield url
    postgres_server.drop_database(url)


def _shared_url(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> str:
    """The URL of a migrated database that lives as long as the tests."""
    if request.param == "sqlite":
        path = folders.mktemp("shared") / "shared.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database(template=request.getfixturevalue("postgresql_template"))


@pytest.fixture(scope="module", params=DATABASES)
def shared_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a migrated database that the tests of a module share."""
    return _shared_url(request, tmp_path_factory)


@pytest.fixture(scope="session", params=DATABASES)
def idle_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that all tests share who store nothing."""
    with serving(create_app(settings_for(_shared_url(request, tmp_path_factory)))) as made:
        yield made


@pytest.fixture(scope="session", params=DATABASES)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that holds the small study of `study.py`, shared by all tests who only ask."""
    with serving(create_app(settings_for(_shared_url(request, tmp_path_factory)))) as made:
        study.load(made)
        yield made


@pytest.fixture
def client(migrated_url: str) -> Iterator[httpx.Client]:
    """A client of the service, on an empty database of its own."""
    with serving_database(migrated_url) as made:
        yield made
