"""The simulator: the same study from the same seed, and a comparison that finds what is wrong."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts import simulate
from scripts.simulation.faults import CHANCES, parse_faults
from scripts.simulation.life import Life, stored_form
from scripts.simulation.receipts import covers, find_faults
from scripts.simulation.study import Study
from scripts.simulation.verify import Findings, verify
from scripts.simulation.wire import Wire
from src.main import create_app
from tests.databases import run_sql
from tests.server import serving, settings_for

STUDY = ["--participants", "3", "--days", "4", "--events-per-day", "40", "--clients", "3", "--seed", "2"]
KINDS = {"missing", "stored twice", "altered", "unknown", "receipts", "clocks", "answers"}


def run(client: httpx.Client, truth: Path, *words: str) -> int:
    return simulate.main([*STUDY, "--base-url", str(client.base_url), "--output", str(truth), *words])


def compare(client: httpx.Client, truth: Path) -> Findings:
    return verify(Wire(str(client.base_url)), truth, clock_tolerance_ms=50)


def counts(findings: Findings) -> dict[str, int]:
    return {kind: len(sentences) for kind, sentences in findings.faults.items() if sentences}


def test_what_phones_deliver_through_all_faults_is_there_once(
    client: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(client, tmp_path / "truth.jsonl", "--verify")
    assert code == 0, capsys.readouterr().out
    findings = compare(client, tmp_path / "truth.jsonl")
    assert findings.faults.keys() == KINDS
    assert findings.compared["events"] > 50
    assert findings.compared["numbers lost by phones"] > 0


def test_a_second_run_with_the_same_seed_stores_nothing_new(client: httpx.Client, tmp_path: Path) -> None:
    assert run(client, tmp_path / "truth.jsonl") == 0
    before = client.get("/events?count=exact&size=1").headers["x-total-count"]
    assert run(client, tmp_path / "truth.jsonl") == 0
    assert client.get("/events?count=exact&size=1").headers["x-total-count"] == before
    assert counts(compare(client, tmp_path / "truth.jsonl")) == {}


def test_damage_is_found(client: httpx.Client, migrated_url: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    assert run(client, truth) == 0
    ids = [row["event_id"] for row in client.get("/events?size=5&user_id=sim2-0001").json()]
    session = client.get("/sessions?size=1").json()[0]["session_id"]
    damage = [
        f"DELETE FROM event_log WHERE event_id = '{ids[0]}'",
        f"UPDATE event_log SET event_source = 'web' WHERE event_id = '{ids[1]}'",
        f"UPDATE event_log SET utc_offset_min = 99 WHERE event_id = '{ids[2]}'",
        f"UPDATE event_log SET sent_at = created_at WHERE event_id = '{ids[3]}'",
        f"UPDATE sessions SET ended_at = NULL WHERE session_id = '{session}'",
        "UPDATE receipts SET received_through = received_through + 1 WHERE device_id = "
        f"(SELECT device_id FROM event_log WHERE event_id = '{ids[1]}')",
        f"UPDATE session_clocks SET clock_offset_ms = clock_offset_ms + 60000 WHERE session_id = '{session}'",
    ]
    for statement in damage:
        run_sql(migrated_url, statement)
    twice = client.get(f"/events/{ids[4]}").json() | {"event_id": "019d0000-0000-7000-8000-000000000001"}
    del twice["device_id"], twice["seq"]
    assert client.post("/events", json=twice).status_code == 201
    run_sql(
        migrated_url,
        "UPDATE event_log SET device_id = (SELECT device_id FROM event_log WHERE event_id = '{0}'), "
        "seq = (SELECT seq FROM event_log WHERE event_id = '{0}') WHERE event_id = '{1}'".format(
            ids[4], twice["event_id"]
        ),
    )
    foreign = {"event_type": "tap", "ts": "2026-01-01T00:00:00Z", "user_id": "sim2-0001"}
    assert client.post("/events", json=foreign).status_code == 201
    found = counts(compare(client, truth))
    # The deleted event is still covered by the receipt, which is right: it was stored.
    assert found.pop("receipts") >= 1
    assert found == {"missing": 1, "altered": 4, "stored twice": 1, "unknown": 1, "clocks": 1}
    assert run(client, truth, "--verify") == 1


def test_a_service_that_is_away_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--base-url", "http://127.0.0.1:9", "--output", str(tmp_path / "truth.jsonl")]) == 1
    assert capsys.readouterr().err.startswith("Nothing answers at http://127.0.0.1:9")


def test_a_service_that_refuses_is_said_before_anything_is_written(
    migrated_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(create_app(settings_for(migrated_url, authentication="on"))) as client:
        assert run(client, tmp_path / "truth.jsonl") == 1
    assert "401: say who you are" in capsys.readouterr().err
    assert not (tmp_path / "truth.jsonl").exists()


def test_an_unknown_fault_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--faults", "gap,rain", "--output", str(tmp_path / "truth.jsonl")]) == 1
    assert "'rain'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--participants", "0"], ["--days", "-1"], ["--clients", "0"]])
def test_a_study_of_nothing_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        simulate.main(words)
    assert "is less than 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"), [("", "Nothing was compared"), ("{}\n", "line 1 of"), ("[]\n", "line 1 of"), ("no", "line 1 of")]
)
def test_what_is_no_truth_proves_nothing(
    client: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(text)
    assert run(client, truth, "--verify") == 1
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


@pytest.mark.parametrize("faults", ["", ",".join(CHANCES)])
def test_the_same_seed_makes_the_same_life(faults: str) -> None:
    study = Study(1, 1, 3, parse_faults(faults))
    lives = [list(Life(study, 0).stretches(3)) for _ in range(2)]
    assert lives[0] == lives[1]
    assert lives[0] != list(Life(study._replace(seed=2), 0).stretches(3))


def test_numbers_of_events_have_no_gaps_but_those_that_were_lost() -> None:
    stretches = list(Life(Study(1, 1, 7, parse_faults("gap")), 0).stretches(7))
    sent = {event["seq"] for stretch in stretches for event in stretch.events}
    lost = {seq for stretch in stretches for seq in stretch.lost}
    assert lost
    assert not sent & lost
    assert sent | lost == set(range(1, max(sent) + 1))


@pytest.mark.parametrize(
    ("said", "offset_min"),
    [
        ({"ts": "2026-01-05T10:00:00Z"}, None),
        ({"ts": "2026-01-05T10:00:00-03:30"}, -210),
        ({"ts": "2026-01-05T10:00:00+00:00"}, None),
        ({"ts": "2026-01-05T10:00:00Z", "utc_offset_min": 60}, 60),
    ],
)
def test_local_time_is_what_the_body_says_or_else_what_ts_says(said: dict[str, Any], offset_min: int | None) -> None:
    assert stored_form(said)["utc_offset_min"] == offset_min


RECEIPT = {"contiguous_through": 3, "received_through": 9, "missing": [[4, 5], [8, 8]]}


@pytest.mark.parametrize(("seq", "expected"), [(1, True), (3, True), (4, False), (5, False), (6, True), (10, False)])
def test_a_receipt_covers_what_is_not_missing(seq: int, expected: bool) -> None:
    assert covers(RECEIPT, seq) is expected


@pytest.mark.parametrize(
    ("acknowledged", "maybe", "faults"),
    [
        ({1, 2, 3, 6, 7, 9}, set(), 0),
        ({1, 2, 3, 6, 7}, {9, 10}, 0),
        ({1, 2, 3, 4, 6, 7, 9}, set(), 1),
        ({1, 2, 3, 6, 7}, set(), 1),
        ({1, 2, 3, 6, 7, 9, 12}, set(), 1),
    ],
)
def test_faults_of_receipts_are_found(acknowledged: set[int], maybe: set[int], faults: int) -> None:
    assert len(find_faults(RECEIPT, acknowledged, maybe)) == faults


def test_a_receipt_that_contradicts_itself_is_a_fault() -> None:
    assert len(find_faults(RECEIPT | {"contiguous_through": 4}, {1, 2, 3, 6, 7, 9}, set())) == 1
