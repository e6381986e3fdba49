"""Errors: what can go wrong with memory, each with a stable `code` that every door shows.

UserMemoryError
├── InvalidInput              invalid_input
│   ├── InvalidJson           invalid_json
│   ├── InvalidName           invalid_name
│   ├── InvalidIdentity       invalid_identity
│   ├── InvalidPatch          invalid_patch
│   ├── InvalidDocument       invalid_document
│   ├── InvalidTranscript     invalid_transcript
│   └── TooLarge              too_large
├── NoIdentity                no_identity
├── AccessDenied              access_denied
│   ├── Unauthenticated       unauthenticated
│   └── InsufficientScope     insufficient_scope
├── RateLimited               rate_limited
├── TimedOut                  timed_out
├── PatchDoesNotApply         patch_does_not_apply
├── NotFound                  not_found
├── Conflict                  conflict
│   ├── VersionConflict       version_conflict
│   ├── IdentityConflict      identity_conflict
│   └── IdempotencyKeyReused  idempotency_key_reused
├── Erased                    erased
├── MemoryDisabled            memory_disabled
├── UntrustedSource           untrusted_source
├── SummarizerFailed          summarizer_failed
└── DatabaseError             database_error
    ├── NotMigrated           not_migrated
    ├── UnsafeRole            unsafe_role
    └── DatabaseUnavailable   database_unavailable
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class UserMemoryError(Exception):
    """Something went wrong with memory."""

    code: ClassVar[str] = "user_memory_error"

    def __init__(self, message: str | None = None) -> None:
        """Take `message`, or the first line of the class docstring when there is none."""
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def details(self) -> Mapping[str, Any]:
        """What a program may want to know beside the message, as JSON values."""
        return {}


class InvalidInput(UserMemoryError):
    """The input is not valid."""

    code = "invalid_input"

    def __init__(self, message: str | None = None, *, pointer: str | None = None) -> None:
        """`pointer` is the JSON pointer (RFC 6901) of the offending place, where there is one."""
        super().__init__(message)
        self.pointer = pointer

    @property
    def details(self) -> Mapping[str, Any]:
        """The JSON pointer of the offending place, where there is one."""
        return {} if self.pointer is None else {"pointer": self.pointer}


class InvalidJson(InvalidInput):
    """The value is not JSON that can be kept without loss."""

    code = "invalid_json"


class InvalidName(InvalidInput):
    """A namespace, key or id is not acceptable."""

    code = "invalid_name"


class InvalidIdentity(InvalidInput):
    """The identity is not acceptable."""

    code = "invalid_identity"


class InvalidPatch(InvalidInput):
    """The patch is not an RFC 6902 patch, or asks for more than is allowed."""

    code = "invalid_patch"


class InvalidDocument(InvalidInput):
    """The document does not have the shape that was agreed for it."""

    code = "invalid_document"


class InvalidTranscript(InvalidInput):
    """The transcript cannot be read."""

    code = "invalid_transcript"


class TooLarge(InvalidInput):
    """The value is larger than its limit."""

    code = "too_large"


class NoIdentity(UserMemoryError):
    """Nobody was named: give a user id, a phone number, or both."""

    code = "no_identity"


class AccessDenied(UserMemoryError):
    """This caller may not do that."""

    code = "access_denied"


class Unauthenticated(AccessDenied):
    """Nobody vouches for this caller: send a valid bearer token."""

    code = "unauthenticated"


class InsufficientScope(AccessDenied):
    """The token was given for less than this."""

    code = "insufficient_scope"

    def __init__(self, message: str | None = None, *, scope: str | None = None) -> None:
        """`scope` is what the token would have to be given for."""
        super().__init__(message)
        self.scope = scope

    @property
    def details(self) -> Mapping[str, Any]:
        """The scope that is missing, where one is known."""
        return {} if self.scope is None else {"scope": self.scope}


class RateLimited(UserMemoryError):
    """Too many requests for this person: wait before the next one."""

    code = "rate_limited"

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        """`retry_after` is how many seconds to wait."""
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def details(self) -> Mapping[str, Any]:
        """The seconds to wait, where they are known."""
        return {} if self.retry_after is None else {"retry_after": self.retry_after}


class TimedOut(UserMemoryError):
    """It took too long; a change may still be made: read before you try again."""

    code = "timed_out"


class PatchDoesNotApply(UserMemoryError):
    """The patch does not apply to this document."""

    code = "patch_does_not_apply"


class NotFound(UserMemoryError):
    """There is nothing there."""

    code = "not_found"


class Conflict(UserMemoryError):
    """Somebody else changed the same thing."""

    code = "conflict"


class VersionConflict(Conflict):
    """Somebody saved a newer version first. Read it and try again."""

    code = "version_conflict"

    def __init__(
        self,
        message: str | None = None,
        *,
        expected: int | None = None,
        current: int | None = None,
        conflicts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`conflicts` are the places both sides changed: `{pointer, base, ours, theirs}`, absent where removed."""
        super().__init__(message)
        self.expected = expected
        self.current = current
        self.conflicts = tuple(conflicts)

    @property
    def details(self) -> Mapping[str, Any]:
        """The version expected, the current one, and the places that both sides changed."""
        return {"expected": self.expected, "current": self.current, "conflicts": [dict(c) for c in self.conflicts]}


class IdentityConflict(Conflict):
    """The user id and the verified phone number belong to two different people."""

    code = "identity_conflict"

    def __init__(self, message: str | None = None, *, owner: str | None = None, other: str | None = None) -> None:
        """`owner` is whom the user id names, `other` whom the phone number names (stored ids)."""
        super().__init__(message)
        self.owner = owner
        self.other = other


class IdempotencyKeyReused(Conflict):
    """This idempotency key was used before, for another request."""

    code = "idempotency_key_reused"


class Erased(UserMemoryError):
    """This person's memory was erased."""

    code = "erased"


class MemoryDisabled(UserMemoryError):
    """Memory is switched off for this organization or flow."""

    code = "memory_disabled"


class UntrustedSource(UserMemoryError):
    """A tool spoke since the person did, and this may be its idea: change it once the person has said so."""

    code = "untrusted_source"


class SummarizerFailed(UserMemoryError):
    """The summarizer gave no usable document."""

    code = "summarizer_failed"


class DatabaseError(UserMemoryError):
    """The database cannot be used."""

    code = "database_error"


class NotMigrated(DatabaseError):
    """The database is not at the version this program needs: run `usermemory migrate`."""

    code = "not_migrated"


class UnsafeRole(DatabaseError):
    """The database role could see past row security, so nothing is done with it."""

    code = "unsafe_role"


class DatabaseUnavailable(DatabaseError):
    """The database does not answer."""

    code = "database_unavailable"
