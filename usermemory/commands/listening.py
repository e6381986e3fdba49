"""Listening: what the commands have in common that serve over HTTP until they are told to stop."""

from collections.abc import Sequence
from contextlib import suppress

import click
from starlette.types import ASGIApp

from memory_tools.access import Verifier
from memory_tools.hosts import is_loopback
from storage.errors import InvalidInput
from usermemory.listening import bound, serve_http


def require_address(verifiers: Sequence[Verifier], url: str | None, host: str) -> None:
    """Raise InvalidInput where strangers bring tokens and nobody said at which address they know the server."""
    if verifiers and url is None and not is_loopback(host):
        raise InvalidInput("say at which address clients know this server: add --url https://...")


def listen(app: ASGIApp, host: str, port: int, shown: str = "") -> None:
    """Serve until the operator ends it. Where it listens is said first; `shown` stands behind that.

    Raises InvalidInput where it cannot listen there.
    """
    with bound(host, port) as listener:
        address = f"[{host}]" if ":" in host else host
        click.echo(f"Listening on http://{address}:{listener.getsockname()[1]}{shown}", err=True)
        with suppress(KeyboardInterrupt):  # that is how a server is stopped by hand
            serve_http(app, listener)
