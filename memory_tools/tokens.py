"""Tokens: the verifier of JSON Web Tokens, signed by an issuer's published keys or with a key that both sides share."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

from memory_tools.access import NAMING, TOKEN_LIMIT, Principal, known_scopes
from storage.canonical import parse
from storage.errors import InvalidInput
from storage.identity import DEFAULT_ORGANIZATION, Identity
from storage.names import check_name
from storage.transaction import Clock, utc_now

PUBLISHED_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    "EdDSA",
)
"""How an issuer may sign whose keys are published. Nothing that a published key could forge."""

SHARED_ALGORITHMS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""How may be signed with a shared key, and the bytes that the key must have: those of the hash (RFC 7518, 3.2)."""

LEEWAY: Final = 30
"""Seconds by which the clocks of issuer and server may differ."""

LEEWAY_LIMIT: Final = 300
"""Seconds of leeway at the most."""

KEYS_LIFESPAN: Final = 300
"""Seconds after which the issuer's keys are asked for again."""

KEYS_PAUSE: Final = 30
"""Seconds between two questions to the issuer at the least, whatever key a token names."""

KEYS_TRUSTED: Final = 86_400
"""Seconds for which keys are trusted whose issuer does not answer any more."""

KEYS_TIMEOUT: Final = 5
"""Seconds that the issuer may take for its answer."""

_REQUIRED: Final = ["exp", "aud", "iss", "sub"]

_log = logging.getLogger(__name__)


class JwtVerifier:
    """Knows the holders of one issuer's tokens. Thread-safe; a token that names an unknown key may ask the issuer."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Iterable[str],
        jwks_url: str | None = None,
        key: str | bytes | None = None,
        algorithms: Iterable[str] | None = None,
        organization: str = DEFAULT_ORGANIZATION,
        organization_claim: str | None = None,
        leeway: float = LEEWAY,
        clock: Clock = utc_now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Verify tokens by the keys at `jwks_url` or by a shared `key`, one of the two.

        `audience` is who a token must be for: this server's own URL, or several names of it. The person is the `sub`
        of a token, in `organization`; or in the one that its `organization_claim` names, and then a token without the
        claim is not valid. `algorithms` are those of PUBLISHED_ALGORITHMS, or HS256 with a shared key, where it is not
        said. `clock` says now, `timer` seconds that only pass. Raises InvalidInput, InvalidName.
        """
        if (jwks_url is None) == (key is None):
            raise InvalidInput("give either the URL of the issuer's keys or a key that is shared with it")
        self._issuer = _given(issuer, "issuer")
        audiences = [audience] if isinstance(audience, str) else list(audience)
        self._audience = [_given(each, "audience") for each in audiences]
        _given(self._audience, "audience")
        self._organization = check_name(organization, "organization id")
        self._organization_claim = organization_claim
        if not 0 <= leeway <= LEEWAY_LIMIT:
            raise InvalidInput(f"the leeway is between 0 and {LEEWAY_LIMIT} seconds")
        self._leeway = leeway
        self._clock = clock
        self._keys: _SharedKey | _PublishedKeys
        if key is not None:
            self._algorithms = list(("HS256",) if algorithms is None else algorithms)
            self._keys = _SharedKey(key, self._algorithms)
        else:
            self._algorithms = _allowed(PUBLISHED_ALGORITHMS if algorithms is None else algorithms)
            self._keys = _PublishedKeys(str(jwks_url), timer)

    def verify(self, token: str) -> Principal | None:
        """Return who holds the token; None where it is not valid, not this issuer's, or no JSON Web Token."""
        if len(token) > TOKEN_LIMIT or not token.isascii():
            return None
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            return None if key is None else self._principal(self._claims(token, key))
        except (jwt.PyJWTError, InvalidInput):  # each says that the token is wrong, and may quote it
            return None

    def _claims(self, token: str, key: "jwt.PyJWK | bytes") -> dict[str, Any]:
        claims = _reader.decode(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._audience,
            issuer=self._issuer,
            options={
                "require": _REQUIRED,
                "verify_exp": False,  # PyJWT takes the text "9999999999" for a time
                "verify_nbf": False,
                "verify_iat": False,
                "enforce_minimum_key_length": True,
            },
        )
        now = self._clock().timestamp()
        begins = (_seconds(claims.get(name, now)) for name in ("nbf", "iat"))
        if _seconds(claims["exp"]) <= now - self._leeway or any(moment > now + self._leeway for moment in begins):
            raise InvalidInput("the token is not valid now")
        return claims

    def _principal(self, claims: dict[str, Any]) -> Principal:
        organization = self._organization
        if self._organization_claim is not None:
            organization = claims.get(self._organization_claim, "")
        identity = Identity(organization=organization, user=claims["sub"])
        scopes = known_scopes(_words(claims.get("scope", claims.get("scp"))))
        actor = f"{self._issuer}#{identity.user}"
        # Who acts for others is a gateway and no person: its subject has no memory that a request could fall back on.
        return Principal(actor, organization, scopes, identity if NAMING.isdisjoint(scopes) else None)


class _Reader(jwt.PyJWT):
    """Reads the payload of a token by our own gate, which refuses a member that is given twice, NaN and NUL."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        payload = parse(decoded["payload"], limit=TOKEN_LIMIT)
        if not isinstance(payload, dict):
            raise InvalidInput("the payload of a token is an object")
        return payload


_reader: Final = _Reader()


class _SharedKey:
    """One key for every token, whatever key it names."""

    def __init__(self, key: str | bytes, algorithms: list[str]) -> None:
        self._key = key.encode() if isinstance(key, str) else key
        for algorithm in _allowed(algorithms, SHARED_ALGORITHMS):
            if len(self._key) < SHARED_ALGORITHMS[algorithm]:
                raise InvalidInput(f"a shared key for {algorithm} has {SHARED_ALGORITHMS[algorithm]} bytes or more")
            try:
                jwt.get_algorithm_by_name(algorithm).prepare_key(self._key)
            except jwt.InvalidKeyError:  # PEM or SSH: whoever knows the public half could sign with it
                raise InvalidInput("half of a key pair is no shared key") from None

    def find(self, _kid: object) -> bytes:
        """Return the key."""
        return self._key


class _PublishedKeys:
    """The keys that an issuer publishes (a JWK Set, RFC 7517), kept while it does not answer, for KEYS_TRUSTED."""

    def __init__(self, url: str, timer: Callable[[], float]) -> None:
        self._client = jwt.PyJWKClient(_safe(url), cache_jwk_set=False, timeout=KEYS_TIMEOUT)
        self._timer = timer
        self._asking = Lock()
        self._asked = -math.inf
        self._answered = -math.inf
        self._known: dict[str, jwt.PyJWK] = {}

    def find(self, kid: object) -> jwt.PyJWK | None:
        """Return the key that a token names, or None. The issuer is waited for where nothing can be said without it."""
        if not isinstance(kid, str):
            return None
        if self._is_due(kid) and self._asking.acquire(blocking=self._trusted(kid) is None):
            try:
                if self._is_due(kid):  # else somebody has just asked
                    self._ask()
            finally:
                self._asking.release()
        return self._trusted(kid)

    def _trusted(self, kid: str) -> jwt.PyJWK | None:
        return self._known.get(kid) if self._timer() - self._answered < KEYS_TRUSTED else None

    def _is_due(self, kid: str) -> bool:
        now = self._timer()
        wanted = self._trusted(kid) is None or now - self._answered >= KEYS_LIFESPAN
        return wanted and now - self._asked >= KEYS_PAUSE

    def _ask(self) -> None:
        """Replace the known keys by those that are published now; where nobody answers they stay."""
        try:
            keys = self._client.get_signing_keys()
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            _log.warning("the keys of %s cannot be read: %s", self._client.uri, type(error).__name__)
        else:
            self._known = {str(key.key_id): key for key in keys}
            self._answered = self._timer()
        finally:
            self._asked = self._timer()


def _safe(url: str) -> str:
    """Return a URL whose answer nobody on the way can change: https, or this machine. Raises InvalidInput."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))):
        return url
    raise InvalidInput("the URL of the issuer's keys begins with https://, or with http:// on this machine alone")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed(algorithms: Iterable[str], known: Iterable[str] = PUBLISHED_ALGORITHMS) -> list[str]:
    wanted = list(algorithms)
    if not wanted or not set(wanted) <= set(known):
        raise InvalidInput(f"the algorithms of these tokens are some of {', '.join(known)}")
    return wanted


def _given(value: Any, what: str) -> Any:
    if not value:
        raise InvalidInput(f"the {what} of the tokens is not named")
    return value


def _seconds(value: object) -> float:
    """Return a time as the seconds that RFC 7519 has: a number, and no text or truth."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput("a time in a token is a number")
    return value


def _words(scopes: object) -> list[str]:
    """Return the words of a `scope` (text) or `scp` (text or a list)."""
    if isinstance(scopes, str):
        return scopes.split()
    return [each for each in scopes if isinstance(each, str)] if isinstance(scopes, list) else []
