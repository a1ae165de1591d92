"""Limits: what is let through in a window, what answers tell of it, and how much memory it may cost."""

from collections.abc import Callable

import pytest

from src.api.entrance.limits import Limiter
from src.core.errors import TooManyRequests
from src.main import create_app
from tests.server import serving, settings_for


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("src.api.entrance.limits.monotonic", clock)
    return clock


def test_as_many_requests_as_the_amount_are_let_through(clock: Clock) -> None:
    limiter = Limiter("principal", 3, 60)
    assert [limiter.hit("ada").is_allowed for _ in range(5)] == [True, True, True, False, False]
    assert limiter.hit("bob").is_allowed


def test_window_begins_with_the_first_request_and_refusals_do_not_prolong_it(clock: Clock) -> None:
    limiter = Limiter("principal", 1, 60)
    limiter.hit("ada")
    clock.now_s += 59.9
    assert not limiter.hit("ada").is_allowed
    clock.now_s += 0.1
    assert limiter.hit("ada").is_allowed
    assert not limiter.hit("ada").is_allowed


def test_answers_tell_what_is_left_and_until_when(clock: Clock) -> None:
    limiter = Limiter("principal", 2, 60)
    policy = (b"ratelimit-policy", b'"principal";q=2;w=60')
    assert limiter.hit("ada").headers == (policy, (b"ratelimit", b'"principal";r=1;t=60'))
    clock.now_s += 29.5
    assert limiter.hit("ada").headers == (policy, (b"ratelimit", b'"principal";r=0;t=31'))
    refused = limiter.hit("ada")
    assert refused.headers == (policy, (b"ratelimit", b'"principal";r=0;t=31'))
    assert refused.retry_after_s == 31


@pytest.mark.parametrize("waits_s", [0, 1e-9, 59.999999, 60])
def test_nobody_is_told_to_come_again_at_once(clock: Clock, waits_s: float) -> None:
    limiter = Limiter("principal", 1, 60)
    limiter.hit("ada")
    clock.now_s += waits_s
    assert 1 <= limiter.hit("ada").retry_after_s <= 60


def test_peeking_counts_nothing(clock: Clock) -> None:
    limiter = Limiter("failures", 2, 60)
    assert all(limiter.peek("ada").is_allowed for _ in range(5))
    assert limiter.peek("ada").headers[1] == (b"ratelimit", b'"failures";r=2;t=60')
    limiter.hit("ada")
    assert limiter.peek("ada").is_allowed
    limiter.hit("ada")
    assert not limiter.peek("ada").is_allowed
    clock.now_s += 60
    assert limiter.peek("ada").is_allowed


def test_keys_with_odd_characters_are_different_keys(clock: Clock) -> None:
    limiter = Limiter("principal", 1, 60)
    keys = ["", "/", "a/1", "a", "a/1/60", "ä", "\x00", "%2F", " a"]
    assert all(limiter.hit(key).is_allowed for key in keys)
    assert not any(limiter.hit(key).is_allowed for key in keys)


def test_no_more_keys_than_the_bound_are_kept(clock: Clock) -> None:
    limiter = Limiter("address", 1, 60, max_keys=100)
    for number in range(1000):
        assert limiter.hit(f"2001:db8:0:{number:x}::/64").is_allowed
        assert limiter.key_count <= 100


def test_past_the_bound_the_oldest_window_is_forgotten_and_nobody_else_is_refused(clock: Clock) -> None:
    limiter = Limiter("address", 1, 60, max_keys=3)
    for key in ("first", "second", "third"):
        limiter.hit(key)
    assert limiter.hit("fourth").is_allowed
    assert not limiter.peek("second").is_allowed
    assert not limiter.peek("third").is_allowed
    assert limiter.peek("first").is_allowed


def test_windows_that_have_passed_make_room_before_others_are_forgotten(clock: Clock) -> None:
    limiter = Limiter("address", 1, 60, max_keys=3)
    limiter.hit("old")
    clock.now_s += 30
    limiter.hit("young")
    limiter.hit("younger")
    clock.now_s += 30
    limiter.hit("new")
    assert not limiter.peek("young").is_allowed
    assert not limiter.peek("younger").is_allowed
    assert limiter.key_count == 3


def test_memory_shrinks_when_an_attack_is_over(clock: Clock) -> None:
    limiter = Limiter("address", 1, 60)
    for number in range(1000):
        limiter.hit(str(number))
    clock.now_s += 60
    for number in range(600):
        limiter.hit(f"later {number}")
    assert limiter.key_count == 600


def test_an_amount_of_zero_is_no_limit() -> None:
    assert Limiter.or_none("principal", 0, 60) is None
    assert isinstance(Limiter.or_none("principal", 1, 60), Limiter)


def test_limits_are_off_by_default_but_for_wrong_credentials() -> None:
    settings = settings_for("sqlite:///unused.db")
    assert (settings.rate_limit_per_principal, settings.rate_limit_per_address) == (0, 0)
    assert (settings.auth_failures_per_address, settings.auth_failures_window_s) == (30, 60)


def refuse_by(limiter: Limiter) -> Callable[[], object]:
    async def endpoint() -> dict[str, str]:
        verdict = limiter.hit("ada")
        if not verdict.is_allowed:
            raise limiter.refusal(verdict)
        return {}

    return endpoint


def test_refusal_is_a_problem_document_that_says_when_to_come_again() -> None:
    app = create_app(settings_for("sqlite:////nowhere/at/all.db"))
    app.get("/limited")(refuse_by(Limiter("principal", 1, 60)))
    with serving(app) as client:
        assert client.get("/limited").status_code == 200
        answer = client.get("/limited")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] in ("59", "60")
    assert answer.headers["ratelimit-policy"] == '"principal";q=1;w=60'
    assert answer.headers["ratelimit"] == f'"principal";r=0;t={answer.headers["retry-after"]}'
    assert answer.json()["title"] == "Too Many Requests"
    assert "too many requests: the limit is 1 in 60 s" in answer.json()["detail"]


def test_refusal_names_what_was_counted() -> None:
    limiter = Limiter("failures", 1, 60)
    limiter.hit("ada")
    error = limiter.refusal(limiter.peek("ada"), "requests with wrong credentials")
    assert isinstance(error, TooManyRequests)
    assert error.detail.startswith("too many requests with wrong credentials: the limit is 1 in 60 s")
