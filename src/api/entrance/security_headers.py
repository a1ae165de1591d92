"""What every answer tells a browser not to do with it.

The service answers programs, so a browser that is led to an answer runs nothing, frames nothing and guesses no media
type. The pages of the documentation are the exception: they run their own scripts, and no others.
"""

import base64
import hashlib
import re
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Message, Scope

HeaderPairs = tuple[tuple[bytes, bytes], ...]

ON_EVERY_ANSWER: HeaderPairs = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    # It holds back what is fetched without CORS, as images and scripts are: an origin of CORS_ORIGINS reads as before.
    (b"cross-origin-resource-policy", b"same-origin"),
)
NOTHING_ALLOWED = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# For a year, and for this host alone: the service does not speak for its neighbours.
# Over plain HTTP browsers would ignore it (RFC 6797, 8.1).
HSTS = (b"strict-transport-security", b"max-age=31536000")
OVER_HTTP: HeaderPairs = (*ON_EVERY_ANSWER, NOTHING_ALLOWED)
OVER_HTTPS: HeaderPairs = (*OVER_HTTP, HSTS)

# Swagger UI and ReDoc write styles into their pages and draw images from data; ReDoc searches in a worker that it
# makes from its own text. Nothing is asked of another host.
PAGE_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_find_scripts = re.compile(rb"<script\b([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE).findall
_find_source = re.compile(rb"\bsrc\s*=", re.IGNORECASE).search


def security_headers(scope: Scope) -> HeaderPairs:
    """The headers of an answer that is no page; `scope` tells whether the request came by https."""
    return OVER_HTTPS if scope.get("scheme") == "https" else OVER_HTTP


def secure_messages(start: Message, body: Message, scope: Scope) -> None:
    """Add the headers to the first two messages of somebody else's answer, before it is compressed."""
    pairs = security_headers(scope)
    if not body.get("more_body") and _is_page(start):
        policy = (b"content-security-policy", page_policy(body.get("body", b"")))
        pairs = tuple(policy if pair is NOTHING_ALLOWED else pair for pair in pairs)
    start["headers"] = [*start["headers"], *pairs]


def _is_page(start: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in start["headers"])


@lru_cache(maxsize=16)
def page_policy(page: bytes) -> bytes:
    """The policy under which a page of ours runs: scripts of this service, and those that stand in the page.

    Those are named by their hashes, so a script that somebody smuggles into the page does not run.
    """
    inline = [script for attributes, script in _find_scripts(page) if not _find_source(attributes)]
    return PAGE_POLICY.format(scripts=" ".join(["'self'", *map(_hash_source, inline)])).encode()


def _hash_source(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


class SecuredCORS(CORSMiddleware):
    """CORS whose answers to preflights carry the headers too: they are given before the application is asked.

    They lack HSTS, which the answer to the request itself brings.
    """

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        response.raw_headers.extend(OVER_HTTP)
        return response
