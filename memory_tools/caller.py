"""The caller: whose call a run is about, by what the host says in its context and what telephony says beside it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from memory_tools.context import ORGANIZATION, PHONE, USER, VERIFIED, MemoryContext, member
from storage.errors import InvalidIdentity
from storage.identity import DEFAULT_ORGANIZATION, Identity, parse_phone


def caller(context: object, *metadata: object, default_region: str | None = None) -> MemoryContext | None:
    """Return who calls, by the context of a run and then by its metadata; None where neither names anybody.

    Both are mappings or objects, and what is in neither form says nothing. The context has `organization`, `user_id`,
    `phone` and `phone_verified` (also as `organizationId`, `userId`, `phoneNumber`, ...) and perhaps a `metadata` of
    its own, which comes before the other ones (seed 004). In metadata, a phone number stands where telephony puts it:

    - `phoneNumber` or `phone_number`, as seed 004 has it;
    - LiveKit: the participant's attribute `sip.phoneNumber`, alone, in `attributes` or in `participant.attributes`
      (https://docs.livekit.io/reference/telephony/sip-participant);
    - Twilio: `From` of a request (https://www.twilio.com/docs/voice/twiml#twilios-request-to-your-application);
    - Telnyx: `from`, alone or in the `payload` of an event, as text or with a `phone_number`
      (https://developers.telnyx.com/docs/voice/programmable-voice/receiving-webhooks).

    Where Twilio or Telnyx say that the call goes out, its `from` is the host's own number, and `To` or `to` counts.
    The first text that stands anywhere decides: where it is no phone number of a person (`anonymous`, `client:alice`,
    a SIP address), no other one is looked for. `default_region` is that of `storage.identity.parse_phone`.

    Metadata may be what a caller's own telephone sent. So a user id, and that a number is verified, are taken from the
    context alone, and only a number that came with the context counts as verified. An organization is taken from the
    context; from `organizationId` of metadata only where the context names neither a user nor a phone. Whoever may
    choose the metadata of a run may choose the number: let only telephony do so. Raises InvalidIdentity for a user id
    or an organization that is none.
    """
    user = member(context, *USER)
    text = phone_said(context, *metadata)
    number = None if text is None else parse_phone(text, default_region)
    if user is None and number is None:
        return None
    organization = organization_said(context, *metadata)
    vouched = number is not None and bool(phone_said(context))
    verified = member(context, *VERIFIED) if vouched else None
    checked = Identity(
        organization=DEFAULT_ORGANIZATION if organization is None else organization,
        user=user,
        phone=number,
        phone_verified=False if verified is None else verified,
    )
    phone = None if number is None else number.key
    return MemoryContext(checked.organization, checked.user, phone, checked.phone_verified)


def phone_said(context: object, *metadata: object) -> str | None:
    """Return the text that stands where a phone number would, be it one, blank or neither; None where nothing stands.

    With a text but without a `caller` somebody calls who withholds the number.
    """
    told = (number for source in (member(context, "metadata"), *metadata) for number in _numbers(source))
    given, said = _phone_given(context), _first_text(told)
    return given or said or (given if said is None else said)


def organization_said(context: object, *metadata: object) -> Any:
    """Return the organization of the caller; None where nobody says it. Raises InvalidIdentity for one that is null.

    It is what the context or its own metadata name. Where these say neither a user nor a number, it is what the first
    of the other metadata names.
    """
    own = member(context, "metadata")
    named = member(context, *ORGANIZATION)
    if named is None and isinstance(context, Mapping) and not context.keys().isdisjoint(ORGANIZATION):
        raise InvalidIdentity("The organization of a context is a text; leave it out where there is none.")
    if named is None:
        named = member(own, "organizationId")
    if named is not None or member(context, *USER) is not None or phone_said(context) is not None:
        return named
    return next((each for each in (member(source, "organizationId") for source in metadata) if each is not None), None)


def _phone_given(context: object) -> str | None:
    """Return what the context itself has for a phone number."""
    return _first_text(member(context, name) for name in PHONE)


def _first_text(values: Iterable[object]) -> str | None:
    """Return the first text that says something; an empty one where only blank ones stand, None where none does."""
    texts = [value for value in values if isinstance(value, str)]
    return next((text for text in texts if text.strip()), "" if texts else None)


def _numbers(metadata: object) -> Iterator[object]:
    """Yield what stands in each place of a phone number."""
    yield member(metadata, "phoneNumber")
    yield member(metadata, "phone_number")
    for attributes in (metadata, member(metadata, "attributes"), member(member(metadata, "participant"), "attributes")):
        yield member(attributes, "sip.phoneNumber")
    for event in (metadata, member(metadata, "payload"), member(member(metadata, "data"), "payload")):
        for end in _other_end(event):
            yield end
            yield member(end, "phone_number")


def _other_end(event: object) -> tuple[object, object]:
    """Return who is at the other end of a call of Twilio or Telnyx."""
    direction = member(event, "Direction", "direction")
    if isinstance(direction, str) and direction.lower().startswith("out"):
        return member(event, "To"), member(event, "to")
    return member(event, "From"), member(event, "from")
