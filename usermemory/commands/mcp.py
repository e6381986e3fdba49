"""`usermemory mcp`: a person's memory for MCP clients, over stdio or HTTP."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mcp_server.fitting import ANSWER_TOKENS, LEAST_TOKENS, MOST_TOKENS
from mcp_server.pace import PACE
from mcp_server.server import create_server
from memory_tools.access import Verifier
from memory_tools.hosts import is_loopback
from memory_tools.memory import Memory
from storage.errors import InvalidInput, NoIdentity
from usermemory.commands.group import examples
from usermemory.commands.mcp_install import command as install
from usermemory.commands.options import bound, database_option, default_database, perhaps_naming_a_person

NOBODY = (
    "Nobody was named, so there is no memory to serve. Add --user ID (or --phone NUMBER) behind `usermemory mcp`, or "
    "set USERMEMORY_USER. With --http, tokens can name people instead: add --issuer URL or --api-keys."
)


@dataclass(frozen=True)
class Tokens:
    """Whose bearer tokens are valid."""

    issuer: str | None
    jwks_url: str | None
    key_file: Path | None
    organization_claim: str | None
    api_keys: bool

    def verifiers(self, memory: Memory, organization: str, audience: str | None) -> Iterator[Verifier]:
        """Yield what verifies them. Raises InvalidInput where they could not be verified."""
        if self.api_keys:
            from memory_tools.keys import ApiKeys  # noqa: PLC0415 - stdio needs none of it

            yield ApiKeys(memory)
        if self.issuer is None:
            if self.jwks_url or self.key_file or self.organization_claim:
                raise InvalidInput("say whose tokens are verified that way: add --issuer URL")
            return
        if audience is None:
            raise InvalidInput("tokens have to be for this server: add --url, the address at which clients know it")
        from memory_tools.tokens import JwtVerifier  # noqa: PLC0415 - cryptography takes time

        yield JwtVerifier(
            issuer=self.issuer,
            audience=audience,
            jwks_url=self.jwks_url,
            key=self.key_file.read_text().strip() if self.key_file else None,
            organization=organization,
            organization_claim=self.organization_claim,
        )


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "usermemory mcp --user ada",
        "usermemory mcp install --client claude-desktop --user ada --write",
        "usermemory mcp --http --user ada",
        "usermemory mcp --http --api-keys --host 0.0.0.0 --url https://memory.example.com/mcp",
    ),
)
@perhaps_naming_a_person
@database_option
@click.option(
    "--tools",
    type=click.Choice(["read", "core", "all"]),
    default="all",
    help="Tools that read; also those that write (core); also those that delete.  [default: all]",
)
@click.option("--flow", metavar="NAME", help="The flow of the organization whose configuration holds.")
@click.option(
    "--max-tokens",
    type=click.IntRange(LEAST_TOKENS, MOST_TOKENS),
    default=ANSWER_TOKENS,
    help=f"Tokens of an answer where a client asks for no other number.  [default: {ANSWER_TOKENS}]",
)
@click.option("--pace", metavar="N/minute", default=PACE, help=f"Requests of one person.  [default: {PACE}]")
@click.option("--http", is_flag=True, help="Streamable HTTP instead of stdio.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Where HTTP listens.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=8365, help="0 takes a free one.  [default: 8365]")
@click.option("--path", metavar="PATH", default="/mcp", help="The path that speaks the protocol.  [default: /mcp]")
@click.option("--url", metavar="URL", help="The address at which clients know the server; tokens have to be for it.")
@click.option("--issuer", metavar="URL", help="Take JWTs of this issuer; people are known by their `sub`.")
@click.option("--jwks-url", metavar="URL", help="Where the issuer publishes its keys.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The key that is shared with the issuer, in a file.",
)
@click.option("--organization-claim", metavar="NAME", help="The claim of a token that names the organization.")
@click.option("--api-keys", is_flag=True, help="Take the keys that `usermemory keys` made.")
@click.option("--allow-host", metavar="NAME", multiple=True, help="A further name of the server. May be repeated.")
@click.option("--allow-origin", metavar="URL", multiple=True, help="Whose web pages may ask. May be repeated.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Serve a person's memory to MCP clients: Claude, Cursor, VS Code, or an agent of your own.

    Over stdio (the default) for one client that starts this command itself, until it closes the input. With --http over
    streamable HTTP: for one person on this machine, or for everybody who brings a valid token, which takes --issuer or
    --api-keys. Nothing else may listen beyond this machine.
    """
    if ctx.invoked_subcommand is None:
        _serve(**options)
    elif given := [name for name in options if _is_said(name)]:
        raise click.UsageError(f"Write --{given[0].replace('_', '-')} behind {ctx.invoked_subcommand}.")


command.add_command(install, "install")


def _serve(
    user: str | None,
    phone: str | None,
    region: str | None,
    organization: str,
    database: str | None,
    tools: Any,
    flow: str | None,
    max_tokens: int,
    pace: str,
    http: bool,
    **options: Any,
) -> None:
    tokens = Tokens(
        *(options.pop(name) for name in ("issuer", "jwks_url", "key_file", "organization_claim", "api_keys"))
    )
    by_token = http and (tokens.issuer is not None or tokens.api_keys)
    if user is None and phone is None and not by_token:
        raise NoIdentity(NOBODY)
    if by_token and any(map(_is_said, ("user", "phone"))):
        raise InvalidInput("either tokens name the people, or --user does: not both")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="usermemory: %(message)s")
    with Memory.open(database or default_database(), through="mcp", default_region=region) as memory:
        person = None if by_token else bound(memory, user, phone, organization)
        server = create_server(memory, person=person, tools=tools, flow=flow, answer_tokens=max_tokens, pace=pace)
        if http:
            _listen(server, memory, tokens, organization, **options)
        else:
            from mcp_server.stdio import run_stdio  # noqa: PLC0415 - one of the two is needed

            run_stdio(server)


def _is_said(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _listen(
    server: Any,
    memory: Memory,
    tokens: Tokens,
    organization: str,
    host: str,
    port: int,
    path: str,
    url: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
) -> None:
    from mcp_server.app import create_app  # noqa: PLC0415 - one of the two is needed
    from mcp_server.listening import bound as listening  # noqa: PLC0415
    from mcp_server.listening import serve_http  # noqa: PLC0415

    verifiers = list(tokens.verifiers(memory, organization, url))
    if verifiers and url is None and not is_loopback(host):
        raise InvalidInput("say at which address clients know this server: add --url https://...")
    if not path.startswith("/"):
        raise InvalidInput(f"a path begins with a slash: {path!r} does not")
    app = create_app(
        server,
        memory,
        verifiers=verifiers,
        url=url,
        authorization_servers=[tokens.issuer] if tokens.issuer else [],
        listens_on=host,
        hosts=allow_host,
        origins=allow_origin,
        path=path,
    )
    with listening(host, port) as listener:
        address = f"[{host}]" if ":" in host else host
        click.echo(f"Listening on http://{address}:{listener.getsockname()[1]}{path}", err=True)
        serve_http(app, listener)
