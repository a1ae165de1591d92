"""A client that is generated from the OpenAPI document is usable: it does a round trip."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.main import app

EVENT_ID = "01994d5e-6f1c-7c3a-9d5b-3f2a1b0c4d5e"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a client, written by openapi-python-client."""
    folder = tmp_path_factory.mktemp("client")
    document, settings = folder / "openapi.json", folder / "settings.yml"
    document.write_text(json.dumps(app.openapi()))
    settings.write_text("post_hooks: []\n")
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate"]
    command += ["--path", str(document), "--config", str(settings), "--meta", "none", "--output-path"]
    done = subprocess.run([*command, str(folder / "study_client")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout.lower() + done.stderr.lower(), done.stdout
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def operation(resource: str, name: str) -> Any:
    return importlib.import_module(f"study_client.api.{resource}.{name}")


def test_generated_client_does_a_round_trip(client: httpx.Client, package: Path) -> None:
    models = importlib.import_module("study_client.models")
    api = importlib.import_module("study_client").Client(base_url=str(client.base_url))
    ts = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    body = models.EventCreate.from_dict(
        {"event_id": EVENT_ID, "event_type": "tap", "user_id": "ada", "ts": ts.isoformat(), "event_data": {"dur": 2}}
    )
    created = operation("events", "create_event").sync(client=api, body=body)
    assert (str(created.event_id), created.ts) == (EVENT_ID, ts)
    read = operation("events", "read_event").sync(EVENT_ID, client=api)
    assert read == created

    listing = operation("events", "list_events")
    assert listing.sync(client=api, user_id=["ada", "eve"], ts_gte="2026-01-31", sort="-ts") == [created]
    assert listing.sync(client=api, event_type=["open"]) == []
    counted = listing.sync_detailed(client=api, count=models.ListEventsCount.EXACT, size=1)
    assert counted.headers["x-total-count"] == "1"
    refused = listing.sync(client=api, ts_gte="soon")
    assert "takes a time" in refused.detail

    body = models.QueryEventsBody.from_dict({"user_id": ["ada"], "event_data.dur_gte": 1})
    assert operation("events", "query_events").sync(client=api, body=body) == [created]
    (group,) = operation("events", "aggregate_events").sync(client=api, group="event_type", select="count")
    assert group.to_dict() == {"event_type": "tap", "count": 1}

    update = models.EventUpdate.from_dict({"event_type": "open", "ts": ts.isoformat()})
    replaced = operation("events", "replace_event").sync(EVENT_ID, client=api, body=update)
    assert replaced.event_type == "open"
    assert operation("events", "delete_event").sync_detailed(EVENT_ID, client=api).status_code == 204
    assert operation("events", "read_event").sync(EVENT_ID, client=api).status == 404


def test_generated_client_walks_pages_by_cursor(client: httpx.Client, package: Path) -> None:
    """It sends `page=1`, the default, with everything."""
    api = importlib.import_module("study_client").Client(base_url=str(client.base_url))
    for number in range(5):
        client.post("/algos", json={"algo_id": f"a{number}", "recording_type": "x", "location": "x", "version": "1"})
    listing = operation("algos", "list_algos")
    unset = importlib.import_module("study_client.types").UNSET
    first = listing.sync_detailed(client=api, size=2, page=unset)
    cursor = httpx.Response(200, headers=dict(first.headers)).links["next"]["url"].partition("cursor=")[2]
    second = listing.sync(client=api, size=2, cursor=cursor)
    assert [algo.algo_id for algo in [*first.parsed, *second]] == ["a0", "a1", "a2", "a3"]
