"""Serve: every door that strangers reach over HTTP in one app: the HTTP API, and the MCP server beside it."""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from http_api.app import create_app
from http_api.conversations import conversations_router
from http_api.session import SessionResolver
from http_api.tasks import tasks_router
from http_api.user_items import user_items_router
from http_api.user_text import user_text_router
from mcp_server.app import HEALTH, PATH
from mcp_server.app import create_app as create_mcp_app
from mcp_server.events import PersonalBus
from mcp_server.server import create_server
from memory_tools.access import Verifier
from memory_tools.buckets import PACE, Buckets
from memory_tools.memory import Memory, UserMemory
from memory_tools.upkeep import Upkeep
from storage.work.eligible import INACTIVE_FOR
from storage.work.queue import Queue
from storage.work.queues import open_queue

_OWN_PATHS: Final = frozenset({HEALTH})
"""Paths of the MCP app that the HTTP API answers itself."""

_ASKED: Final = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Last-Event-ID")
"""Headers of MCP clients: those that run in pages of other origins may send them, where such pages may ask at all."""


def create_service(
    memory: Memory,
    *,
    operator_memory: Memory | None = None,
    queue: Queue | None = None,
    inactivity: timedelta = INACTIVE_FOR,
    person: UserMemory | None = None,
    verifiers: Collection[Verifier] = (),
    session: SessionResolver | None = None,
    job_token: str | None = None,
    url: str | None = None,
    authorization_servers: Collection[str] = (),
    listens_on: str = "127.0.0.1",
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    pace: str = PACE,
    tools: Any = "all",
    flow: str | None = None,
) -> FastAPI:
    """Return the app of `usermemory serve`: the HTTP API with the routes of the seeds, and MCP at `/mcp`.

    Who asks is found out in one way for both: by bearer tokens that `verifiers` know, at the HTTP API also by a
    `session`; or everybody is `person`, on this machine alone. `url` is the address at which clients know the server,
    without a path; that of its MCP side is `url` with `/mcp`. `operator_memory` is open on the worker's URL, where the
    database is PostgreSQL, and `queue` is where its work goes, the database's own by default.

    One lifespan starts and stops both. Raises InvalidInput as `http_api.create_app` does.
    """
    operators = operator_memory or memory
    upkeep = Upkeep(operators, queue or open_queue(None, operators.database), inactivity=inactivity)
    buckets = Buckets.of(pace)  # somebody who asks at both doors asks at one pace
    events = PersonalBus()
    app = create_app(
        memory,
        operator_memory=operators,
        verifiers=verifiers,
        session=session,
        job_token=job_token,
        listens_on=listens_on,
        url=url,
        hosts=hosts,
        origins=origins,
        pace=buckets,
        person=person,
        announce=events.announce,
        routers=[user_items_router(), user_text_router(), conversations_router(), tasks_router(upkeep)],
    )
    if verifiers or session is None:  # MCP clients bring tokens, or none at all: they have no sessions
        _add_mcp(
            app,
            memory,
            person=person,
            verifiers=verifiers,
            url=None if url is None else url.rstrip("/") + PATH,
            authorization_servers=authorization_servers,
            pace=buckets,
            tools=tools,
            flow=flow,
            events=events,
        )
    return app


def _add_mcp(
    app: FastAPI,
    memory: Memory,
    *,
    person: UserMemory | None,
    pace: Buckets,
    tools: Any,
    flow: str | None,
    events: PersonalBus,
    **reached: Any,
) -> None:
    """Add the routes of the MCP server; the app in front of them has looked at Host, Origin and address already."""
    server = create_server(memory, person=person, tools=tools, flow=flow, pace=pace, events=events)
    mcp = create_mcp_app(server, memory, **reached)
    app.router.routes.extend(each for each in mcp.routes if isinstance(each, Route) and each.path not in _OWN_PATHS)
    added: list[Any] = app.user_middleware
    for each in added:
        if each.cls is CORSMiddleware:
            each.kwargs["allow_headers"] = [*each.kwargs["allow_headers"], *_ASKED]

    @asynccontextmanager
    async def both(_: Any) -> AsyncGenerator[None]:
        async with mcp.router.lifespan_context(mcp):
            yield

    app.router.lifespan_context = both
