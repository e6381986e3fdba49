"""Named: the person whom a request names by its headers, where a gateway speaks for many."""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote

from memory_tools.access import Named
from storage.errors import InvalidIdentity

USER: Final = "Memory-User"
PHONE: Final = "Memory-Phone"
VERIFIED: Final = "Memory-Phone-Verified"
ORGANIZATION: Final = "Memory-Organization"
"""The headers by which a gateway names the person of a request, percent-encoded as in a URL."""

Headers: TypeAlias = Callable[[str], Sequence[str]]
"""Gives every value of the header of a name, as `getlist` of Starlette's headers does."""

_BROKEN: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def person_named(headers: Headers) -> Named | None:
    """Return the person whom a request names by its headers; None where it names nobody. Raises InvalidIdentity."""
    user, phone, verified, organization = (_said(headers, name) for name in (USER, PHONE, VERIFIED, ORGANIZATION))
    if (user, phone, verified, organization) == (None, None, None, None):
        return None
    if verified not in (None, "true", "false"):
        raise InvalidIdentity(f"{VERIFIED} is true or false")
    return Named(user, phone, verified == "true", organization)


def decoded(text: str) -> str | None:
    """Return what percent-encoded UTF-8 stands for; None where it is none.

    Bytes as they are would be read as Latin-1, and name somebody else.
    """
    if not text.isascii() or _BROKEN.search(text):
        return None
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None


def _said(headers: Headers, name: str) -> str | None:
    values = headers(name)
    if len(values) > 1:
        raise InvalidIdentity(f"{name} is given twice")
    if not values:
        return None
    said = decoded(values[0])
    if said is None:
        raise InvalidIdentity(f"{name} is not percent-encoded UTF-8")
    return said
