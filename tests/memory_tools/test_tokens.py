"""Tokens that an issuer signs: which of them are valid, by keys that a real server publishes or that are shared."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from memory_tools.access import TOKEN_LIMIT, Named, Principal, Scope
from memory_tools.tokens import LEEWAY
from storage.errors import InvalidInput, InvalidName
from storage.identity import Identity
from tests.clock import Clock
from tests.memory_tools.issuing import (
    ADA,
    AUDIENCE,
    CLAIMS,
    ISSUER,
    NOW,
    RSA,
    SHARED,
    part,
    shared,
    signed,
)


def test_a_valid_token_says_who_holds_it() -> None:
    assert shared().verify(signed(CLAIMS)) == ADA


@pytest.mark.parametrize("claim", ["exp", "aud", "iss", "sub"])
@pytest.mark.parametrize("kind", ["absent", "null"])
def test_a_token_without_what_it_needs_is_not_valid(claim: str, kind: str) -> None:
    claims = CLAIMS | {claim: None}
    if kind == "absent":
        del claims[claim]
    assert shared().verify(raw(json.dumps(claims))) is None


def raw(payload: str | bytes, key: Any = SHARED, algorithm: str = "HS256", **header: Any) -> str:
    """Sign a payload that PyJWT would not write."""
    text = payload if isinstance(payload, bytes) else payload.encode()
    return jwt.PyJWS().encode(text, key, algorithm, header)


WRONG: list[dict[str, Any]] = [
    {"sub": ""},
    {"sub": " ada"},
    {"sub": "ada\0"},
    {"sub": "ada\n"},
    {"sub": "a\u200bda"},
    {"sub": "x" * 257},
    {"sub": 7},
    {"sub": True},
    {"sub": ["ada"]},
    {"sub": {"user": "ada"}},
    {"exp": str(NOW + 60)},
    {"exp": True},
    {"exp": [NOW + 60]},
    {"exp": {}},
    {"nbf": str(NOW)},
    {"iat": str(NOW)},
    {"iat": None},
    {"nbf": False},
    {"iss": "https://issuer.example/"},
    {"iss": [ISSUER]},
    {"iss": ""},
    {"aud": "https://memory.example"},
    {"aud": []},
    {"aud": ""},
    {"aud": {AUDIENCE: 1}},
    {"aud": [AUDIENCE, 7]},
    {"aud": ["https://other.example"]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_claim_that_is_none_makes_a_token_invalid(wrong: dict[str, Any]) -> None:
    assert shared().verify(raw(json.dumps(CLAIMS | wrong))) is None


TEXT = json.dumps(CLAIMS)

PAYLOADS: dict[str, str | bytes] = {
    "two subjects": TEXT[:-1] + ', "sub": "bob"}',
    "one subject twice": TEXT[:-1] + ', "sub": "ada"}',
    "two scopes": TEXT[:-1] + ', "scope": "memory:act-as"}',
    "twice within": TEXT[:-1] + ', "other": {"a": 1, "a": 2}}',
    "infinity": TEXT.replace(str(NOW + 60), "Infinity"),
    "not a number": TEXT.replace(str(NOW + 60), "NaN"),
    "beyond a double": TEXT.replace(str(NOW + 60), "1e400"),
    "beyond 64 bits": TEXT.replace(str(NOW + 60), "9" * 30),
    "5,000 digits": TEXT.replace(str(NOW + 60), "9" * 5_000),
    "deep": TEXT[:-1] + ', "other": ' + "[" * 2_000 + "]" * 2_000 + "}",
    "half a surrogate pair": TEXT[:-1] + ', "other": "\\ud800"}',
    "a list": json.dumps([CLAIMS]),
    "a text": json.dumps("ada"),
    "null": "null",
    "nothing": "",
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "no UTF-8": b"\xff",
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_payload_that_says_two_things_or_none_is_not_valid(kind: str) -> None:
    assert shared().verify(raw(PAYLOADS[kind])) is None


def test_a_payload_written_by_hand_is_valid_where_nothing_is_wrong() -> None:
    assert shared().verify(raw(json.dumps(CLAIMS | {"exp": NOW + 0.5}))) == ADA


def test_a_token_is_valid_from_its_beginning_to_its_end() -> None:
    clock = Clock()
    verifier = shared(clock=clock)
    token = signed(CLAIMS | {"nbf": NOW, "exp": NOW + 60})
    for seconds, valid in ((-LEEWAY - 1, False), (-LEEWAY, True), (0, True), (60, True), (59 + LEEWAY, True)):
        clock.now = Clock().now
        clock.move(seconds)
        assert (verifier.verify(token) is not None) is valid
    clock.move(1)
    assert verifier.verify(token) is None


def test_without_leeway_an_end_is_an_end() -> None:
    clock = Clock()
    verifier = shared(clock=clock, leeway=0)
    clock.move(60 - 1e-6)
    assert verifier.verify(signed(CLAIMS)) is not None
    clock.move(1e-6)
    assert verifier.verify(signed(CLAIMS)) is None


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "memory:read"}, {Scope.READ}),
        ({"scope": "openid memory:write profile memory:everything"}, {Scope.WRITE}),
        ({"scope": ""}, set()),
        ({"scope": "MEMORY:READ memory:read,memory:write"}, set()),
        ({"scp": "memory:read"}, {Scope.READ}),
        ({"scp": ["memory:read", "memory:write", 7, None]}, {Scope.READ, Scope.WRITE}),
        ({"scp": {"memory:read": True}}, set()),
        ({"scope": "memory:read", "scp": ["memory:write"]}, {Scope.READ}),
        ({"scope": 7}, set()),
        ({}, set()),
    ],
    ids=str,
)
def test_scopes_are_what_the_token_says_of_those_we_know(claims: dict[str, Any], scopes: set[Scope]) -> None:
    without = {name: value for name, value in CLAIMS.items() if name != "scope"}
    principal = shared().verify(signed(without | claims))
    assert principal is not None
    assert principal.scopes == scopes


def test_who_acts_for_others_is_nobody() -> None:
    principal = shared(organization="acme").verify(signed(CLAIMS | {"scope": "memory:read memory:act-as"}))
    assert principal == Principal(f"{ISSUER}#ada", "acme", frozenset({Scope.READ, Scope.ACT_AS}), None)
    assert principal.person(Named(user="bob")) == Identity.of(organization="acme", user="bob")


def test_the_audience_may_be_one_of_several() -> None:
    token = signed(CLAIMS | {"aud": ["https://other.example", AUDIENCE]})
    assert shared().verify(token) == ADA
    assert shared(audience=["memory", AUDIENCE]).verify(token) == ADA
    assert shared(audience=["memory"]).verify(token) is None


class TestOrganization:
    """A token opens one organization: the operator's, or the one that its own claim names."""

    def test_it_is_the_operators(self) -> None:
        principal = shared(organization="acme").verify(signed(CLAIMS | {"organization": "other", "org_id": "other"}))
        assert principal is not None
        assert principal.person() == Identity.of(organization="acme", user="ada")

    def test_it_is_the_claims_where_the_operator_says_so(self) -> None:
        verifier = shared(organization="acme", organization_claim="org_id")
        principal = verifier.verify(signed(CLAIMS | {"org_id": "other"}))
        assert principal is not None
        assert principal.organization == "other"
        assert principal.person() == Identity.of(organization="other", user="ada")

    @pytest.mark.parametrize("wrong", [None, "", " a", "a\0", 7, ["acme"], {"id": "acme"}, "x" * 257, True])
    def test_a_bad_claim_falls_back_on_nothing(self, wrong: Any) -> None:
        verifier = shared(organization="acme", organization_claim="org_id")
        for scope in ("memory:read", "memory:act-as"):
            assert verifier.verify(signed(CLAIMS | {"org_id": wrong, "scope": scope})) is None

    def test_a_missing_claim_falls_back_on_nothing(self) -> None:
        assert shared(organization="acme", organization_claim="org_id").verify(signed(CLAIMS)) is None
        assert shared(organization_claim="org_id").verify(signed(CLAIMS)) is None


class TestSharedKey:
    """With a key that both sides know."""

    def test_another_key_signs_nothing(self) -> None:
        assert shared().verify(signed(CLAIMS, SHARED[::-1])) is None

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_another_algorithm_is_refused_unless_it_is_asked_for(self, algorithm: str) -> None:
        key = SHARED * 2
        token = signed(CLAIMS, key, algorithm)
        assert shared(key=key).verify(token) is None
        assert shared(key=key, algorithms=[algorithm]).verify(token) == ADA

    @pytest.mark.parametrize(
        ("algorithm", "size"), [("HS256", 31), ("HS384", 47), ("HS512", 63)], ids=["HS256", "HS384", "HS512"]
    )
    def test_a_short_key_is_refused(self, algorithm: str, size: int) -> None:
        shared(key="k" * (size + 1), algorithms=[algorithm])
        with pytest.raises(InvalidInput, match=f"{size + 1} bytes") as refused:
            shared(key="k" * size, algorithms=[algorithm])
        assert "kkk" not in str(refused.value)

    def test_half_of_a_key_pair_is_no_shared_key(self) -> None:
        public = RSA.public_key()
        for encoding, form in (
            (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            (Encoding.OpenSSH, PublicFormat.OpenSSH),
        ):
            with pytest.raises(InvalidInput, match="no shared key"):
                shared(key=public.public_bytes(encoding, form))

    def test_an_unsigned_token_is_refused(self) -> None:
        header, payload = (part(each) for each in ({"alg": "none", "typ": "JWT"}, CLAIMS))
        for unsigned in (f"{header}.{payload}.", f"{header}.{payload}.{part(CLAIMS)}", jwt.encode(CLAIMS, "", "none")):
            assert shared().verify(unsigned) is None

    def test_a_token_that_names_a_key_is_verified_by_the_shared_one(self) -> None:
        assert shared().verify(signed(CLAIMS, kid="2026")) == ADA


@pytest.mark.parametrize(
    "options",
    [
        {"key": None},
        {"jwks_url": "https://issuer.example/keys"},
        {"issuer": ""},
        {"audience": ""},
        {"audience": []},
        {"audience": [AUDIENCE, ""]},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256", "none"]},
        {"algorithms": ["RS256"]},
        {"key": None, "jwks_url": "https://issuer.example/keys", "algorithms": ["HS256"]},
        {"key": None, "jwks_url": "https://issuer.example/keys", "algorithms": ["RS256", "HS256"]},
        {"key": None, "jwks_url": "https://issuer.example/keys", "algorithms": ["none"]},
        {"leeway": -1},
        {"leeway": 301},
        {"leeway": float("nan")},
        *(
            {"key": None, "jwks_url": url}
            for url in (
                "http://issuer.example/keys",
                "http://127.0.0.1.issuer.example/keys",
                "http://localhost@issuer.example/keys",
                "http://localhost.issuer.example/keys",
                "http://[::2]/keys",
                "http://[::1",
                "http://10.0.0.1/keys",
                "http://0.0.0.0/keys",
                "file:///etc/passwd",
                "ftp://127.0.0.1/keys",
                "data:application/json,{}",
                "https:///keys",
                "keys",
                "",
            )
        ),
    ],
    ids=str,
)
def test_a_verifier_that_would_believe_too_much_is_not_made(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        shared(**options)


def test_an_organization_has_a_name() -> None:
    with pytest.raises(InvalidName):
        shared(organization="")


@pytest.mark.parametrize(
    "url", ["https://issuer.example/keys", "http://127.0.0.1:1/k", "http://[::1]:1/k", "http://localhost/k"]
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    shared(key=None, jwks_url=url)  # asks nobody yet


@pytest.mark.parametrize("token", ["", ".", "..", "...", "a.b.c", "um_3f9a_secret", "a.b", "é.b.c", "\ud800.b.c"])
def test_what_is_no_token_is_not_valid(token: str) -> None:
    assert shared().verify(token) is None


def test_a_token_over_the_limit_is_not_looked_into() -> None:
    long = signed(CLAIMS | {"padding": "x" * TOKEN_LIMIT})
    assert shared().verify(long) is None
    assert shared().verify(signed(CLAIMS, padding="x" * TOKEN_LIMIT)) is None
    assert shared().verify(signed(CLAIMS | {"padding": "x" * 5_000})) == ADA


VALID = signed(CLAIMS)


@given(st.integers(0, len(VALID) - 1), st.characters())
def test_a_token_that_differs_anywhere_is_not_valid(place: int, character: str) -> None:
    other = VALID[:place] + character + VALID[place + 1 :]
    last = place == len(VALID) - 1  # its last bits are no part of the signature
    if other != VALID and not last:
        assert shared().verify(other) is None


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip", "cty"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=3), max_size=3),
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    ),
    st.binary(max_size=80),
)
def test_nothing_that_anybody_sends_is_an_error(header: dict[str, Any], payload: Any, signature: bytes) -> None:
    sealed = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    for algorithm in (header, {"alg": "HS256", **header}, {**header, "alg": "HS256"}):
        assert shared().verify(f"{part(algorithm)}.{part(payload)}.{sealed}") is None


@given(st.text())
def test_no_text_is_an_error(token: str) -> None:
    assert shared().verify(token) is None
