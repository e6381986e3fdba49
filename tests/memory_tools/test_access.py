from dataclasses import FrozenInstanceError

import pytest

from memory_tools.access import TOKEN_LIMIT, Named, Principal, Scope, known_scopes, verified
from storage.errors import AccessDenied, InsufficientScope, InvalidIdentity, NoIdentity
from storage.identity import Identity

ADA = Identity.of(organization="acme", user="ada")

PERSON = Principal("key 1", "acme", frozenset({Scope.READ, Scope.WRITE}), ADA)

GATEWAY = Principal("key 2", "acme", frozenset({Scope.READ, Scope.ACT_AS}))

NAMES = [
    Named(user="bob"),
    Named(user="ada"),
    Named(user="ada", organization="acme"),
    Named(phone="+12025550123", phone_verified=True),
    Named(organization="acme"),
    Named(),
]


def test_a_person_is_who_the_token_says() -> None:
    assert PERSON.person() == ADA


@pytest.mark.parametrize("named", NAMES)
def test_whoever_names_a_person_needs_the_scope_even_for_their_own_name(named: Named) -> None:
    with pytest.raises(InsufficientScope) as refused:
        PERSON.person(named)
    assert refused.value.scope == "memory:act-as"
    assert refused.value.details == {"scope": "memory:act-as"}
    assert isinstance(refused.value, AccessDenied)


def test_a_token_of_nobody_opens_nothing() -> None:
    nobody = Principal("x", "acme", frozenset({Scope.READ, Scope.WRITE}))
    with pytest.raises(NoIdentity):
        nobody.person()
    with pytest.raises(InsufficientScope):
        nobody.person(Named(user="ada"))


def test_a_gateway_names_the_person_in_its_own_organization() -> None:
    assert GATEWAY.person(Named(user="bob")) == Identity.of(organization="acme", user="bob")
    assert GATEWAY.person(Named(user="bob", organization="acme")) == Identity.of(organization="acme", user="bob")
    both = Named(user="bob", phone="+12025550123", phone_verified=True)
    assert GATEWAY.person(both) == Identity.of(
        organization="acme", user="bob", phone="+12025550123", phone_verified=True
    )


def test_a_number_without_a_country_needs_a_region() -> None:
    assert GATEWAY.person(Named(phone="202 555 0123"), default_region="US").names == (("phone", "+12025550123"),)
    with pytest.raises(NoIdentity):
        GATEWAY.person(Named(phone="202 555 0123"))


@pytest.mark.parametrize("organization", ["other", "default", "ACME", "acme ", "", "*", "%", "acme\0"])
def test_a_gateway_reaches_no_other_organization(organization: str) -> None:
    with pytest.raises(InsufficientScope) as refused:
        GATEWAY.person(Named(user="bob", organization=organization))
    assert refused.value.scope == "memory:act-as"


@pytest.mark.parametrize("named", [None, Named(), Named(organization="acme"), Named(phone="anonymous")])
def test_a_gateway_that_names_nobody_is_told_so(named: Named | None) -> None:
    with pytest.raises(NoIdentity):
        GATEWAY.person(named)


def test_a_gateway_with_a_person_of_its_own_never_falls_back_on_them() -> None:
    both = Principal("x", "acme", frozenset({Scope.READ, Scope.ACT_AS}), ADA)
    with pytest.raises(NoIdentity):
        both.person()
    assert both.person(Named(user="bob")).user == "bob"


@pytest.mark.parametrize("named", [Named(user=""), Named(user="bob\0"), Named(user=" bob"), Named(user="x" * 257)])
def test_a_name_that_is_none_is_refused(named: Named) -> None:
    with pytest.raises(InvalidIdentity):
        GATEWAY.person(named)


@pytest.mark.parametrize("scope", Scope)
def test_what_a_token_was_not_given_for_is_refused(scope: Scope) -> None:
    given = frozenset({scope})
    Principal("x", "acme", given).require(scope)
    for other in set(Scope) - given:
        with pytest.raises(InsufficientScope) as refused:
            Principal("x", "acme", given).require(other)
        assert refused.value.scope == other


def test_a_principal_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PERSON.organization = "other"  # type: ignore[misc]


def test_unknown_scopes_say_nothing() -> None:
    words = ["openid", "memory:read", "MEMORY:WRITE", "memory:*", "", "memory:read"]
    assert known_scopes(words) == frozenset({Scope.READ})
    assert known_scopes([Scope.ACT_AS, "memory:write"]) == frozenset({Scope.ACT_AS, Scope.WRITE})
    assert all(type(scope) is Scope for scope in known_scopes(words))
    assert known_scopes([]) == frozenset()


class Of:
    """Knows one token, and remembers what it was asked."""

    def __init__(self, token: str, actor: str) -> None:
        self.token = token
        self.principal = Principal(actor, "acme", frozenset())
        self.asked: list[str] = []

    def verify(self, token: str) -> Principal | None:
        self.asked.append(token)
        return self.principal if token == self.token else None


def test_the_first_verifier_that_knows_a_token_decides() -> None:
    first, second, third = Of("a", "first"), Of("b", "second"), Of("b", "third")
    assert verified([first, second, third], "b") == second.principal
    assert (first.asked, second.asked, third.asked) == (["b"], ["b"], [])
    assert verified([first, second], "c") is None
    assert verified([], "a") is None
    assert verified(iter([first]), "a") == first.principal


NO_TOKENS = {
    "ascii": "x" * (TOKEN_LIMIT + 1),
    "two bytes each": "é" * (TOKEN_LIMIT // 2 + 1),
    "surrogates": "\ud800" * TOKEN_LIMIT,
    "empty": "",
}


@pytest.mark.parametrize("kind", NO_TOKENS)
def test_nobody_looks_into_a_token_that_is_too_long_or_empty(kind: str) -> None:
    token = NO_TOKENS[kind]
    verifier = Of(token, "x")
    assert verified([verifier], token) is None
    assert verifier.asked == []


def test_a_token_of_the_greatest_length_is_looked_into() -> None:
    token = "x" * TOKEN_LIMIT
    assert verified([Of(token, "x")], token) is not None
