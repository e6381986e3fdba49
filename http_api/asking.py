"""Asking: the one way from a request to its answer, for the routes of the catalog and for those written by hand."""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from http_api.etag import Conditions, Versioned, conditions, held_to, read_document, tag, version_of
from http_api.idempotency import REPLAYED, Answer, answered_once, fingerprint, idempotency_key
from http_api.identity import DOOR, Asker, Recognition
from http_api.members import body_of, checked, is_little, members_of
from http_api.problems import MAY_READ, NoWorkersUrl
from memory_tools.access import Scope
from memory_tools.answer import DONE, as_json
from memory_tools.bearer import one_token
from memory_tools.body import ClientGone
from memory_tools.buckets import Buckets
from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Effect, Input
from memory_tools.telemetry import observed, word
from memory_tools.within import Within
from storage.canonical import dumps
from storage.errors import RateLimited, TimedOut, UnsafeRole
from storage.identity import Identity
from storage.json_types import Json

Ask = TypeVar("Ask", bound=Input)

Whose: TypeAlias = Callable[[Asker, Any], UserMemory]
"""Says whose memory a question is about. Called in a thread."""

SCOPES: Final = {Effect.READ: Scope.READ, Effect.WRITE: Scope.WRITE, Effect.ERASE: Scope.WRITE}
"""What a token has to be given for."""

SECONDS: Final = 30.0
"""How long a request may take."""

NOT_MODIFIED: Final = 304

CLIENT_GONE: Final = 499
"""What is counted for a client that hung up; nobody reads it."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the routes of one app share."""

    memory: Memory
    operator_memory: Memory
    """The same database for what only operators may: the worker's URL on PostgreSQL."""

    recognition: Recognition
    buckets: Buckets
    job_token: str | None = None
    seconds: float = SECONDS

    def asker(self, request: Request, session: Identity | None) -> Asker:
        """Return who asks, in a thread. Raises what `Recognition` raises, and RateLimited."""
        asker = self.recognition.asker(request, session)
        request.scope[MAY_READ] = asker.may(Scope.READ) or asker.may(Scope.OPERATE)
        if not asker.names_nobody:
            self.pace(asker.key)
        return asker

    def pace(self, who: tuple[str, ...]) -> None:
        """Count a request for `who`. Raises RateLimited where they come too fast."""
        if seconds := self.buckets.take(who):
            raise RateLimited(retry_after=math.ceil(seconds))

    def knows_job(self, request: Request) -> bool:
        """Tell whether the request brings the token of the jobs."""
        token = one_token(request.headers.getlist("authorization"))
        return None not in (self.job_token, token) and hmac.compare_digest(_digest(self.job_token), _digest(token))


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who sets work off, and for whom."""

    organization: str | None
    """The only one whose people are meant; None: everybody."""

    idempotency_key: str | None


async def answered(
    request: Request,
    act: Callable[[UserMemory, Ask], Any],
    question: type[Ask],
    *,
    name: str,
    effect: Effect,
    scope: Scope | None = None,
    whose: Whose | None = None,
    status: int = 200,
    versioned: Versioned | None = None,
    keeps_keys: bool = True,
) -> Response:
    """Return what `act` answers about the person whose memory it is, in a thread of the memory.

    `question` checks the members of the path and of the query or the body. Who asks needs `scope`, by default READ or
    WRITE as the effect says; `whose` finds the person otherwise, and says what is needed where `scope` does not. With
    an `Idempotency-Key` a write is one transaction of the person's with its answer; unless it `keeps_keys` not, because
    what it writes is not the person's. What is `versioned` takes conditions. Raises the errors of `storage`, which the
    app tells as problem details.
    """
    door: Door = request.app.state.door
    writes = effect is not Effect.READ
    needed = scope or SCOPES[effect]
    store = question.__module__.rpartition(".")[2]

    def answer(asker: Asker, body: bytes) -> Answer:
        with observed(word(name, effect), name=name, store=store, door=DOOR) as seen:
            if scope is not None or whose is None:
                asker.require(needed)
            key = idempotency_key(request.headers) if writes else None
            wanted = conditions(request.headers, writes=writes, versioned=versioned)
            members = members_of(request, body)
            ask = checked(question, members)
            person = asker.person(needed) if whose is None else whose(asker, ask)
            if asker.names_nobody:
                door.pace(person.key)

            def perform(person: UserMemory) -> Answer:
                return _performed(act, person, ask, status, wanted, versioned, writes)

            if key is not None and keeps_keys:
                given = answered_once(person, key, fingerprint(name, members, request.headers), perform)
            elif writes and wanted is not None:
                with person.begin() as stores:  # a condition that does not hold takes everything back
                    given = perform(Within(person, stores))
            else:
                given = perform(person)
            seen.content(lambda: dumps(given.value))
            return given

    async def run() -> Answer:
        session, threads = await door.recognition.session(request), door.memory.threads
        if is_little(request):  # the way to a thread and back costs more than what is done there
            body = await body_of(request)
            return await threads.run(lambda: answer(door.asker(request, session), body))
        asker = await threads.run(lambda: door.asker(request, session))
        body = await body_of(request)
        return await threads.run(lambda: answer(asker, body))

    return await _in_time(door, run)


async def triggered(
    request: Request, act: Callable[[Trigger, Ask], Any], question: type[Ask], *, name: str, status: int = 202
) -> Response:
    """Return what `act` answers, which sets work off: for who has the job token, or operates an organization.

    It is called in a thread of the operators' memory. Raises Unauthenticated and InsufficientScope for anybody else.
    """
    door: Door = request.app.state.door

    async def run() -> Answer:
        organization = None
        if not door.knows_job(request):
            session = await door.recognition.session(request)
            asker = await door.memory.threads.run(lambda: door.asker(request, session))
            asker.require(Scope.OPERATE)
            if asker.names_nobody:
                door.pace(asker.key)
            organization = asker.organization
        trigger = Trigger(organization, idempotency_key(request.headers))
        body = await body_of(request)

        def answer() -> Answer:
            ask = checked(question, members_of(request, body))
            return Answer(status, _said(act(trigger, ask)))

        return await door.operator_memory.threads.run(answer)

    return await _in_time(door, run)


async def _in_time(door: Door, run: Callable[[], Awaitable[Answer]]) -> Response:
    try:
        async with asyncio.timeout(door.seconds):
            answer = await run()
    except TimeoutError:
        raise TimedOut from None
    except ClientGone:
        return Response(status_code=CLIENT_GONE)
    except UnsafeRole:
        if door.operator_memory is not door.memory:
            raise
        raise NoWorkersUrl("this server has no worker's database URL (--worker-database)") from None
    headers = {} if answer.etag is None else {"ETag": answer.etag}
    if answer.replayed:
        headers[REPLAYED] = "true"
    if answer.status == NOT_MODIFIED:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(dumps(answer.value).encode(), answer.status, headers, "application/json")


def _performed(
    act: Callable[[UserMemory, Any], Any],
    person: UserMemory,
    ask: Any,
    status: int,
    wanted: Conditions | None,
    versioned: Versioned | None,
    writes: bool,
) -> Answer:
    if versioned is None:
        return Answer(status, _said(act(person, ask)))
    if versioned is Versioned.DOCUMENT and not writes:
        said, version = read_document(act, person, ask)
    else:
        said = act(person, ask) if wanted is None or not writes else held_to(wanted, versioned, act, person, ask)
        version = version_of(said)
    if wanted is not None and not writes and wanted.is_known(version):
        return Answer(NOT_MODIFIED, None, tag(version))
    return Answer(status, _said(said), tag(version))


def _said(answer: Any) -> Json:
    return dict(DONE) if answer is None else as_json(answer)


def _digest(token: str | None) -> bytes:
    return sha256((token or "").encode(errors="surrogatepass")).digest()
