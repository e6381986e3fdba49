"""`usermemory mcp`: a person's memory for MCP clients, over stdio or HTTP."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mcp_server.buckets import PACE
from mcp_server.fitting import ANSWER_TOKENS, LEAST_TOKENS, MOST_TOKENS
from usermemory.commands.group import examples
from usermemory.commands.mcp_install import command as install
from usermemory.commands.options import database_option, perhaps_naming_a_person

OVER_HTTP = (
    *("host", "port", "path", "url", "issuer", "jwks_url", "key_file", "organization_claim", "api_keys"),
    *("allow_host", "allow_origin"),
)
"""The options that say nothing without --http."""


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
@click.option(
    "--pace",
    metavar="N/minute",
    default=PACE,
    help=f"Requests of one person, by second, minute, hour or day.  [default: {PACE}]",
)
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
    help="The key that is shared with the issuer: the bytes of a file, but for a line end.",
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
    if ctx.invoked_subcommand is not None:
        _refuse(options, f"stands behind {ctx.invoked_subcommand}")
        return
    http = options.pop("http")
    by_token = http and (options["issuer"] is not None or options["api_keys"])
    if not http:
        _refuse(OVER_HTTP, "says nothing over stdio: give --http, too")
    if by_token:
        _refuse(("user", "phone"), "names one person, and tokens name them here: not both")
    over_http = {name: options.pop(name) for name in OVER_HTTP}
    serving = import_module("usermemory.commands.mcp_serving")  # the SDK takes a second, and the help needs none of it
    serving.serve(**options, over_http=over_http if http else None, by_token=by_token)


command.add_command(install, "install")


def _refuse(names: Any, because: str) -> None:
    """Refuse what was written and would have no effect."""
    context = click.get_current_context()
    said = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if said:
        raise click.UsageError(f"--{said[0].replace('_', '-')} {because}.")
