"""`usermemory mcp`: a person's memory for MCP clients, over stdio or HTTP."""

from importlib import import_module
from typing import Any

import click

from mcp_server.fitting import ANSWER_TOKENS, LEAST_TOKENS, MOST_TOKENS
from memory_tools.buckets import PACE
from usermemory.commands.group import examples
from usermemory.commands.mcp_install import command as install
from usermemory.commands.options import database_option, perhaps_naming_a_person
from usermemory.commands.tokens import REACHED, TOKENS, refuse, token_options

OVER_HTTP = ("host", "port", "path", *REACHED, *TOKENS)
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
@token_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Serve a person's memory to MCP clients: Claude, Cursor, VS Code, or an agent of your own.

    Over stdio (the default) for one client that starts this command itself, until it closes the input. With --http over
    streamable HTTP: for one person on this machine, or for everybody who brings a valid token, which takes --issuer or
    --api-keys. Nothing else may listen beyond this machine.
    """
    if ctx.invoked_subcommand is not None:
        refuse(options, f"stands behind {ctx.invoked_subcommand}")
        return
    http = options.pop("http")
    by_token = http and (options["issuer"] is not None or options["api_keys"])
    if not http:
        refuse(OVER_HTTP, "says nothing over stdio: give --http, too")
    if by_token:
        refuse(("user", "phone"), "names one person, and tokens name them here: not both")
    over_http = {name: options.pop(name) for name in OVER_HTTP}
    serving = import_module("usermemory.commands.mcp_serving")  # the SDK takes a second, and the help needs none of it
    serving.serve(**options, over_http=over_http if http else None, by_token=by_token)


command.add_command(install, "install")
