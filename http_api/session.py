"""Sessions: who asks by a cookie, as a signed one says or as the host finds out in its own way."""

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, TypeAlias

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from starlette.requests import Request

from storage.errors import InvalidInput, UserMemoryError
from storage.identity import DEFAULT_ORGANIZATION, Identity
from storage.transaction import Clock, utc_now

SessionResolver: TypeAlias = Callable[[Request], Identity | Awaitable[Identity | None] | None]
"""Says whose session a request belongs to; None for nobody's. One that is not async is called in a thread."""

COOKIE: Final = "usermemory_session"
"""What the cookie is called where nobody says otherwise: frameworks call theirs `session`."""

COOKIE_LIMIT: Final = 4_096
"""Characters of a cookie; nobody looks into a longer one."""

MAX_AGE: Final = timedelta(days=14)
"""How long a signed cookie counts."""

SECRET_BYTES: Final = 32
"""Bytes that a secret has at the least."""

_SALT: Final = "usermemory.session"


class SignedCookie:
    """Knows a person by a cookie that the host signed: its payload is `{"user": ..., "organization": ...}`."""

    def __init__(
        self,
        secret: str | bytes | Iterable[str | bytes],
        *,
        cookie: str = COOKIE,
        max_age: timedelta = MAX_AGE,
        clock: Clock = utc_now,
    ) -> None:
        """Sign and check by `secret`; of several the last one signs, and all of them count: so secrets are changed.

        Raises InvalidInput for a secret of less than SECRET_BYTES, and for a time that is none.
        """
        given = [secret] if isinstance(secret, str | bytes) else list(secret)
        secrets = [each.encode() if isinstance(each, str) else each for each in given]
        if not secrets or any(len(each) < SECRET_BYTES for each in secrets):
            raise InvalidInput(f"the secret of signed cookies has {SECRET_BYTES} bytes or more")
        if max_age <= timedelta(0):
            raise InvalidInput("a signed cookie counts for some time")
        self._cookie = cookie
        self._max_age = int(max_age.total_seconds())

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock().timestamp())

        self._serializer = URLSafeTimedSerializer(
            secrets, _SALT, json, signer=Signer, signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"}
        )

    @property
    def cookie(self) -> str:
        """What the cookie is called."""
        return self._cookie

    def sign(self, user: str, organization: str = DEFAULT_ORGANIZATION) -> str:
        """Return the value of a cookie for a person whom the host has signed in. Raises InvalidIdentity.

        Set it `HttpOnly`, `Secure` and `SameSite=Lax` or stricter.
        """
        identity = Identity(organization=organization, user=user)
        signed = self._serializer.dumps({"user": identity.user, "organization": identity.organization})
        return signed if isinstance(signed, str) else signed.decode()

    def __call__(self, request: Request) -> Identity | None:
        """Return who was signed in; None without the cookie, with two of them, and for one that does not count."""
        values = cookies(request, self._cookie)
        if len(values) != 1 or len(values[0]) > COOKIE_LIMIT:
            return None
        try:
            payload = self._serializer.loads(values[0], max_age=self._max_age)
            return _identity(payload)
        except (BadData, UserMemoryError):  # whatever is wrong with it, nobody is signed in
            return None


def cookies(request: Request, name: str) -> list[str]:
    """Return every value of a cookie: where there are two, nobody knows who set which."""
    pairs = (pair.partition("=") for header in request.headers.getlist("cookie") for pair in header.split(";"))
    return [value.strip() for each, _, value in pairs if each.strip() == name]


def _identity(payload: Any) -> Identity | None:
    if not isinstance(payload, dict) or not payload.keys() <= {"user", "organization"}:
        return None
    return Identity(organization=payload.get("organization", DEFAULT_ORGANIZATION), user=payload.get("user"))
