"""Bearer: the token that a request brings, and the challenge that tells its sender which one to bring (RFC 6750)."""

from collections.abc import Sequence

from memory_tools.access import Scope
from storage.errors import InsufficientScope, Unauthenticated, UserMemoryError


def bearer_tokens(authorizations: Sequence[str]) -> list[str]:
    """Return the bearer tokens among the values of the Authorization headers of a request."""
    given = (value.partition(" ") for value in authorizations)
    return [token.strip() for kind, _, token in given if kind.lower() == "bearer"]


def one_token(authorizations: Sequence[str]) -> str | None:
    """Return the one token; None where none is brought, or something else beside it: nobody could say who asks."""
    tokens = bearer_tokens(authorizations)
    return tokens[0] if len(tokens) == len(authorizations) == 1 else None


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
