"""Secrets that the tests give to the service, and a watch for them over all that the whole suite writes and answers.

Every API key and every token of the tests can be told by its form; passwords, the tombstones' key and an address of
mail are the canaries below, and stand in the settings and rows that all tests share. After each test everything that
was written to standard output, standard error and the logs is searched, and so is every answer that `httpx` has read.
"""

import re

import httpx
import pytest

PASSWORD = "canary-password-of-the-database"
TOMBSTONE_KEY = "canary-key-of-the-tombstones-0123456789"
EMAIL = "ada@example.org"

_secret = rf"bapi_[0-9A-Za-z]{{40}}|eyJ[\w-]{{8,}}\.(?:eyJ)?[\w-]{{8,}}\.[\w-]*|{PASSWORD}|{TOMBSTONE_KEY}"
_find_secret = re.compile(_secret).search
# Rows are answered to whom they belong to, but nothing of them is ever logged.
_find_in_log = re.compile(rf"{_secret}|{re.escape(EMAIL)}").search
_find_in_bytes = re.compile(_secret.encode()).search
# A page of scripts is no answer about rows.
MAX_ANSWER_BYTES = 1_000_000

answered: list[str] = []
"""Where a secret was seen in an answer, since the last look."""


def watch_answers() -> None:
    """Look through every answer that a client of `httpx` reads from now on."""
    read = httpx.Response.read

    def read_and_look(self: httpx.Response) -> bytes:
        is_new = not hasattr(self, "_content")
        content = read(self)
        if is_new and len(content) < MAX_ANSWER_BYTES:
            _look(self, content)
        return content

    httpx.Response.read = read_and_look  # type: ignore[method-assign]


def _look(answer: httpx.Response, content: bytes) -> None:
    # Substrings first: they are found faster than the pattern.
    is_suspect = any(word in content for word in (b"bapi_", b"eyJ", b"canary-"))
    if (is_suspect and _find_in_bytes(content)) or _find_secret(str(answer.headers)):
        answered.append(f"{answer.status_code} {answer.url}: {content[:500]!r}")


def find_leaks(report: pytest.TestReport) -> list[str]:
    """What of one phase of a test shows a secret: lines that were written, and answers."""
    found = [line for _, text in report.sections for line in text.splitlines() if _shows_secret(line)]
    found += answered
    answered.clear()
    return found


def _shows_secret(line: str) -> bool:
    # What the tests' own client writes of its requests is no output of the service.
    return bool(_find_in_log(line)) and "HTTP Request: " not in line


def check(report: pytest.TestReport) -> pytest.TestReport:
    """Fail a test during which a secret was seen."""
    if leaks := find_leaks(report):
        report.outcome = "failed"
        report.longrepr = "\n".join(("A secret was logged or answered (tests/canaries.py):", *leaks))
    return report
