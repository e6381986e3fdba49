"""`usermemory serve`: memory over HTTP, for programs in any language, and for MCP clients at /mcp."""

import os
from importlib import import_module
from typing import Any

import click

from http_api.session import COOKIE
from memory_tools.buckets import PACE
from usermemory.commands.group import examples
from usermemory.commands.options import database_option, perhaps_naming_a_person
from usermemory.commands.tokens import SESSION_SECRET, refuse, token_options
from usermemory.commands.work import dead_letters_option, inactivity_option, queue_option


@click.command(
    epilog=examples(
        "usermemory serve --user ada",
        "usermemory serve --api-keys",
        "usermemory serve --api-keys --host 0.0.0.0 --url https://memory.example.com",
        "usermemory serve --issuer https://login.example.com --url https://memory.example.com",
    )
)
@perhaps_naming_a_person
@database_option
@click.option(
    "--worker-database",
    metavar="URL",
    envvar="USERMEMORY_WORKER_DATABASE",
    show_envvar=True,
    help="postgresql://... of the worker, for what operators ask.  [default: the database itself]",
)
@queue_option
@dead_letters_option
@inactivity_option
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Where it listens.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0 takes a free one.  [default: 8000]")
@token_options
@click.option(
    "--session-cookie",
    metavar="NAME",
    default=COOKIE,
    help=f"The cookie that is signed with {SESSION_SECRET}, where that is set.  [default: {COOKIE}]",
)
@click.option(
    "--pace",
    metavar="N/minute",
    default=PACE,
    help=f"Requests of one person, by second, minute, hour or day.  [default: {PACE}]",
)
@click.option(
    "--tools",
    type=click.Choice(["read", "core", "all"]),
    default="all",
    help="MCP tools that read; also those that write (core); also those that delete.  [default: all]",
)
@click.option("--flow", metavar="NAME", help="The flow of the organization whose configuration holds for MCP.")
def command(**options: Any) -> None:
    """Serve memory over HTTP, for programs in any language, and for MCP clients beside it.

    For one person on this machine (--user), or for everybody who brings a valid token (--issuer, --api-keys) or a
    session cookie that your own server signed with USERMEMORY_SESSION_SECRET. Nothing else may listen beyond this
    machine. USERMEMORY_JOB_TOKEN is the secret of schedulers that set off work for everybody.

    The API is under /v1, MCP at /mcp, and /docs says what else there is.
    """
    secret = os.environ.get(SESSION_SECRET)
    if options["issuer"] is not None or options["api_keys"] or secret:
        refuse(("user", "phone"), "names one person, and tokens or sessions name them here: not both")
    if not secret:
        refuse(("session_cookie",), f"says nothing without a secret: set {SESSION_SECRET}, too")
    serving = import_module("usermemory.commands.serving")  # the frameworks take a second, and the help needs none
    serving.serve(**options)
