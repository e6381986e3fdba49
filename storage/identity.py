"""Identity: how a caller is named, by organization and user id, phone number, or both."""

import re
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

import phonenumbers

from storage.errors import InvalidIdentity, InvalidName, NoIdentity
from storage.names import check_name

DEFAULT_ORGANIZATION: Final = "default"
"""The organization where none is named."""

IdentityKind: TypeAlias = Literal["user", "phone"]

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""At most 15 digits (E.164, section 6.2.1). Whoever has fewer than seven is a service: the shortest are Niue's."""

_EXTENSION = re.compile(r"[0-9]{1,20}")

_WITHHELD: Final = {"+266696687", "+1266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"}
"""What telephony providers send for a withheld number: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE, as
their letters lie on a keypad. They look like numbers of Lesotho, Russia, Tanzania and China; everybody who withholds
his own would share one memory."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A phone number in E.164, and the extension behind it, which is no part of E.164."""

    e164: str
    extension: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.e164, str) and _E164.fullmatch(self.e164)):
            raise InvalidIdentity("The phone number is not in E.164 form (a plus sign and 7 to 15 digits).")
        if self.extension is not None and not (
            isinstance(self.extension, str) and _EXTENSION.fullmatch(self.extension)
        ):
            raise InvalidIdentity("The extension of a phone number is 1 to 20 digits.")

    @property
    def key(self) -> str:
        """The number with its extension (as in RFC 3966): people behind one switchboard are different people."""
        return self.e164 if self.extension is None else f"{self.e164};ext={self.extension}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a caller is named. Whom it names, a database knows (`storage/directory.py`).

    Made with something wrong in it, it raises InvalidIdentity; with neither user nor phone, NoIdentity.
    """

    organization: str = DEFAULT_ORGANIZATION
    user: str | None = None
    phone: PhoneNumber | None = None
    phone_verified: bool = False
    """The host has made sure that the caller answers this number, by a code sent there or the like."""

    def __post_init__(self) -> None:
        try:
            check_name(self.organization, "organization id")
            if self.user is not None:
                check_name(self.user, "user id")
        except InvalidName as error:
            raise InvalidIdentity(str(error)) from error
        if self.phone is not None and not isinstance(self.phone, PhoneNumber):
            raise InvalidIdentity("The phone of an identity is a PhoneNumber; Identity.of takes it as text.")
        if not isinstance(self.phone_verified, bool):  # the text "false" would be true
            raise InvalidIdentity("Whether a phone number is verified is true or false.")
        if self.user is None and self.phone is None:
            raise NoIdentity
        if self.phone_verified and self.phone is None:
            raise InvalidIdentity("There is no phone number that could be verified.")

    @classmethod
    def of(
        cls,
        *,
        organization: str = DEFAULT_ORGANIZATION,
        user: str | None = None,
        phone: str | None = None,
        phone_verified: bool = False,
        default_region: str | None = None,
    ) -> Self:
        """Return the identity of a caller whose phone number is given as text, as `parse_phone` reads it.

        A phone that names nobody (`anonymous`) is left out, verified or not. Raises NoIdentity if then nothing is left.
        """
        number = None if phone is None else parse_phone(phone, default_region)
        if phone is not None and number is None and user is None:
            raise NoIdentity("The phone number names nobody: write it with its country code, such as +12025550123.")
        verified = False if number is None else phone_verified
        return cls(organization=organization, user=user, phone=number, phone_verified=verified)

    @property
    def names(self) -> tuple[tuple[IdentityKind, str], ...]:
        """The names of the caller within the organization, the user id first."""
        user: tuple[tuple[IdentityKind, str], ...] = () if self.user is None else (("user", self.user),)
        return user if self.phone is None else (*user, ("phone", self.phone.key))

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same in all that is said of one person under one name.

        Beside a user id a phone number does not count: it decides nothing about who that is.
        """
        return (self.organization, *self.names[0])


@dataclass(frozen=True, slots=True)
class Unnamed(Identity):
    """Somebody of an organization whom nobody named: a job knows whose memory it is, and by no name."""

    def __post_init__(self) -> None:
        check_name(self.organization, "organization id")


def parse_phone(raw: str, default_region: str | None = None) -> PhoneNumber | None:
    """Return the phone number that `raw` writes; None if it is no number of one person.

    `default_region` (ISO 3166-1, `US`) is needed for numbers without country code. A number need not be valid or even
    possible in its country: numbering plans change, and `+1234567890` is a caller like another. None for `anonymous`
    and the numbers that stand for it, SIP addresses, numbers spelt in letters, service numbers, and whatever
    `phonenumbers` cannot read. Raises InvalidIdentity if there is no such region.
    """
    region = _checked_region(default_region)
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    if text[:4].lower() == "tel:":
        text = text[4:]
    number = _parse(text, region)
    if number is None or _says_more_than_a_number(text, number, region):
        return None
    e164 = _settled(number)
    if e164 is None or e164 in _WITHHELD or not number.national_number:
        return None
    extension = phonenumbers.normalize_digits_only(number.extension or "")
    return PhoneNumber(e164, extension or None)


def _checked_region(region: str | None) -> str | None:
    if region is None:
        return None
    if not isinstance(region, str) or region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidIdentity("The default region of phone numbers is a two-letter country code, such as US.")
    return region.upper()


def _parse(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _settled(number: phonenumbers.PhoneNumber) -> str | None:
    """Return the E.164 form that reads as itself; None if there is none.

    From some numbers that are not valid `phonenumbers` takes one more trunk prefix each time (`+20 00...`); then the
    number that somebody copies from a list would name another person.
    """
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    for _ in e164:  # it has no more prefixes than digits
        again = _parse(e164, None) if _E164.fullmatch(e164) else None
        if again is None:
            return None
        before, e164 = e164, phonenumbers.format_number(again, phonenumbers.PhoneNumberFormat.E164)
        if e164 == before:
            return e164
    return None


def _says_more_than_a_number(text: str, number: phonenumbers.PhoneNumber, region: str | None) -> bool:
    """Tell whether there are letters that do more than begin an extension: 1-800-FLOWERS, a name, a phone-context."""
    letter = next((position for position, character in enumerate(text) if character.isalpha()), None)
    if letter is None:
        return False
    before = _parse(text[:letter], region)
    same = before is not None and (before.country_code, before.national_number) == (
        number.country_code,
        number.national_number,
    )
    return not same or number.extension is None
