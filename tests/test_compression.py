"""Answers over a kilobyte are compressed for clients that take it; what they are does not change."""

import gzip

import httpx
import pytest
import zstandard

from src.api.compression import CODINGS

UNPACK = {
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    "gzip": gzip.decompress,
    None: lambda body: body,
}


def raw(client: httpx.Client, url: str, accepted: str | None, method: str = "GET") -> tuple[httpx.Response, bytes]:
    """An answer as it came over the wire."""
    request = client.build_request(method, url)
    del request.headers["accept-encoding"]
    if accepted is not None:
        request.headers["accept-encoding"] = accepted
    answer = client.send(request, stream=True)
    body = b"".join(answer.iter_raw())
    answer.close()
    return answer, body


CHOICES = [
    ("zstd", "zstd"),
    ("gzip", "gzip"),
    ("gzip, deflate, br, zstd", "zstd"),
    ("gzip, deflate", "gzip"),
    ("gzip;q=1.0, zstd;q=0.5", "gzip"),
    ("zstd;q=0, gzip;q=0", None),
    ("*", "zstd"),
    ("*;q=0.1, gzip", "gzip"),
    ("identity", None),
    ("identity, gzip;q=0.5", None),
    ("br", None),
    ("", None),
    (None, None),
    ("GZIP;Q=0.8", "gzip"),
    (";;,=,q", None),
]


@pytest.mark.parametrize(("accepted", "coding"), CHOICES)
@pytest.mark.parametrize("url", ["/events?size=100", "/events?format=ndjson", "/openapi.json"])
def test_answer_is_packed_as_the_client_takes_it(
    asked: httpx.Client, accepted: str | None, coding: str | None, url: str
) -> None:
    _, plain = raw(asked, url, None)
    answer, body = raw(asked, url, accepted)
    assert answer.headers.get("content-encoding") == coding
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert UNPACK[coding](body) == plain
    if coding:
        assert len(body) < len(plain) / 2
    if "content-length" in answer.headers:
        assert answer.headers["content-length"] == str(len(body))


@pytest.mark.parametrize("name", ["zstd", "gzip"])
def test_bodies_that_are_sent_at_the_same_time_do_not_mix(name: str) -> None:
    coding = next(coding for coding in CODINGS if coding.name.decode() == name)
    bodies = [bytes([letter]) * 300_000 for letter in b"abc"]
    compressors = [coding.compressor() for _ in bodies]
    packed = [b""] * len(bodies)
    for place in range(0, 300_000, 50_000):
        for number, compressor in enumerate(compressors):
            packed[number] += compressor.compress(bodies[number][place : place + 50_000])
    assert [UNPACK[name](each + c.flush()) for each, c in zip(packed, compressors, strict=True)] == bodies


def test_small_answers_and_packed_formats_are_left_as_they_are(asked: httpx.Client) -> None:
    for url in ("/events?size=1", "/algos/pitch", "/health", "/events?format=parquet"):
        assert "content-encoding" not in raw(asked, url, "zstd, gzip")[0].headers


def test_head_says_the_length_of_what_get_sends(asked: httpx.Client) -> None:
    for accepted in ("gzip", None):
        answer, body = raw(asked, "/events?size=100", accepted)
        head, nothing = raw(asked, "/events?size=100", accepted, "HEAD")
        assert head.headers["content-length"] == answer.headers["content-length"] == str(len(body))
        assert nothing == b""
