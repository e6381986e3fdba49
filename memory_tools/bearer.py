"""Bearer: the token that a request brings, who holds it, and the challenge that says which one to bring (RFC 6750)."""

import logging
from collections.abc import Iterable, Sequence

from memory_tools.access import Principal, Scope, Verifier, verified
from storage.errors import DatabaseUnavailable, InsufficientScope, Unauthenticated, UserMemoryError

_log = logging.getLogger(__name__)


def bearer_tokens(authorizations: Sequence[str]) -> list[str]:
    """Return the bearer tokens among the values of the Authorization headers of a request."""
    given = (value.partition(" ") for value in authorizations)
    return [token.strip() for kind, _, token in given if kind.lower() == "bearer"]


def one_token(authorizations: Sequence[str]) -> str | None:
    """Return the one token; None where none is brought, or something else beside it: nobody could say who asks."""
    tokens = bearer_tokens(authorizations)
    return tokens[0] if len(tokens) == len(authorizations) == 1 else None


def principal_of(verifiers: Iterable[Verifier], authorizations: Sequence[str]) -> Principal:
    """Return who holds the one token of a request. May block, as verifiers may: doors call it in a thread.

    Raises Unauthenticated where there is no such token or nobody knows it, DatabaseUnavailable where nobody can say.
    """
    token = one_token(authorizations)
    if token is None:
        raise Unauthenticated
    try:
        principal = verified(verifiers, token)
    except Exception as error:  # noqa: BLE001 - for the doors: an error of a host's verifier may quote the token
        _log.error("a token cannot be verified: %s", type(error).__name__)
        raise DatabaseUnavailable("Tokens cannot be verified at the moment: try again later.") from None
    if principal is None:
        raise Unauthenticated
    return principal


def require_no_token(authorizations: Sequence[str]) -> None:
    """Raise Unauthenticated where a token came to a server that knows none: whoever has it means somebody else."""
    if bearer_tokens(authorizations):
        raise Unauthenticated("This server belongs to one person and knows no tokens: leave Authorization out.")


def challenge(error: UserMemoryError, authorizations: Sequence[str], *more: str) -> str:
    """Return the WWW-Authenticate header of a refusal; `more` are further parameters. Without a token no error."""
    code = None
    if isinstance(error, InsufficientScope):
        code = "insufficient_scope"
    elif bearer_tokens(authorizations):
        code = "invalid_token"
    parts = [f'error="{code}"', f'error_description="{error}"'] if code else []
    parts.append(f'scope="{getattr(error, "scope", None) or Scope.READ}"')
    return f"Bearer {', '.join((*parts, *more))}"
