"""Named: the person whom a request names by its headers, where a gateway speaks for many."""

import re
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers

from memory_tools.access import Named
from storage.errors import InvalidIdentity

USER: Final = "Memory-User"
PHONE: Final = "Memory-Phone"
VERIFIED: Final = "Memory-Phone-Verified"
ORGANIZATION: Final = "Memory-Organization"
"""The headers by which a gateway names the person of a request, percent-encoded as in a URL."""

_BROKEN: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def person_named(headers: Headers) -> Named | None:
    """Return the person whom a request names by its headers; None where it names nobody. Raises InvalidIdentity."""
    user, phone, verified, organization = (_said(headers, name) for name in (USER, PHONE, VERIFIED, ORGANIZATION))
    if (user, phone, verified, organization) == (None, None, None, None):
        return None
    if verified not in (None, "true", "false"):
        raise InvalidIdentity(f"{VERIFIED} is true or false")
    return Named(user, phone, verified == "true", organization)


def _said(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise InvalidIdentity(f"{name} is given twice")
    if not values:
        return None
    try:
        # Bytes as they are would be read as Latin-1, and name somebody else.
        if values[0].isascii() and not _BROKEN.search(values[0]):
            return unquote(values[0], errors="strict")
    except UnicodeDecodeError:
        pass
    raise InvalidIdentity(f"{name} is not percent-encoded UTF-8")
