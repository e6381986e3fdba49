"""ETags: the version of a document or an item as HTTP names it, and the conditions that a request makes on it.

A document's tag is its version, `"41"`. An item's versions begin anew when it is deleted and made again, so its tag
says when it was made, too: `"2-6451a0c3f2e80"`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from starlette.datastructures import Headers

from http_api.problems import Malformed, PreconditionFailed
from memory_tools.memory import UserMemory
from storage.edits import named
from storage.errors import NotFound, VersionConflict
from storage.items import Item
from storage.outcome import Held, Outcome, Unchanged

_LIST: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSION: Final = re.compile("(0|[1-9][0-9]{0,17})(?:-([0-9a-f]{1,16}))?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Versioned(StrEnum):
    """What has versions."""

    DOCUMENT = "document"
    ITEM = "item"


class Version(NamedTuple):
    """A version, with all that its tag says."""

    number: int
    made: str = ""
    """When an item was made, in microseconds since 1970 as hexadecimal digits; nothing for a document."""


NOTHING: Final = Version(0)
"""An item that is not there, and a document in which nothing was written."""


@dataclass(frozen=True, slots=True)
class Tags:
    """The entity tags of one condition; those that are no version of ours match nothing."""

    any: bool = False
    """`*`: whatever version there is."""

    versions: frozenset[Version] = frozenset()
    weak: frozenset[Version] = frozenset()
    """Versions of weak tags: enough to tell that nothing is new, and not to change anything (RFC 9110, 8.8.3.2)."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request makes its answer depend on."""

    match: Tags | None = None
    none_match: Tags | None = None

    def is_known(self, version: Version) -> bool:
        """Tell whether the asker of a read has this version already."""
        tags = self.none_match
        return tags is not None and (tags.any or version in tags.versions or version in tags.weak)


def tag(version: Version) -> str:
    """Return the entity tag of a version."""
    return f'"{version.number}-{version.made}"' if version.made else f'"{version.number}"'


def conditions(headers: Headers, *, writes: bool, versioned: Versioned | None) -> Conditions | None:
    """Return the conditions of a request; None where it makes none, or a read has no version.

    Raises Malformed for what are no entity tags, and for a write on a condition that cannot be held.
    """
    match, none_match = _tags(headers, "If-Match"), _tags(headers, "If-None-Match")
    if match is None and none_match is None:
        return None
    if not writes:
        return None if versioned is None or none_match is None else Conditions(none_match=none_match)
    if versioned is None:
        raise Malformed("what is written here has no version: leave out If-Match and If-None-Match")
    if none_match is not None and (not none_match.any or match is not None):
        raise Malformed("a write takes If-Match, or If-None-Match: * for what is not there yet")
    return Conditions(match, none_match)


def version_of(answer: Item | Outcome) -> Version:
    """Return the version that is in force now."""
    return Version(answer.version, _made(answer) if isinstance(answer, Item) else "")


def read_document(act: Callable[[UserMemory, Any], Any], person: UserMemory, ask: Any) -> tuple[Any, Version]:
    """Return what is asked of the document and the version that was read: a part of it does not say."""
    whole = act(person, ask.model_copy(update={"pointer": None}))
    return named(whole, ask.pointer or ""), Version(whole.get("version", 0))


def held_to(
    conditions: Conditions, versioned: Versioned, act: Callable[[UserMemory, Any], Any], person: UserMemory, ask: Any
) -> Any:
    """Return what a write answers that keeps to its conditions; `person` is bound to a transaction of its own.

    Raises PreconditionFailed, and then the transaction must be given up. Documents are merged where others saved
    meanwhile; who makes a condition does not want that, so the version that came out has to be the next one.
    """
    expected = _expected(conditions, versioned, person, ask)
    if expected is None:
        return act(person, ask)
    try:
        answer = act(person, _expecting(ask, expected.number))
    except VersionConflict as error:
        raise PreconditionFailed(str(error), expected=error.expected, current=error.current) from None
    before = _before(answer)
    if before.number != expected.number:
        raise PreconditionFailed(f"it is at version {before.number}", expected=expected.number, current=before.number)
    if before != expected:
        raise PreconditionFailed("it was deleted and made again", expected=expected.number, current=before.number)
    return answer


def _tags(headers: Headers, name: str) -> Tags | None:
    values = headers.getlist(name)
    if not values:
        return None
    text = ",".join(values).strip()
    if text == "*":
        return Tags(any=True)
    versions: dict[bool, set[Version]] = {False: set(), True: set()}
    at = 0
    while at < len(text):
        found = _LIST.match(text, at)
        if found is None:
            raise Malformed(f'{name} is `*`, or tags in quotation marks, such as "41"')
        if version := _VERSION.fullmatch(found[2]):
            versions[found[1] is not None].add(Version(int(version[1]), version[2] or ""))
        at = found.end()
    if not text:
        raise Malformed(f"{name} is empty")
    return Tags(versions=frozenset(versions[False]), weak=frozenset(versions[True]))


def _expected(conditions: Conditions, versioned: Versioned, person: UserMemory, ask: Any) -> Version | None:
    """Return the version that has to be there; None where any will do."""
    tags = conditions.match
    if tags is None:  # If-None-Match: *
        return NOTHING
    if tags.any and versioned is Versioned.DOCUMENT:  # there always is one: version 0 is empty
        return None
    if not tags.any and len(tags.versions) == 1:
        only = next(iter(tags.versions))
        if (only.made != "") is (versioned is Versioned.ITEM):
            return only
    current = _current(versioned, person, ask)
    if current is not None and (tags.any or current in tags.versions):
        return current
    raise PreconditionFailed(current=(current or NOTHING).number)


def _current(versioned: Versioned, person: UserMemory, ask: Any) -> Version | None:
    """Return the version that is there; None where there is no item."""
    if versioned is Versioned.DOCUMENT:
        return Version(person.document.current().version)
    try:
        return version_of(person.items.get(ask.namespace, ask.key))
    except NotFound:
        return None


def _expecting(ask: BaseModel, version: int) -> BaseModel:
    """Return the question with the version that it expects, where it can say one."""
    if "expected_version" not in type(ask).model_fields:
        return ask
    if getattr(ask, "expected_version", None) not in (None, version):
        raise Malformed("expected_version and If-Match name different versions")
    return ask.model_copy(update={"expected_version": version})


def _before(answer: Item | Outcome) -> Version:
    """Return the version at which a write found what it changed."""
    now = version_of(answer)
    if isinstance(answer, Unchanged | Held):
        return now
    return NOTHING if now.number == 1 else now._replace(number=now.number - 1)


def _made(item: Item) -> str:
    return f"{(item.created_at - _EPOCH) // _MICROSECOND:x}"


VERSIONED: Final[dict[str, Versioned]] = {
    "get_user_memory": Versioned.DOCUMENT,
    "update_user_memory": Versioned.DOCUMENT,
    "revert_user_memory": Versioned.DOCUMENT,
    "accept_pending_version": Versioned.DOCUMENT,
    "get_memory_item": Versioned.ITEM,
    "set_memory_item": Versioned.ITEM,
    "push_memory_item": Versioned.ITEM,
}
"""The operations that say at which version they read or wrote."""
