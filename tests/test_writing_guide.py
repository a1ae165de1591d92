"""The requests in `docs/writing.md`, one after the other, answer what the page says, on both databases."""

import json
import re
from pathlib import Path
from typing import Any

import httpx

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "writing.md").read_text()
EXAMPLES = re.findall(r"^```http\n(.*?)^```\n```text\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
ANYTHING = "…"


def parts(message: str) -> tuple[str, dict[str, str], str]:
    """The first line of a message, its headers and its body."""
    head, _, body = message.rstrip("\n").partition("\n\n")
    first, *lines = head.split("\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def same(shown: Any, found: Any) -> bool:
    """Whether an answer is what the page shows, member by member and in that order."""
    if shown == ANYTHING:
        return isinstance(found, str)
    if isinstance(shown, dict) and isinstance(found, dict):
        return set(shown) == set(found) and all(same(shown[name], found[name]) for name in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(same, shown, found))
    return bool(shown == found)


def test_requests_answer_what_the_page_says(client: httpx.Client) -> None:
    assert len(EXAMPLES) == GUIDE.count("```http") > 15
    tag = ""
    for request, expected in EXAMPLES:
        line, headers, body = parts(request)
        method, url = line.split(" ", 1)
        headers = {name: tag if value == ANYTHING else value for name, value in headers.items()}
        headers = {"Content-Type": "application/json"} | headers if body else headers
        answer = client.request(method, url, content=body or None, headers=headers)
        status, shown_headers, shown_body = parts(expected)
        assert f"{answer.status_code} {answer.reason_phrase}" == status, (line, answer.text)
        for name, value in shown_headers.items():
            assert value in (ANYTHING, answer.headers[name]), line
        if shown_body:
            assert same(json.loads(shown_body), answer.json()), (line, answer.text)
        else:
            assert answer.content == b"", line
        tag = answer.headers.get("etag", tag)


def test_every_preference_stands_on_the_page() -> None:
    from src.api.preferences import BINDING, VALUES

    for name in BINDING:
        values = VALUES[name] if name == "resolution" else ()
        assert all(f"{name}={value}" in GUIDE for value in values)
        assert f"{name}=" in GUIDE
