"""Context: whose memory a run is about, as a host says it when the run begins; never as a model does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.identity import DEFAULT_ORGANIZATION

ORGANIZATION: Final = ("organization", "organizationId", "organization_id")
USER: Final = ("user_id", "userId")
PHONE: Final = ("phone", "phoneNumber", "phone_number")
VERIFIED: Final = ("phone_verified", "phoneVerified")
"""The names under which contexts have the members of an identity, the first that is there counts (seed 004)."""


@dataclass(frozen=True, slots=True)
class MemoryContext:
    """The identity of a run, as JSON values only: a LangGraph server builds it from a request."""

    organization: str = DEFAULT_ORGANIZATION
    user_id: str | None = None
    """A text, whatever it is elsewhere."""

    phone: str | None = None
    """A phone number with its country code. Alone it opens its owner's memory: the host vouches for it."""

    phone_verified: bool = False
    """The host has made sure that the user answers this number: then both are one person. No client may say so."""


def member(source: object, *names: str) -> Any:
    """Return the first of these members that a mapping or an object has; None where it has none of them."""
    values = (source.get(name) if isinstance(source, Mapping) else getattr(source, name, None) for name in names)
    return next((value for value in values if value is not None), None)
