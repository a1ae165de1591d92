"""Firebase ID tokens: which count, and that all others are refused in the same words."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from src.auth.firebase import Claims, EmulatorVerifier, FirebaseVerifier, TokenRefused
from src.auth.signing_keys import FORCED_EVERY_S, KeysAway, SigningKeys
from src.main import create_app
from tests.callers import AUTHENTICATED, Callers, serving_callers
from tests.key_server import PROJECT, KeyServer, claims, private_key, unsigned
from tests.server import settings_for

NOW = time.time()


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.close()


def verify(keys: KeyServer, token: str) -> Claims:
    async def run() -> Claims:
        return await FirebaseVerifier(PROJECT, SigningKeys(keys.url)).verify(token)

    return asyncio.run(run())


def public_pem() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key(0).public_key().public_bytes(serialization.Encoding.PEM, form)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def with_header(keys: KeyServer, **header: Any) -> str:
    """A good token whose head says something else; what it signs is the new head."""
    head = {"alg": "RS256", "typ": "JWT", "kid": keys.kid} | header
    signed = f"{part(head)}.{part(claims('ada'))}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed.encode(), private_key(0))
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_hmac(keys: KeyServer) -> str:
    """A token that is signed with the public key as if it were a secret."""
    signed = f"{part({'alg': 'HS256', 'kid': keys.kid})}.{part(claims('ada'))}"
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(signed.encode(), public_pem())
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


CUSTOM = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
ROBOT = "firebase@study-test.iam.gserviceaccount.com"
BAD: dict[str, Callable[[KeyServer], str]] = {
    "expired": lambda keys: keys.sign(exp=int(NOW) - 120),
    "expired just past the leeway": lambda keys: keys.sign(exp=int(time.time()) - 31),
    "without an end": lambda keys: keys.sign(exp=None),
    "from the future": lambda keys: keys.sign(iat=int(NOW) + 3000),
    "without its beginning": lambda keys: keys.sign(iat=None),
    "signed in in the future": lambda keys: keys.sign(auth_time=int(NOW) + 3000),
    "without a sign-in": lambda keys: keys.sign(auth_time=None),
    "not yet valid": lambda keys: keys.sign(nbf=int(NOW) + 3000),
    "another project": lambda keys: keys.sign(aud="other"),
    "a list of projects": lambda keys: keys.sign(aud=[PROJECT]),
    "another issuer": lambda keys: keys.sign(iss="https://securetoken.google.com/other"),
    "a session cookie": lambda keys: keys.sign(iss=f"https://session.firebase.google.com/{PROJECT}"),
    "a custom token": lambda keys: keys.sign(ROBOT, iss=ROBOT, aud=CUSTOM, uid="ada"),
    "nobody": lambda keys: keys.sign(""),
    "no subject": lambda keys: keys.sign(None),
    "a number as subject": lambda keys: with_claims(keys, sub=7),
    "a subject too long": lambda keys: keys.sign("x" * 129),
    "an end that is a text": lambda keys: keys.sign(exp="9999999999"),
    "an end that is true": lambda keys: with_claims(keys, exp=True),
    "an end without end": lambda keys: with_claims(keys, exp=10**400),
    "an unknown key": lambda keys: keys.sign(header={"kid": "other"}),
    "no key": lambda keys: with_header(keys, kid=None),
    "a key that is a number": lambda keys: with_header(keys, kid=7),
    "no signature": lambda _: unsigned("ada"),
    "no signature, in capitals": lambda keys: f"{part({'alg': 'NONE', 'kid': keys.kid})}.{part(claims('ada'))}.",
    "the public key as a secret": with_hmac,
    "another algorithm": lambda keys: with_header(keys, alg="RS512"),
    "an algorithm in small letters": lambda keys: with_header(keys, alg="rs256"),
    "an extension": lambda keys: with_header(keys, crit=["x"], x=1),
    "a signature of something else": lambda keys: ".".join(
        [*keys.sign("ben").split(".")[:2], keys.sign("ada").split(".")[2]]
    ),
    "a changed claim": lambda keys: replaced(keys.sign("ada"), 1, part(claims("ben"))),
    "two dots too many": lambda keys: f"{keys.sign()}.x.y",
    "one part": lambda _: "abc",
    "a line feed": lambda keys: f"{keys.sign()}\n",
    "too long": lambda keys: keys.sign(more="x" * 9000),
    "no JSON": lambda keys: replaced(keys.sign(), 0, "e30"),
    "an array": lambda keys: replaced(keys.sign(), 1, part([])),
}


def replaced(token: str, index: int, text: str) -> str:
    parts = token.split(".")
    parts[index] = text
    return ".".join(parts)


def with_claims(keys: KeyServer, **changes: Any) -> str:
    """A token with claims that the library would not sign."""
    signed = f"{part({'alg': 'RS256', 'kid': keys.kid})}.{part(claims('ada') | changes)}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed.encode(), private_key(0))
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("kind", BAD)
def test_bad_token_is_refused(keys: KeyServer, kind: str) -> None:
    token = BAD[kind](keys)
    with pytest.raises(TokenRefused) as refusal:
        verify(keys, token)
    assert token not in str(refusal.value)


@pytest.mark.parametrize("form", ["x509", "jwk", "pem"])
def test_good_token_says_who_it_is(keys: KeyServer, form: str) -> None:
    keys.form = form
    assert verify(keys, keys.sign("ada")).user_id == "ada"
    assert verify(keys, keys.sign("x" * 128)).user_id == "x" * 128
    assert verify(keys, keys.sign("ada", exp=int(time.time()) - 20)).user_id == "ada"
    assert verify(keys, keys.sign("ada", iat=int(time.time()) + 20)).user_id == "ada"
    assert verify(keys, keys.sign("ada", header={"jku": "https://evil.example", "x5u": "x"})).user_id == "ada"


@pytest.mark.parametrize(
    ("given_claims", "role"),
    [
        ({}, ""),
        ({"role": "researcher"}, "researcher"),
        ({"role": "admin"}, "admin"),
        ({"roles": ["x", "researcher"]}, "researcher"),
        ({"researcher": True}, "researcher"),
        ({"admin": True, "role": "researcher"}, "admin"),
        ({"admin": "yes", "researcher": 1, "role": ["admin"], "roles": "admin"}, ""),
    ],
)
def test_role_is_a_claim(keys: KeyServer, given_claims: dict[str, Any], role: str) -> None:
    assert verify(keys, keys.sign("ada", **given_claims)).role == role


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_no_text_is_anything_but_refused(data: st.DataObject) -> None:
    header = data.draw(
        st.sampled_from([part({"alg": "RS256", "kid": "k"}), part({"alg": "none"}), "", "e30", "bnVsbA"])
    )
    text = data.draw(st.one_of(st.text(max_size=60), st.builds(lambda a, b: f"{header}.{a}.{b}", st.text(), st.text())))

    async def run(verifier: FirebaseVerifier | EmulatorVerifier) -> None:
        with pytest.raises((TokenRefused, KeysAway)):
            await verifier.verify(text)

    asyncio.run(run(FirebaseVerifier(PROJECT, SigningKeys("http://127.0.0.1:1/"))))
    asyncio.run(run(EmulatorVerifier(PROJECT)))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def with_keys(keys: KeyServer, work: Callable[[SigningKeys, Clock], Awaitable[None]], timeout_s: float = 5.0) -> None:
    async def run() -> None:
        clock = Clock()
        signing = SigningKeys(keys.url, timeout_s, clock)
        await work(signing, clock)
        await signing.close()

    asyncio.run(run())


def test_many_who_ask_at_once_cause_one_fetch(keys: KeyServer) -> None:
    async def work(signing: SigningKeys, _: Clock) -> None:
        found = await asyncio.gather(*(signing.find(keys.kid) for _ in range(100)))
        assert all(found)
        assert keys.requests == 1

    with_keys(keys, work)


def test_keys_are_fetched_again_in_the_background_before_they_end(keys: KeyServer) -> None:
    async def work(signing: SigningKeys, clock: Clock) -> None:
        assert await signing.find("key-0")
        clock.now += 2800
        assert await signing.find("key-0")
        await asyncio.sleep(0.05)
        assert keys.requests == 1
        keys.rotate()
        clock.now += 100
        assert await signing.find("key-0")
        await asyncio.sleep(0.2)
        assert keys.requests == 2
        assert await signing.find("key-1")
        assert await signing.find("key-0") is None

    with_keys(keys, work)


def test_unknown_key_forces_one_fetch_in_half_a_minute(keys: KeyServer) -> None:
    async def work(signing: SigningKeys, clock: Clock) -> None:
        assert await signing.find("key-0")
        for _ in range(20):
            assert await signing.find("other") is None
        assert keys.requests == 2
        keys.rotate()
        assert await signing.find("key-1") is None
        clock.now += FORCED_EVERY_S
        assert await signing.find("key-1")
        assert keys.requests == 3

    with_keys(keys, work)


def send(handler: Any, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


FAILURES: dict[str, Callable[[Any], None]] = {
    "500": lambda handler: send(handler, 500, b""),
    "a redirect": lambda handler: send(handler, 302, b"", Location="/x"),
    "garbage": lambda handler: send(handler, 200, b"<html>"),
    "no keys": lambda handler: send(handler, 200, b"{}"),
    "silence": lambda _: time.sleep(0.6),
    "a flood": lambda handler: send(handler, 200, b"x" * 3_000_000),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_old_keys_count_while_new_ones_cannot_be_had(keys: KeyServer, failure: str) -> None:
    async def work(signing: SigningKeys, clock: Clock) -> None:
        assert await signing.find("key-0")
        keys.answer = FAILURES[failure]
        for _ in range(3):
            clock.now += 100_000
            assert await signing.find("key-0")
            await asyncio.sleep(0.4)
        assert keys.requests == 4
        keys.answer = None
        keys.rotate()
        clock.now += 1000
        await signing.find("key-0")
        await asyncio.sleep(0.2)
        assert await signing.find("key-1")

    with_keys(keys, work, timeout_s=0.3)


@pytest.mark.parametrize("failure", FAILURES)
def test_without_any_keys_nobody_is_told_that_their_token_is_bad(keys: KeyServer, failure: str) -> None:
    async def work(signing: SigningKeys, clock: Clock) -> None:
        keys.answer = FAILURES[failure]
        for _ in range(5):
            with pytest.raises(KeysAway):
                await signing.find("key-0")
        # One try, and then a pause.
        assert keys.requests == 1
        clock.now += 6
        keys.answer = None
        assert await signing.find("key-0")

    with_keys(keys, work, timeout_s=0.3)


@pytest.fixture(scope="module")
def callers(shared_url: str) -> Iterator[Callers]:
    changes = AUTHENTICATED | {"auth_failures_per_address": 0}
    with serving_callers(create_app, shared_url, **changes) as made:
        made.admin.post("/users", json={"user_id": "ada"})
        yield made


def test_every_cause_has_the_same_answer(callers: Callers) -> None:
    answers = []
    for header in (
        {},
        *({"Authorization": f"Bearer {make(callers.keys)}".replace("\n", "")} for make in list(BAD.values())[:12]),
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "x"},
        {"X-API-Key": "bapi_x"},
        {"X-API-Key": ""},
        {"X-API-Key": "bapi_" + "0" * 46},
    ):
        answer = callers.client().get("/users/ada", headers=header)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"].startswith("Bearer")
        answers.append(answer.json() | {"request_id": ""})
    assert all(answer == answers[0] for answer in answers)


def test_credentials_that_are_given_twice_do_not_count(callers: Callers) -> None:
    token = f"Bearer {callers.keys.sign('ada')}"
    assert callers.client().get("/users/ada", headers={"Authorization": token}).status_code == 200
    twice = [("Authorization", token), ("Authorization", token)]
    assert callers.client().get("/users/ada", headers=twice).status_code == 401
    both = {"Authorization": token, "X-API-Key": callers.admin.headers["X-API-Key"]}
    assert callers.client().get("/users/ada", headers=both).status_code == 401


def test_disabled_accounts_and_revoked_tokens_do_not_count(callers: Callers) -> None:
    ada = callers.person("ada", auth_time=int(time.time()) - 100)
    assert ada.get("/users/ada").status_code == 200
    callers.admin.patch("/users/ada", json={"disabled": True})
    assert ada.get("/users/ada").status_code == 401
    callers.admin.patch("/users/ada", json={"disabled": False})
    assert ada.get("/users/ada").status_code == 200

    revoked_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 50))
    callers.admin.patch("/users/ada", json={"tokens_valid_after": revoked_at})
    assert ada.get("/users/ada").status_code == 401
    assert callers.person("ada", auth_time=int(time.time()) - 10).get("/users/ada").status_code == 200
    callers.admin.patch("/users/ada", json={"tokens_valid_after": None})


def test_people_cannot_help_themselves_to_a_role(callers: Callers) -> None:
    ada = callers.person("ada")
    for change in ({"role": "admin"}, {"disabled": False}, {"tokens_valid_after": None}):
        assert ada.patch("/users/ada", json=change).status_code == 400
        assert ada.put("/users/ada", json=change).status_code == 400
        assert ada.patch("/users?user_id=ada", json=change).status_code == 400
        assert ada.post("/users", json={"user_id": "ada"} | change).status_code == 400
    callers.admin.patch("/users/ada", json={"role": "researcher"})
    # What they may not see stays as it is when they replace their row. As a researcher they may not write at all.
    assert ada.get("/algos").status_code == 200
    assert ada.put("/users/ada", json={}).status_code == 403
    callers.admin.patch("/users/ada", json={"role": "nothing"})
    assert ada.put("/users/ada", json={}).status_code == 200
    assert callers.admin.get("/users/ada").json()["role"] == "nothing"


def test_keys_that_are_away_are_not_the_callers_fault(shared_url: str) -> None:
    with serving_callers(create_app, shared_url, **AUTHENTICATED) as callers:
        callers.keys.answer = FAILURES["500"]
        answer = callers.person("ada").get("/users/ada")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers


EMULATOR = {"firebase_auth_emulator_host": "127.0.0.1:9099", "environment": "development"}


@pytest.mark.parametrize(
    ("changes", "header", "status"),
    [
        ({}, {}, 404),
        ({}, {"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"environment": "production"}, {}, 401),
        ({"environment": "test"}, {}, 401),
        ({"firebase_auth_emulator_host": ""}, {}, 401),
        ({"host": "0.0.0.0"}, {}, 401),
    ],
)
def test_unsigned_tokens_count_in_development_on_this_machine_alone(
    shared_url: str, changes: dict[str, str], header: dict[str, str], status: int
) -> None:
    settings = AUTHENTICATED | EMULATOR | changes
    with serving_callers(create_app, shared_url, **settings) as callers:
        token = {"Authorization": f"Bearer {unsigned('eve')}"} | header
        assert callers.client().get("/users/eve", headers=token).status_code == status
        if status == 404:
            # In that mode nothing that is signed counts.
            assert callers.person("eve").get("/users/eve").status_code == 401


@pytest.mark.parametrize("changes", [{"environment": "production"}, {"host": "0.0.0.0"}, {"authentication": "off"}])
def test_emulator_that_does_not_count_is_said_to(
    shared_url: str, changes: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    for more, is_said in ((changes, True), ({}, False)):
        with serving_callers(create_app, shared_url, **(AUTHENTICATED | EMULATOR | more)):
            pass
        assert ("FIREBASE_AUTH_EMULATOR_HOST counts for nothing" in capfd.readouterr().err) is is_said


def test_too_many_failures_from_one_address_are_not_looked_at(shared_url: str) -> None:
    changes = AUTHENTICATED | {"auth_failures_per_address": 5, "credentials_cache_s": 60.0}
    with serving_callers(create_app, shared_url, **changes) as callers:
        ada = callers.person("ada")
        service = callers.service("algos:read")
        assert ada.get("/algos").status_code == service.get("/algos").status_code == 200
        statuses = [callers.client(headers={"X-API-Key": f"x{n}"}).get("/algos").status_code for n in range(10)]
        assert statuses == [401] * 5 + [429] * 5
        refused = callers.client(headers={"X-API-Key": "x"}).get("/algos")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        # Who was known before goes on.
        assert service.get("/algos").status_code == 200
        assert ada.get("/algos").status_code == 200
        assert callers.client().get("/health").status_code == 200


def test_project_is_needed_for_tokens(shared_url: str) -> None:
    with serving_callers(create_app, shared_url, authentication="on") as callers:
        assert callers.person("ada").get("/algos").status_code == 401
        assert callers.service("algos:read").get("/algos").status_code == 200


def test_authentication_is_on_once_there_is_a_project() -> None:
    url = "sqlite:///unused.db"
    assert settings_for(url, firebase_project_id="p").is_authenticated
    assert not settings_for(url, firebase_project_id="p", authentication="off").is_authenticated
    assert not settings_for(url).is_authenticated
    assert httpx.URL(settings_for(url).firebase_keys_url).host == "www.googleapis.com"
