"""The command line: `usermemory COMMAND`. Each command is a module beside this one, imported only when it runs."""

import click

from usermemory.commands.group import LazyGroup, examples

COMMANDS = {
    "demo": "Watch two calls become memory: no model, no key, nothing left behind.",
    "update": "Learn from a transcript: what is new becomes the next version.",
    "show": "Print what is known: the document, or one place in it.",
    "history": "List the versions, newest first, with what changed in each.",
    "diff": "Show what changed between two versions.",
    "revert": "Save the document of an older version as the newest one.",
    "pending": "Decide on changes that the guard held back.",
    "items": "Keep small JSON values under namespace and key.",
    "profile": "Keep the one text about a person.",
    "configuration": "Say what memory may do in an organization and in its flows.",
    "keys": "Make and revoke API keys for those who ask over HTTP.",
    "serve": "Serve memory over HTTP, for programs in any language, and for MCP clients beside it.",
    "mcp": "Serve a person's memory to MCP clients: Claude, Cursor, VS Code, or an agent of your own.",
    "worker": "Do what waits: summarize conversations that ended, update people once a day.",
    "daily": "Update everybody who was active in the last 24 hours, now.",
    "jobs": "See what waits and how far it is, and try again what failed.",
    "migrate": "Bring a database to the schema this program needs.",
    "doctor": "Examine the database and say what is wrong with it.",
}
"""Every command with its help in one line, in the order of `usermemory --help`, which imports none of them."""

EXAMPLES = examples(
    "usermemory demo",
    "usermemory update call.txt --user ada",
    "usermemory show --user ada",
)


@click.group("usermemory", cls=LazyGroup, package="usermemory.commands", commands=COMMANDS, epilog=EXAMPLES)
@click.version_option(package_name="usermemory", prog_name="usermemory")
def main() -> None:
    """Long-term memory of people, for LLM agents.

    Answers go to stdout, everything else to stderr. Exit codes: 0 done (also when nothing changed, or the change is
    held), 1 refused, 2 wrong usage or nobody named, 3 not found, 4 conflict.

    USERMEMORY_DATABASE, USERMEMORY_ORGANIZATION, USERMEMORY_USER, USERMEMORY_PHONE and USERMEMORY_REGION stand in for
    the options of the same names. Without a database named, memory is kept in an SQLite file of your own.
    """
