"""The proof in short: phones deliver while the service, PostgreSQL, connections and the disk fail."""

import pytest

from scripts import prove
from scripts.proof.target import can_mount

FEW = ["--participants", "3", "--speed", "400", "--seed", "11", "--clock-tolerance-ms", "100"]


@pytest.mark.parametrize("trial", ["worker", "service"])
def test_a_kill_loses_nothing(migrated_url: str, trial: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = prove.main([trial, *FEW, "--rounds", "2", "--database-url", migrated_url])
    assert code == 0, capsys.readouterr().out


def test_cut_connections_store_nothing_twice(migrated_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = prove.main(["cut", *FEW, "--rounds", "40", "--database-url", migrated_url])
    assert code == 0, capsys.readouterr().out


def test_a_killed_postgresql_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code = prove.main(["postgresql", *FEW, "--rounds", "2", "--database", "postgresql"])
    assert code == 0, capsys.readouterr().out


@pytest.mark.skipif(not can_mount(), reason="a small disk needs root")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_full_disk_loses_nothing_and_is_recovered_from(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = prove.main(["disk", *FEW, "--rounds", "1", "--database", database])
    assert code == 0, capsys.readouterr().out
