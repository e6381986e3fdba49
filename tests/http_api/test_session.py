"""Signed cookies: who was signed in, for how long, and what is nobody's."""

import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.requests import Request

from http_api import SignedCookie
from http_api.session import COOKIE
from storage.errors import InvalidIdentity, InvalidInput
from storage.identity import Identity
from tests.clock import Clock

SECRET = "s" * 32
OTHER = "o" * 32


def asked(*cookies: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", each.encode()) for each in cookies]})


def test_a_person_who_was_signed_in_is_known_again() -> None:
    session = SignedCookie(SECRET)
    assert session(asked(f"{COOKIE}={session.sign('ada')}")) == Identity.of(user="ada")
    assert session(asked(f"a=b; {COOKIE}={session.sign('Jürgen', 'acme')} ;c=d")) == Identity.of(
        organization="acme", user="Jürgen"
    )


def test_the_cookie_may_be_called_otherwise() -> None:
    session = SignedCookie(SECRET, cookie="__Host-me")
    signed = session.sign("ada")
    assert session(asked(f"__Host-me={signed}")) == Identity.of(user="ada")
    assert session(asked(f"{COOKIE}={signed}")) is None


def test_a_cookie_can_be_signed_in_any_language(clock: Clock) -> None:
    def text(content: bytes) -> str:
        return urlsafe_b64encode(content).rstrip(b"=").decode()

    said = text(b'{"user": "ada"}')
    when = text(int(clock.now.timestamp()).to_bytes(4, "big"))
    key = hmac.digest(SECRET.encode(), b"usermemory.session", "sha256")
    signature = text(hmac.digest(key, f"{said}.{when}".encode(), "sha256"))
    session = SignedCookie(SECRET, clock=clock)
    assert session(asked(f"{COOKIE}={said}.{when}.{signature}")) == Identity.of(user="ada")
    assert session(asked(f"{COOKIE}={text(b'{}')}.{when}.{signature}")) is None


def test_of_two_cookies_nobody_knows_who_set_which() -> None:
    session = SignedCookie(SECRET)
    ada, bob = (f"{COOKIE}={session.sign(user)}" for user in ("ada", "bob"))
    assert session(asked(f"{ada}; {bob}")) is None
    assert session(asked(ada, ada)) is None


def test_a_cookie_counts_for_so_long(clock: Clock) -> None:
    session = SignedCookie(SECRET, max_age=timedelta(hours=1), clock=clock)
    request = asked(f"{COOKIE}={session.sign('ada')}")
    clock.move(59 * 60)
    assert session(request) is not None
    clock.move(120)
    assert session(request) is None


def test_secrets_are_changed_without_signing_anybody_out() -> None:
    old = SignedCookie(SECRET)
    both = SignedCookie([SECRET, OTHER])
    new = SignedCookie(OTHER)
    assert both(asked(f"{COOKIE}={old.sign('ada')}")) is not None
    assert new(asked(f"{COOKIE}={both.sign('ada')}")) is not None
    assert new(asked(f"{COOKIE}={old.sign('ada')}")) is None


@pytest.mark.parametrize(
    "payload", [None, 1, [], "ada", {}, {"user": None}, {"user": 1}, {"user": ""}, {"user": "a\0"}]
)
def test_what_names_nobody_is_nobodys(payload: object) -> None:
    signed = forged(payload, SECRET)
    assert SignedCookie(SECRET)(asked(f"{COOKIE}={signed}")) is None


def test_what_says_more_than_who_it_is_does_not_count() -> None:
    assert SignedCookie(SECRET)(asked(f"{COOKIE}={forged({'user': 'ada', 'admin': True}, SECRET)}")) is None


def test_a_cookie_that_was_changed_or_signed_for_something_else_does_not_count() -> None:
    session = SignedCookie(SECRET)
    signed = session.sign("ada")
    other_use = URLSafeTimedSerializer(SECRET, "password-reset").dumps({"user": "ada"})
    for value in (signed[:-1], signed + "x", "", ".", "e30", other_use, "x" * 10_000, forged({"user": "ada"}, OTHER)):
        assert session(asked(f"{COOKIE}={value}")) is None


@pytest.mark.parametrize("secret", ["", "short", b"s" * 31, [], [SECRET, "short"]])
def test_a_secret_that_could_be_guessed_is_refused(secret: object) -> None:
    with pytest.raises(InvalidInput, match="32 bytes"):
        SignedCookie(secret)  # type: ignore[arg-type]


def test_nobody_is_signed_in_by_what_is_no_name() -> None:
    with pytest.raises(InvalidIdentity):
        SignedCookie(SECRET).sign("")
    with pytest.raises(InvalidInput):
        SignedCookie(SECRET, max_age=timedelta(0))


def forged(payload: object, secret: str) -> str:
    """Return what the class would sign if it did not look at the payload."""
    signed = SignedCookie(secret)._serializer.dumps(payload)
    return signed if isinstance(signed, str) else signed.decode()
