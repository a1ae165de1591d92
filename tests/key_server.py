"""A server of signing keys, and tokens that are signed with them: Google's part, played by the tests."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import NameOID

PROJECT = "study-test"


@cache
def private_key(number: int) -> RSAPrivateKey:
    """The same keys for all tests: each takes a tenth of a second to make."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@cache
def certificate(number: int) -> str:
    key = private_key(number)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    day = timedelta(days=1)
    made = builder.serial_number(1).not_valid_before(datetime.now(UTC) - day).not_valid_after(datetime.now(UTC) + day)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class KeyServer:
    """Publishes one key at a time. `answer` replaces what it answers; `requests` counts."""

    def __init__(self) -> None:
        self.number = 0
        self.requests = 0
        self.headers = {"Cache-Control": "public, max-age=3600"}
        self.form = "x509"
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                if owner.answer:
                    owner.answer(self)
                    return
                body = json.dumps(owner.published()).encode()
                self.send_response(200)
                for name, value in owner.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def kid(self) -> str:
        return f"key-{self.number}"

    def published(self) -> dict[str, Any]:
        if self.form == "x509":
            return {self.kid: certificate(self.number)}
        public = private_key(self.number).public_key()
        if self.form == "jwk":
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
            return {"keys": [jwk | {"kid": self.kid, "alg": "RS256", "use": "sig"}]}
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return {self.kid: public.public_bytes(serialization.Encoding.PEM, form).decode()}

    def rotate(self) -> None:
        self.number += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sign(self, user_id: Any = "ada", header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token of a person; `changes` replace claims, and take away those that are None."""
        head = {"kid": self.kid} | (header or {})
        return jwt.encode(claims(user_id, **changes), private_key(self.number), algorithm="RS256", headers=head)


def claims(user_id: Any, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "auth_time": now - 60,
        "sub": user_id,
        "iat": now - 60,
        "exp": now + 3600,
        "firebase": {"sign_in_provider": "password"},
    } | changes
    return {name: value for name, value in given.items() if value is not None}


def unsigned(user_id: str, **changes: Any) -> str:
    """A token as Firebase's emulator makes it."""
    return jwt.encode(claims(user_id, **changes), "", algorithm="none")
