from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from memory_tools.caller import caller, phone_said
from memory_tools.context import MemoryContext
from storage.errors import InvalidIdentity

NUMBER = "+12025550143"
OTHER = "+12025550199"
OWN = "+18005550100"
"""The host's own number."""


@dataclass
class Context:
    """A host's own context."""

    organizationId: str = "org-123"
    userId: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "context",
    [
        {"organization": "acme", "user_id": "ada", "phone": NUMBER, "phone_verified": True},
        {"organizationId": "acme", "userId": "ada", "phoneNumber": NUMBER, "phoneVerified": True},
        {"organization_id": "acme", "user_id": "ada", "phone_number": NUMBER, "phone_verified": True},
        SimpleNamespace(organizationId="acme", userId="ada", phoneNumber="+1 202 555 0143", phoneVerified=True),
        MemoryContext("acme", "ada", NUMBER, True),
    ],
)
def test_the_context_names_the_caller_in_every_spelling(context: object) -> None:
    assert caller(context, None) == MemoryContext("acme", "ada", NUMBER, True)


@pytest.mark.parametrize(
    "context",
    [
        {"organizationId": "org-123", "metadata": {"phoneNumber": NUMBER}},
        Context(metadata={"phoneNumber": NUMBER}),
        SimpleNamespace(organizationId="org-123", metadata=SimpleNamespace(phoneNumber=NUMBER)),
    ],
)
def test_the_number_stands_in_the_metadata_of_the_context_as_in_seed_004(context: object) -> None:
    assert caller(context, None) == MemoryContext("org-123", phone=NUMBER)


@pytest.mark.parametrize(
    "metadata",
    [
        {"phoneNumber": NUMBER},
        {"phone_number": NUMBER},
        {"sip.phoneNumber": NUMBER, "sip.trunkPhoneNumber": OWN},
        {"attributes": {"sip.phoneNumber": NUMBER, "sip.trunkPhoneNumber": OWN}},
        {"participant": {"identity": "sip_1", "attributes": {"sip.phoneNumber": NUMBER}}},
        {"participant": SimpleNamespace(attributes={"sip.phoneNumber": NUMBER})},
        SimpleNamespace(attributes={"sip.phoneNumber": NUMBER}),
        {"From": NUMBER, "To": OWN, "Direction": "inbound", "CallSid": "CA1"},
        {"from": NUMBER, "to": OWN},
        {"from": {"phone_number": NUMBER, "carrier": "x"}},
        {"payload": {"from": NUMBER, "to": OWN, "direction": "incoming"}},
        {"payload": {"from": {"phone_number": NUMBER}}},
        {"data": {"event_type": "call.initiated", "payload": {"from": NUMBER, "to": OWN, "direction": "incoming"}}},
        {"phoneNumber": 7, "from": ["+1"], "From": NUMBER},
        {"phoneNumber": " ", "From": NUMBER},
    ],
)
def test_every_shape_of_telephony_names_the_caller(metadata: object) -> None:
    assert caller(None, metadata) == MemoryContext(phone=NUMBER)
    assert caller({"organizationId": "acme", "metadata": metadata}) == MemoryContext("acme", phone=NUMBER)


@pytest.mark.parametrize(
    "metadata",
    [
        {"From": OWN, "To": NUMBER, "Direction": "outbound-api"},
        {"payload": {"from": OWN, "to": NUMBER, "direction": "outgoing"}},
    ],
)
def test_of_a_call_that_goes_out_the_one_who_is_called_is_the_person(metadata: object) -> None:
    assert caller(None, metadata) == MemoryContext(phone=NUMBER)


@pytest.mark.parametrize(
    "text",
    [
        "client:alice",
        "sip:ada@example.com",
        "anonymous",
        "Restricted",
        "+266696687",
        "+7378742833",
        "ada",
        "2025550143",
    ],
)
def test_what_is_no_number_of_a_person_names_nobody_but_somebody_calls(text: str) -> None:
    for metadata in ({"From": text}, {"sip.phoneNumber": text}, {"payload": {"from": text}}):
        assert caller({"organizationId": "acme"}, metadata) is None
        assert phone_said(None, metadata) == text
    assert caller({"user_id": "ada", "phone": text, "phone_verified": True}) == MemoryContext(user_id="ada")


@pytest.mark.parametrize("metadata", [None, {}, [], 7, "text", {"phoneNumber": 12025550143}, {"from": {"x": 1}}])
def test_metadata_that_say_nothing_name_nobody(metadata: object) -> None:
    assert caller(None, metadata) is None
    assert phone_said(None, metadata) is None


def test_a_withheld_number_is_not_looked_for_in_weaker_places() -> None:
    assert caller({"phone": "anonymous"}, {"From": NUMBER}) is None
    assert caller(None, {"sip.phoneNumber": "anonymous", "From": NUMBER}) is None


def test_a_number_without_country_code_needs_a_region() -> None:
    assert caller(None, {"from": "202 555 0143"}) is None
    assert caller(None, {"from": "202 555 0143"}, default_region="US") == MemoryContext(phone=NUMBER)


def test_an_extension_survives() -> None:
    who = caller(None, {"From": f"{NUMBER};ext=7"})
    assert who is not None
    assert caller({"phone": who.phone}) == who
    assert who.phone != NUMBER


def test_the_context_wins_member_by_member_and_earlier_metadata_over_later() -> None:
    context = {"user_id": "ada", "metadata": {"phoneNumber": NUMBER}}
    assert caller(context, {"phoneNumber": OTHER}) == MemoryContext(user_id="ada", phone=NUMBER)
    assert caller({"phone": NUMBER}, {"phoneNumber": OTHER}) == MemoryContext(phone=NUMBER)
    assert caller({"user_id": "ada"}, {}, {"from": OTHER}) == MemoryContext(user_id="ada", phone=OTHER)
    assert caller(None, {"from": NUMBER}, {"from": OTHER}) == MemoryContext(phone=NUMBER)


def test_the_organization_of_the_metadata_counts_where_the_context_names_none() -> None:
    metadata = {"organizationId": "theirs", "phoneNumber": NUMBER}
    assert caller({"organization": "ours"}, metadata) == MemoryContext("ours", phone=NUMBER)
    assert caller(None, metadata) == MemoryContext("theirs", phone=NUMBER)
    assert caller(None, {"organization": "theirs", "phoneNumber": NUMBER}) == MemoryContext(phone=NUMBER)


def test_an_organization_of_metadata_is_never_put_together_with_somebody_whom_the_context_names() -> None:
    theirs = {"organizationId": "theirs"}
    number = {"phoneNumber": NUMBER}
    assert caller({"user_id": "ada"}, theirs) == MemoryContext(user_id="ada")
    assert caller({"phone": NUMBER}, theirs) == MemoryContext(phone=NUMBER)
    own = {"organizationId": "ours"}
    assert caller({"user_id": "ada", "metadata": own}, theirs) == MemoryContext("ours", user_id="ada")
    assert caller({"phone": NUMBER, "metadata": own}, theirs) == MemoryContext("ours", phone=NUMBER)
    assert caller({"metadata": number}, theirs) == MemoryContext(phone=NUMBER)
    assert caller({"metadata": {**number, **theirs}}, {"organizationId": "x"}) == MemoryContext("theirs", phone=NUMBER)
    assert caller({"metadata": theirs}, number) == MemoryContext("theirs", phone=NUMBER)
    assert caller(None, number, theirs) == MemoryContext("theirs", phone=NUMBER)


@pytest.mark.parametrize(
    "forged", [{"user_id": "ada"}, {"userId": "ada"}, {"phone_verified": True}, {"phoneVerified": True}]
)
def test_metadata_name_no_user_and_verify_nothing(forged: dict[str, Any]) -> None:
    metadata = {"phoneNumber": NUMBER, **forged}
    assert caller(None, metadata) == MemoryContext(phone=NUMBER)
    assert caller({"metadata": metadata}) == MemoryContext(phone=NUMBER)
    assert caller(None, forged) is None


def test_what_the_host_verified_is_the_number_that_it_gave_itself() -> None:
    context = {"user_id": "ada", "phone_verified": True}
    assert caller(context, {"From": NUMBER}) == MemoryContext(user_id="ada", phone=NUMBER, phone_verified=False)
    own = {**context, "metadata": {"phoneNumber": NUMBER}}
    assert caller(own) == MemoryContext(user_id="ada", phone=NUMBER, phone_verified=True)


@pytest.mark.parametrize(
    "context",
    [
        {"user_id": 7},
        {"user_id": ""},
        {"userId": ["ada"]},
        {"organizationId": 7, "user_id": "ada"},
        {"phone": NUMBER, "phone_verified": "false"},
    ],
)
def test_a_name_in_the_context_that_is_none_is_refused(context: object) -> None:
    with pytest.raises(InvalidIdentity):
        caller(context, {"phoneNumber": OTHER})
