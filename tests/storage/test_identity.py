"""Identity: who can be named, and which phone numbers name one person."""

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidIdentity, NoIdentity
from storage.identity import Identity, PhoneNumber, parse_phone

SWITCHBOARD = "+16502530000"

NUMBERS = [
    ("+1234567890", None, "+1234567890"),  # no valid number, and a caller like another
    ("+16502530000", None, SWITCHBOARD),
    (" +1 650 253 0000 ", None, SWITCHBOARD),
    ("+1 (650) 253-0000", None, SWITCHBOARD),
    ("+1.650.253.0000", None, SWITCHBOARD),
    ("+１６５０２５３００００", None, SWITCHBOARD),
    ("＋１６５０２５３００００", None, SWITCHBOARD),
    ("\u202a+1 650-253-0000\u202c", None, SWITCHBOARD),  # as copied from a contact list
    ("tel:+1-650-253-0000", None, SWITCHBOARD),
    ("TEL:+16502530000", None, SWITCHBOARD),
    ("(650) 253-0000", "US", SWITCHBOARD),
    ("(650) 253-0000", "us", SWITCHBOARD),
    ("0016502530000", "DE", SWITCHBOARD),
    ("+16502530000", "DE", SWITCHBOARD),
    ("+٩٦٦٥٠١٢٣٤٥٦٧", None, "+966501234567"),
    ("+39 06 1234", None, "+39061234"),
    ("06 1234", "IT", "+39061234"),
    ("030 123456", "DE", "+4930123456"),
    ("+54 11 15 2345 6789", None, "+5491123456789"),
    ("+54 9 11 2345 6789", None, "+5491123456789"),
    ("+683 4000", None, "+6834000"),
    ("+17378742833", None, "+17378742833"),  # a number of Texas that has the digits of RESTRICTED
    ("+1 650 253 0000 ext. 12", None, SWITCHBOARD + ";ext=12"),
    ("+1 650 253 0000 x12", None, SWITCHBOARD + ";ext=12"),
    ("+1 650 253 0000 #12", None, SWITCHBOARD + ";ext=12"),
    ("+1 650 253 0000 extension 12", None, SWITCHBOARD + ";ext=12"),
    ("+1 650 253 0000 доб. 12", None, SWITCHBOARD + ";ext=12"),
    ("+1 650 253 0000 ｅｘｔ １２", None, SWITCHBOARD + ";ext=12"),
    ("+16502530000;ext=12", None, SWITCHBOARD + ";ext=12"),
    ("tel:+1-650-253-0000;ext=0012", None, SWITCHBOARD + ";ext=0012"),
    ("(650) 253-0000 x12", "US", SWITCHBOARD + ";ext=12"),
]

NOBODY = [
    ("", None),
    (" ", None),
    ("+", None),
    ("++", None),
    ("-", None),
    ("0", None),
    ("0", "US"),
    ("1", "US"),
    ("anonymous", None),
    ("anonymous", "US"),
    ("Anonymous", "DE"),
    ("unknown", "US"),
    ("restricted", "US"),
    ("private", "US"),
    ("PRIVATE NUMBER", "US"),
    ("unavailable", "US"),
    ("blocked", "US"),
    ("null", "US"),
    ("None", "US"),
    ("undefined", "US"),
    ("+266696687", None),
    ("266696687", "US"),
    ("+266 696 687", None),
    ("+7378742833", None),
    ("+2562533", None),
    ("+8656696", None),
    ("+86282452253", None),
    ("+10000000000", None),
    ("0000000000", "US"),
    ("000000", "DE"),
    ("911", "US"),
    ("112", "DE"),
    ("+112", None),
    ("sip:ada@example.com", None),
    ("sip:+16502530000@example.com", None),
    ("sip:6502530000@example.com", "US"),
    ("sips:+16502530000@example.com", None),
    ("sip:anonymous@anonymous.invalid", None),
    ("tel:", None),
    ("tel:anonymous", None),
    ("tel:863-1234;phone-context=+1-914-555", None),
    ("tel:863-1234;phone-context=+1-914-555", "US"),
    ("tel:7042;phone-context=example.com", "US"),
    ("+16502530000;phone-context=+49", None),
    ("client:ada", None),
    ("whatsapp:+16502530000", None),
    ("6502530000", None),
    ("16502530000", None),
    ("1-800-FLOWERS", "US"),
    ("+1800FLOWERS", None),
    ("+1800FLOWERS#12", None),
    ("+1800FLOWERS x12", None),
    ("+16502530000 Ada", None),
    ("+16502530000 艾达", None),
    ("tel:+16502530000;isub=1234", None),
    ("call +16502530000", None),
    ("+1650253OOOO", None),
    ("abcdefghij", "US"),
    ("+abcdefghij", None),
    ("+0123456789", None),
    ("+999123456789", None),
    ("+1650253000012345", None),
    ("+" + "1" * 18, None),
    ("+" + "1" * 250, None),
    ("9" * 100_000, "US"),
    ("+1650\x002530000", None),
    ("+1 650\n253 0000", None),
    ("+1_650_253_0000", None),
    ("+1 650 253 0000/+1 650 253 0001", None),
    ("+1,6502530000,,12", None),
    ("' OR 1=1 --", "US"),
    ("\ud800", None),
    ("☎", None),
]


@pytest.mark.parametrize(("raw", "region", "key"), NUMBERS, ids=ascii)
def test_a_phone_number_is_read_however_it_is_written(raw: str, region: str | None, key: str) -> None:
    number = parse_phone(raw, region)
    assert number is not None
    assert number.key == key


@pytest.mark.parametrize(("raw", "region"), NOBODY, ids=lambda text: ascii(text)[:40])
def test_what_is_no_number_of_one_person_names_nobody(raw: str, region: str | None) -> None:
    assert parse_phone(raw, region) is None
    with pytest.raises(NoIdentity):
        Identity.of(phone=raw, default_region=region)


@pytest.mark.parametrize("raw", [None, 16502530000, b"+16502530000", ["+16502530000"], True])
def test_what_is_not_text_is_no_phone_number(raw: Any) -> None:
    assert parse_phone(raw) is None


@pytest.mark.parametrize("region", ["", "USA", "XX", "1", "Germany", "\0", 49])
def test_a_region_that_does_not_exist_is_an_error_and_no_silence(region: Any) -> None:
    with pytest.raises(InvalidIdentity, match="region"):
        parse_phone("+16502530000", region)


def test_people_behind_one_switchboard_are_different_people() -> None:
    keys = {Identity.of(phone=phone).names for phone in (SWITCHBOARD, f"{SWITCHBOARD} x1", f"{SWITCHBOARD} x2")}
    assert len(keys) == 3


def test_the_extension_is_kept_apart_from_the_number() -> None:
    assert parse_phone("+1 650 253 0000 ext. 0012") == PhoneNumber(e164=SWITCHBOARD, extension="0012")


@given(st.text(max_size=40), st.sampled_from([None, "US", "DE"]))
def test_any_text_gives_a_number_or_nobody(raw: str, region: str | None) -> None:
    number = parse_phone(raw, region)
    assert number is None or parse_phone(number.key) == number


@given(st.from_regex(r"\+[1-9][0-9]{6,14}(;ext=[0-9]{1,6})?", fullmatch=True))
def test_reading_a_key_again_gives_the_same_number(raw: str) -> None:
    number = parse_phone(raw)
    assert number is None or parse_phone(number.key) == number


@pytest.mark.parametrize(
    "e164", ["", "+", "16502530000", "+0123456789", "+123456", "+1234567890123456", "+1650253000O"]
)
def test_a_phone_number_is_checked_when_made(e164: str) -> None:
    with pytest.raises(InvalidIdentity):
        PhoneNumber(e164)


@pytest.mark.parametrize("extension", ["", "x", "12;ext=13", "1" * 21, "１２", 12, "12\n"])
def test_an_extension_is_checked_when_made(extension: Any) -> None:
    with pytest.raises(InvalidIdentity):
        PhoneNumber(SWITCHBOARD, extension)


def test_an_identity_has_its_names_in_order() -> None:
    both = Identity.of(user="ada", phone="+16502530000 x12", phone_verified=True)
    assert both.names == (("user", "ada"), ("phone", "+16502530000;ext=12"))
    assert Identity(user="ada").names == (("user", "ada"),)
    assert Identity(phone=PhoneNumber(SWITCHBOARD)).names == (("phone", SWITCHBOARD),)


def test_an_identity_belongs_to_the_default_organization_unless_one_is_named() -> None:
    assert Identity(user="ada").organization == "default"
    assert Identity.of(organization="acme", user="ada") == Identity(organization="acme", user="ada")


@pytest.mark.parametrize("phone", [None, "", "anonymous", "sip:x@y"])
def test_nobody_is_named_without_a_user_and_a_usable_phone(phone: str | None) -> None:
    with pytest.raises(NoIdentity):
        Identity.of(phone=phone)
    with pytest.raises(NoIdentity):
        Identity()


def test_a_withheld_number_beside_a_user_is_left_out_even_when_called_verified() -> None:
    assert Identity.of(user="ada", phone="anonymous", phone_verified=True) == Identity(user="ada")


@pytest.mark.parametrize(
    "bad",
    [
        {"user": ""},
        {"user": " ada"},
        {"user": "ada\0"},
        {"user": "x" * 257},
        {"user": "ad\u200ba"},
        {"user": "Jose\u0301"},
        {"user": "\ud800"},
        {"user": 42},
        {"user": b"ada"},
        {"user": "ada", "organization": ""},
        {"user": "ada", "organization": None},
        {"user": "ada", "organization": "acme\n"},
        {"user": "ada", "organization": "acme "},
        {"user": "ada", "phone": SWITCHBOARD},
        {"user": "ada", "phone": 16502530000},
        {"user": "ada", "phone_verified": True},
        {"phone": PhoneNumber(SWITCHBOARD), "phone_verified": "false"},
        {"phone": PhoneNumber(SWITCHBOARD), "phone_verified": 1},
        {"phone": PhoneNumber(SWITCHBOARD), "phone_verified": None},
    ],
    ids=ascii,
)
def test_an_identity_is_checked_when_made(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidIdentity):
        Identity(**bad)


def test_a_truthy_word_does_not_verify_a_phone() -> None:
    with pytest.raises(InvalidIdentity):
        Identity.of(phone=SWITCHBOARD, phone_verified="false")  # type: ignore[arg-type]


def test_an_identity_cannot_be_given_by_position_or_changed() -> None:
    with pytest.raises(TypeError):
        Identity("ada")  # type: ignore[call-arg]  # it would be taken for the organization
    with pytest.raises(FrozenInstanceError):
        Identity(user="ada").user = "bob"  # type: ignore[misc]


def test_an_identity_survives_pickling_and_works_as_a_key() -> None:
    identity = Identity.of(user="ada", phone=f"{SWITCHBOARD} x12")
    assert pickle.loads(pickle.dumps(identity)) == identity
    assert len({identity, Identity.of(user="ada", phone=f"{SWITCHBOARD} ext 12")}) == 1
