"""Every request in `docs/querying.md` answers what the page says, on both databases."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from examples import sample_study
from src.main import create_app
from tests.server import serving, settings_for

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "querying.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A request, the lines of the answer's head that the page shows, and the answer."""

    request: str
    head: dict[str, str]
    body: str
    kind: str
    answer: str


def examples() -> Iterator[Example]:
    for (kind, request), (answer_kind, answer) in pairwise(BLOCKS):
        if kind == "http":
            line, _, rest = request.strip().partition("\n\n")
            head = dict(re.findall(r"^([\w-]+): (.*)$", rest, re.MULTILINE)) if rest.startswith("HTTP/") else {}
            yield Example(line, head, "" if head else rest, answer_kind, answer)


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def study(shared_url: str) -> Iterator[httpx.Client]:
    with serving(create_app(settings_for(shared_url))) as client:
        for path, rows in sample_study.rows().items():
            for row in rows:
                assert client.post(f"/{path}", json=row).status_code == 201
        yield client


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.request for example in EXAMPLES])
def test_request_answers_what_the_page_says(study: httpx.Client, example: Example) -> None:
    method, url = example.request.split(" ", 1)
    headers = {"Content-Type": "application/json"} if example.body else {}
    answer = study.request(method, url, content=example.body or None, headers=headers)
    if example.kind == "json":
        shown = json.loads(example.answer)
        found = answer.json()
        if "status" in shown:
            assert answer.status_code == shown["status"]
            assert found["detail"] == shown["detail"]
        else:
            assert found == shown
            assert json.dumps(found) == json.dumps(shown), "members stand in another order"
    else:
        assert answer.content.decode().replace("\r\n", "\n") == example.answer
    for name, value in example.head.items():
        assert answer.headers[name] == value


def test_every_operator_stands_on_the_page() -> None:
    from src.api.formats import FORMATS
    from src.api.parameters.filters import SUFFIXES
    from src.db.queries.measures import BUCKETS, FUNCTIONS

    names = [f"`_{suffix}`" for suffix in SUFFIXES if suffix != "eq"]
    names += [f"`{name}`" for name in (*FUNCTIONS, *FORMATS)] + [f"`.{unit}`" for unit in BUCKETS]
    assert [name for name in names if name not in GUIDE] == []
    assert len(EXAMPLES) > 20
