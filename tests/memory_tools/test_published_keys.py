"""Tokens signed with keys that their issuer publishes: when it is asked for them, and what its answer is good for."""

import base64
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from memory_tools.tokens import KEYS_LIFESPAN, KEYS_PAUSE, KEYS_TRUSTED, JwtVerifier
from tests.clock import Seconds
from tests.memory_tools.issuing import (
    ADA,
    CLAIMS,
    EC,
    ED,
    OTHER_RSA,
    RSA,
    SHARED,
    Issuer,
    part,
    published,
    shared,
    signed,
)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.hold.set()
    running.close()


@pytest.fixture
def timer() -> Seconds:
    return Seconds()


def by_keys_of(issuer: Issuer, timer: Seconds, **options: Any) -> JwtVerifier:
    return shared(key=None, jwks_url=issuer.url, timer=timer, **options)


class TestPublishedKeys:
    """With the keys that the issuer publishes."""

    @pytest.mark.parametrize(
        ("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")], ids=["RSA", "EC", "Ed25519"]
    )
    def test_a_valid_token_says_who_holds_it(self, issuer: Issuer, timer: Seconds, key: Any, algorithm: str) -> None:
        issuer.keys = [published(OTHER_RSA, "0"), published(key, "1")]
        verifier = by_keys_of(issuer, timer)
        assert issuer.asked == 0
        for _ in range(3):
            assert verifier.verify(signed(CLAIMS, key, algorithm, kid="1")) == ADA
        assert issuer.asked == 1

    def test_another_key_signs_nothing(self, issuer: Issuer, timer: Seconds) -> None:
        assert by_keys_of(issuer, timer).verify(signed(CLAIMS, OTHER_RSA, "RS256", kid="1")) is None

    def test_a_token_has_to_name_its_key(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        assert verifier.verify(signed(CLAIMS, RSA, "RS256")) is None
        for kid in (1, None, ["1"], {"kid": "1"}):
            forged = f"{part({'alg': 'RS256', 'kid': kid})}.{part(CLAIMS)}.AAAA"
            assert verifier.verify(forged) is None
        assert issuer.asked == 0

    @pytest.mark.parametrize("form", ["PEM", "DER", "modulus"])
    def test_a_public_key_is_no_secret_to_sign_with(self, issuer: Issuer, timer: Seconds, form: str) -> None:
        public = RSA.public_key()
        secrets = {
            "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "modulus": issuer.keys[0]["n"].encode(),
        }
        unsigned = f"{part({'alg': 'HS256', 'kid': '1'})}.{part(CLAIMS)}"
        sealed = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), secrets[form])
        forged = f"{unsigned}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"
        assert by_keys_of(issuer, timer).verify(forged) is None

    def test_a_shared_key_that_is_published_verifies_nothing(self, issuer: Issuer, timer: Seconds) -> None:
        secret = base64.urlsafe_b64encode(SHARED).rstrip(b"=").decode()
        issuer.keys += [{"kty": "oct", "k": secret, "kid": "2", "alg": "HS256", "use": "sig"}]
        verifier = by_keys_of(issuer, timer)
        assert verifier.verify(signed(CLAIMS, SHARED, kid="2")) is None
        assert verifier.verify(signed(CLAIMS, RSA, "RS256", kid="1")) == ADA

    def test_an_unsigned_token_is_refused(self, issuer: Issuer, timer: Seconds) -> None:
        assert by_keys_of(issuer, timer).verify(jwt.encode(CLAIMS, "", "none", {"kid": "1"})) is None

    def test_an_algorithm_that_was_not_allowed_is_refused(self, issuer: Issuer, timer: Seconds) -> None:
        issuer.keys = [published(RSA, "1"), published(EC, "2")]
        verifier = by_keys_of(issuer, timer, algorithms=["ES256"])
        assert verifier.verify(signed(CLAIMS, RSA, "RS256", kid="1")) is None
        assert verifier.verify(signed(CLAIMS, EC, "ES256", kid="2")) == ADA

    def test_a_key_for_encryption_signs_nothing(self, issuer: Issuer, timer: Seconds) -> None:
        issuer.keys = [published(RSA, "1", use="enc"), published(EC, "2")]
        assert by_keys_of(issuer, timer).verify(signed(CLAIMS, RSA, "RS256", kid="1")) is None

    def test_a_key_that_is_too_short_to_be_safe_signs_nothing(self, issuer: Issuer, timer: Seconds) -> None:
        short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        issuer.keys = [published(short, "1")]
        with pytest.warns(jwt.InsecureKeyLengthWarning):
            token = signed(CLAIMS, short, "RS256", kid="1")
        assert by_keys_of(issuer, timer).verify(token) is None

    def test_keys_that_a_token_brings_along_are_not_looked_at(self, issuer: Issuer, timer: Seconds) -> None:
        theirs = Issuer()
        theirs.keys = [published(OTHER_RSA, "1")]
        header = {"kid": "1", "jku": theirs.url, "jwk": theirs.keys[0], "x5u": theirs.url}
        assert by_keys_of(issuer, timer).verify(signed(CLAIMS, OTHER_RSA, "RS256", **header)) is None
        theirs.close()
        assert theirs.asked == 0

    def test_a_new_key_is_known_once_the_issuer_may_be_asked_again(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        old, new = signed(CLAIMS, RSA, "RS256", kid="1"), signed(CLAIMS, OTHER_RSA, "RS256", kid="2")
        assert verifier.verify(old) == ADA
        issuer.keys = [published(OTHER_RSA, "2")]
        timer.now += KEYS_PAUSE - 0.5
        assert verifier.verify(new) is None
        assert verifier.verify(old) == ADA
        assert issuer.asked == 1
        timer.now += 0.5
        assert verifier.verify(new) == ADA
        assert verifier.verify(old) is None
        assert issuer.asked == 2

    def test_a_key_that_is_no_longer_published_is_forgotten(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        token = signed(CLAIMS, RSA, "RS256", kid="1")
        assert verifier.verify(token) == ADA
        issuer.keys = [published(OTHER_RSA, "2")]
        timer.now += KEYS_LIFESPAN - 0.5
        assert verifier.verify(token) == ADA
        timer.now += 0.5
        assert verifier.verify(token) is None
        assert issuer.asked == 2

    def test_a_flood_of_forged_key_names_reaches_the_issuer_once_in_a_while(
        self, issuer: Issuer, timer: Seconds
    ) -> None:
        verifier = by_keys_of(issuer, timer)
        forged = [f"{part({'alg': 'RS256', 'kid': str(number)})}.{part(CLAIMS)}.AAAA" for number in range(2, 200)]
        assert [verifier.verify(token) for token in forged] == [None] * len(forged)
        assert issuer.asked == 1
        timer.now += KEYS_PAUSE
        together([lambda token=token: verifier.verify(token) for token in forged[:16]])
        assert issuer.asked == 2
        assert verifier.verify(signed(CLAIMS, RSA, "RS256", kid="1")) == ADA

    def test_a_flood_does_not_reach_an_issuer_that_fails_either(self, issuer: Issuer, timer: Seconds) -> None:
        issuer.status = 500
        verifier = by_keys_of(issuer, timer)
        for number in range(50):
            assert verifier.verify(f"{part({'alg': 'RS256', 'kid': str(number)})}.{part(CLAIMS)}.AAAA") is None
        assert issuer.asked == 1

    def test_many_first_tokens_wait_for_one_answer(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        token = signed(CLAIMS, RSA, "RS256", kid="1")
        assert together([lambda: verifier.verify(token)] * 8) == [ADA] * 8
        assert issuer.asked == 1

    def test_who_is_known_does_not_wait_for_a_slow_issuer(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        token = signed(CLAIMS, RSA, "RS256", kid="1")
        assert verifier.verify(token) == ADA
        timer.now += KEYS_LIFESPAN
        issuer.hold.clear()
        issuer.reached.clear()
        forged = f"{part({'alg': 'RS256', 'kid': '9'})}.{part(CLAIMS)}.AAAA"
        stranger = threading.Thread(target=verifier.verify, args=(forged,))
        stranger.start()
        assert issuer.reached.wait(30)
        assert verifier.verify(token) == ADA
        assert stranger.is_alive()
        issuer.hold.set()
        stranger.join()
        assert issuer.asked == 2

    @pytest.mark.parametrize(
        "fault", ["500", "not found", "no JSON", "no keys", "a list", "no bytes", "redirect", "deep", "gone"]
    )
    def test_without_an_answer_nothing_new_is_valid_and_what_was_known_is(
        self, issuer: Issuer, timer: Seconds, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        verifier, fresh = by_keys_of(issuer, timer), by_keys_of(issuer, timer)
        token = signed(CLAIMS, RSA, "RS256", kid="1")
        assert verifier.verify(token) == ADA
        break_it(issuer, fault)
        timer.now += KEYS_LIFESPAN
        with caplog.at_level(logging.WARNING):
            assert verifier.verify(token) == ADA
            assert fresh.verify(token) is None
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert all(each not in caplog.text for each in (token, token.split(".")[1]))
        assert not re.search(r"\bada\b", caplog.text)
        timer.now += KEYS_TRUSTED - KEYS_LIFESPAN - 1
        assert verifier.verify(token) == ADA
        timer.now += 1
        assert verifier.verify(token) is None

    def test_an_issuer_that_answers_again_is_believed_again(self, issuer: Issuer, timer: Seconds) -> None:
        verifier = by_keys_of(issuer, timer)
        token = signed(CLAIMS, RSA, "RS256", kid="1")
        issuer.status = 503
        assert verifier.verify(token) is None
        issuer.status = 200
        assert verifier.verify(token) is None
        timer.now += KEYS_PAUSE
        assert verifier.verify(token) == ADA


def break_it(issuer: Issuer, fault: str) -> None:
    if fault == "gone":
        issuer.close()
        return
    issuer.status = {"500": 500, "not found": 404, "redirect": 302}.get(fault, 200)
    issuer.location = issuer.url if fault == "redirect" else None
    answers = {"no JSON": b"<html>", "no keys": b'{"keys": []}', "a list": b"[]", "no bytes": b"\xff\xfe"}
    issuer.answer = b"[" * 200_000 if fault == "deep" else answers.get(fault)


def together(acts: list[Any]) -> list[Any]:
    """Do all of them at once and return what each returned."""
    barrier, results = threading.Barrier(len(acts)), [None] * len(acts)

    def run(place: int) -> None:
        barrier.wait()
        results[place] = acts[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
