"""Serving: what `usermemory serve` does once it knows what was asked for."""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from http_api.session import SignedCookie
from mcp_server.app import PATH
from memory_tools.memory import Memory
from storage.errors import InvalidInput, NoIdentity, UnsafeRole
from storage.work.queues import open_queue
from storage.work.unbound import require_workers_role
from usermemory.commands.listening import listen, require_address
from usermemory.commands.options import bound, default_database
from usermemory.commands.stopping import end_at_sigterm
from usermemory.commands.tokens import JOB_TOKEN, SESSION_SECRET, TOKENS, verifiers_of
from usermemory.serve import create_service

NOBODY = (
    "Nobody was named, so there is no memory to serve. Add --user ID (or --phone NUMBER) for one person on this "
    f"machine, or say how people are known: --api-keys, --issuer URL, or a session secret in {SESSION_SECRET}."
)


def serve(
    *,
    user: str | None,
    phone: str | None,
    region: str | None,
    organization: str,
    database: str | None,
    worker_database: str | None,
    queue: str | None,
    dead_letters: str | None,
    inactivity: timedelta,
    host: str,
    port: int,
    url: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    session_cookie: str,
    pace: str,
    tools: Any,
    flow: str | None,
    **tokens: Any,
) -> None:
    """Serve until the operator ends it."""
    secret = os.environ.get(SESSION_SECRET)
    by_token = any(tokens[name] for name in TOKENS)
    named = user is not None or phone is not None
    if by_token or secret:
        named = False  # whom the shell was set up for is nobody here: each request says who asks
    elif not named:
        raise NoIdentity(NOBODY)
    job_token = os.environ.get(JOB_TOKEN) or None
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="usermemory: %(message)s")
    end_at_sigterm()
    with (
        Memory.open(database or default_database(), through="http", default_region=region) as memory,
        _operators(memory, worker_database) as operators,
    ):
        if job_token and worker_database is None and memory.database.on_postgresql:
            raise InvalidInput(f"what {JOB_TOKEN} sets off needs the worker's URL: add --worker-database")
        audience = [] if url is None else [url.rstrip("/"), url.rstrip("/") + PATH]
        verifiers = list(verifiers_of(memory, organization, audience, **tokens))
        require_address(verifiers, url, host)
        opened = open_queue(queue, operators.database, dead_letters=dead_letters)
        try:
            app = create_service(
                memory,
                operator_memory=operators,
                queue=opened,
                inactivity=inactivity,
                person=bound(memory, user, phone, organization) if named else None,
                verifiers=verifiers,
                session=SignedCookie(secret, cookie=session_cookie) if secret else None,
                job_token=job_token,
                url=url,
                authorization_servers=[tokens["issuer"]] if tokens["issuer"] else [],
                listens_on=host,
                hosts=allow_host,
                origins=allow_origin,
                pace=pace,
                tools=tools,
                flow=flow,
            )
            listen(app, host, port, " (/docs says what there is)")
        finally:
            opened.close()


@contextmanager
def _operators(memory: Memory, url: str | None) -> Generator[Memory]:
    """Give the memory for what operators ask. Raises UnsafeRole where the URL is not the worker's."""
    if url is None:
        yield memory
        return
    with Memory.open(url, through="http", default_region=memory.default_region) as operators:
        try:
            require_workers_role(operators.database)
        except UnsafeRole:
            raise UnsafeRole("--worker-database is the application's URL: operators need the worker's") from None
        yield operators
