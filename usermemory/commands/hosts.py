"""Hosts: whoever brings conversations of their own, as `--host` names the functions that open them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from memory_tools.host_conversations import HostConversations
from storage.errors import InvalidInput
from usermemory.commands.functions import imported

_METHODS = ("ended", "messages", "imported")

host_option = click.option(
    "--host",
    "hosts",
    metavar="MODULE:FUNCTION",
    multiple=True,
    envvar="USERMEMORY_HOSTS",
    show_envvar=True,
    help="Your function, which returns the conversations that you keep elsewhere: what is new in them is copied first."
    " May be repeated; in the environment, names with spaces between them.",
)
"""For commands on work (`on_work`), whose upkeep then has these hosts."""


def opened_hosts(names: Iterable[str]) -> list[HostConversations]:
    """Return what the functions return that are named `module:function`: a host, or several.

    Raises InvalidInput saying what is missing.
    """
    return [host for name in names for host in _opened(name)]


def _opened(name: str) -> Iterator[HostConversations]:
    returned: Any = imported("host", name)()
    for host in returned if isinstance(returned, Sequence) else [returned]:
        missing = [method for method in _METHODS if not callable(getattr(host, method, None))]
        if missing:
            raise InvalidInput(f"the host {name!r} returned something without {', '.join(missing)}")
        yield host
