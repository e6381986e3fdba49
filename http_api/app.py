"""The app: memory over HTTP, as FastAPI serves it. It is served alone, mounted, or given further routes."""

from collections.abc import Collection, Iterable
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from http_api.answer_schemas import TEXT, known
from http_api.asking import SECONDS, Door
from http_api.description import open_to_everybody
from http_api.docs import add_docs
from http_api.framing import OneLength
from http_api.guarded import Guarded, on_error, on_refusal, refuse, turn_away
from http_api.head import WithoutBody
from http_api.headers import SecurityHeaders
from http_api.idempotency import HEADER, REPLAYED
from http_api.identity import Recognition
from http_api.metrics import Measured, Metrics
from http_api.openapi import describe
from http_api.operations import catalog_router
from http_api.problems import InvalidQuestion, told
from http_api.routes import Plain
from http_api.segments import WholeSegments
from http_api.session import SessionResolver
from memory_tools.access import Verifier
from memory_tools.announcing import Announce, unheard
from memory_tools.buckets import PACE, Buckets
from memory_tools.crowd import Crowd
from memory_tools.hosts import KnownHosts, OnlyFromHere, checked_host, checked_origin, is_loopback, origin_of
from memory_tools.memory import Memory, UserMemory
from memory_tools.named import ORGANIZATION, PHONE, USER, VERIFIED
from memory_tools.unread import Unread
from storage.errors import InvalidInput, UserMemoryError
from storage.pointer import pointer

TOKEN_LEAST: Final = 16
"""Characters that the token of the jobs has at the least."""

OPEN_PATHS: Final = ("/health", "/metrics")
"""What load balancers and Prometheus ask for, by address and under no name."""

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_ASKED: Final = ["Authorization", "Content-Type", "If-Match", "If-None-Match", HEADER]
_TOLD: Final = ["ETag", "Retry-After", "WWW-Authenticate", REPLAYED]


def create_app(
    memory: Memory,
    *,
    operator_memory: Memory | None = None,
    verifiers: Collection[Verifier] = (),
    session: SessionResolver | None = None,
    job_token: str | None = None,
    listens_on: str = "127.0.0.1",
    url: str | None = None,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    pace: str | Buckets = PACE,
    person: UserMemory | None = None,
    routers: Iterable[APIRouter] = (),
    seconds: float = SECONDS,
    announce: Announce = unheard,
) -> FastAPI:
    """Return the ASGI app: the operations of the catalog under `/v1`, `routers`, `/health`, `/metrics` and `/docs`.

    Who asks is known by a bearer token that one of `verifiers` knows, or by a `session`: a SignedCookie, or a function
    of the host's own from the request to an Identity. Or everybody is `person`, on this machine alone. What only an
    operator may do with an organization goes to `operator_memory`, the worker's URL on PostgreSQL; `job_token` is the
    secret of those who set work off for all of them.

    Requests are answered under the names of this machine for itself, under the host of `url`, and under `hosts`, those
    for OPEN_PATHS under any; web pages may ask when they come from there, or from `origins`. One person may ask at
    `pace`; a request takes `seconds` at the most. Other doors of the process are told by `announce` what has changed.

    Raises InvalidInput where `listens_on` is not loopback and nobody verifies who asks, for a `person` beside
    verifiers or a session, and for a `url`, an origin, a `pace` or a `job_token` that is none.
    """
    _check_who_asks(verifiers, session, job_token, person, listens_on)
    metrics = Metrics()
    app = FastAPI(
        title="User memory",
        version=version("usermemory"),
        description="Long-term memory of people, for programs in any language.",
        openapi_url=None,  # add_docs has both pages
        telemetry={"tracing": False, "logs": False},  # its spans have paths and queries: who asks, and for which item
        redirect_slashes=False,  # to another address, and behind a proxy to http: there are no other paths
        exception_handlers={
            UserMemoryError: on_error,
            HTTPException: on_refusal,
            RequestValidationError: _on_invalid,
        },
        middleware=_middleware(metrics, verifiers, session, url, hosts, origins),
    )
    app.state.door = Door(
        memory=memory,
        operator_memory=operator_memory or memory,
        recognition=Recognition(memory, verifiers, session, person),
        buckets=Buckets.of(pace),
        job_token=job_token,
        seconds=seconds,
        announce=announce,
    )
    for router in (*routers, catalog_router(), _own_router(metrics)):
        app.router.routes.extend(router.routes)  # as they are: an included router would be searched in vain for methods
    add_docs(app)
    describe(app, tokens=bool(verifiers), session=session, jobs=job_token is not None, is_bound=person is not None)
    return app


def _check_who_asks(
    verifiers: Collection[Verifier],
    session: SessionResolver | None,
    job_token: str | None,
    person: UserMemory | None,
    listens_on: str,
) -> None:
    """Raise InvalidInput where nobody would know who asks, or two ways to know it contradict each other."""
    open_to_all = not verifiers and session is None
    if open_to_all and not is_loopback(listens_on):
        raise InvalidInput(
            f"without tokens or sessions nobody would know who reaches {listens_on or 'any address'}: "
            "listen on 127.0.0.1, or say whose tokens or sessions are valid"
        )
    if person is not None and not open_to_all:
        raise InvalidInput("either everybody is one person, or tokens and sessions say who asks")
    if job_token is not None and len(job_token) < TOKEN_LEAST:
        raise InvalidInput(f"the token of the jobs has {TOKEN_LEAST} characters or more")


def _middleware(
    metrics: Metrics,
    verifiers: Collection[Verifier],
    session: SessionResolver | None,
    url: str | None,
    hosts: Collection[str],
    origins: Collection[str],
) -> list[Middleware]:
    """Return what every request passes on its way in, the outermost first. Raises InvalidInput."""
    names, pages = list(hosts), [checked_origin(origin) for origin in origins]
    if url is not None:
        names.append(checked_host(url))
        pages.append(origin_of(url))
    from_anywhere = bool(verifiers) or session is not None
    return [
        Middleware(Unread),
        Middleware(Measured, metrics=metrics),
        Middleware(WithoutBody),
        Middleware(SecurityHeaders),
        Middleware(Crowd, open_paths=OPEN_PATHS, refuse=turn_away),
        Middleware(OneLength),
        Middleware(KnownHosts, hosts=names, origins=pages, open_paths=OPEN_PATHS, refuse=refuse),
        *([] if from_anywhere else [Middleware(OnlyFromHere, refuse=refuse)]),
        *_cross_origin(pages if origins else [], credentials=session is not None),
        Middleware(Guarded),  # below: pages of other origins are told what went wrong, too
        Middleware(WholeSegments),
    ]


def _own_router(metrics: Metrics) -> APIRouter:
    """Return what everybody may ask of the server itself."""
    router = APIRouter(route_class=Plain)
    health, figures = OPEN_PATHS
    router.add_api_route(
        health,
        _health,
        **open_to_everybody(
            "get_health",
            "Tell that the server answers",
            {"application/json": known(status={"const": "ok"})},
        ),
    )
    router.add_api_route(
        figures,
        metrics.shown,
        **open_to_everybody(
            "get_metrics",
            "Tell how many requests there were and how long they took, for Prometheus",
            {"text/plain": TEXT},
        ),
    )
    return router


async def _health(_: Request) -> Response:
    """Say that the process answers, and nothing about it."""
    return JSONResponse({"status": "ok"})


async def _on_invalid(_: Request, error: Exception) -> Response:
    """Answer what FastAPI found wrong with the parameters of a route of the host's own, without repeating them."""
    assert isinstance(error, RequestValidationError)
    faults = [{"pointer": pointer(fault["loc"][1:]), "message": fault["msg"]} for fault in error.errors()]
    return told(InvalidQuestion(faults))


def _cross_origin(pages: Collection[str], *, credentials: bool) -> list[Middleware]:
    """Return what tells browsers that pages of other origins may ask (CORS); without `origins` they may not."""
    if not pages:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=pages,
            allow_methods=_METHODS,
            allow_headers=[*_ASKED, USER, PHONE, VERIFIED, ORGANIZATION],
            expose_headers=_TOLD,
            allow_credentials=credentials,
        )
    ]
