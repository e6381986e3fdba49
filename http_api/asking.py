"""Asking: the one way from a request to its answer, for the routes of the catalog and for those written by hand."""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from http_api.etag import Conditions, Versioned, conditions, held_to, read_document, tag, version_of
from http_api.idempotency import REPLAYED, Answer, AnswerOnce, answered_once, fingerprint, idempotency_key
from http_api.identity import DOOR, Asker, Recognition
from http_api.members import WITH_BODY, body_of, checked, is_little, members_of
from http_api.problems import MAY_READ, NoWorkersUrl
from memory_tools.access import Scope
from memory_tools.announcing import Announce, unheard
from memory_tools.answer import DONE, as_json
from memory_tools.bearer import one_token
from memory_tools.body import ClientGone
from memory_tools.buckets import Buckets
from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Effect, Input
from memory_tools.telemetry import observed, word
from memory_tools.within import Within
from storage.canonical import dumps
from storage.errors import RateLimited, TimedOut, UnsafeRole, UserMemoryError
from storage.identity import Identity
from storage.json_types import Json

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
    announce: Announce = unheard

    def asker(self, request: Request, session: Identity | None) -> Asker:
        """Return who asks, in a thread. Raises what `Recognition` raises, and RateLimited."""
        asker = self.recognition.asker(request, session)
        request.scope[MAY_READ] = asker.may(Scope.READ) or asker.may(Scope.OPERATE)
        if not asker.names_nobody:
            self.pace(asker.bucket())
        return asker

    def pace(self, who: tuple[str, ...]) -> None:
        """Count a request for `who`. Raises RateLimited where they come too fast."""
        if seconds := self.buckets.take(who):
            raise RateLimited(retry_after=math.ceil(seconds))

    @contextmanager
    def paced(self, asker: Asker) -> Generator[None]:
        """Count for the token what comes to nothing before anybody knows whom it is about."""
        try:
            yield
        except UserMemoryError:
            if asker.names_nobody:
                self.pace(asker.bucket())
            raise

    def knows_job(self, request: Request) -> bool:
        """Tell whether the request brings the token of the jobs."""
        token = one_token(request.headers.getlist("authorization"))
        return None not in (self.job_token, token) and hmac.compare_digest(_digest(self.job_token), _digest(token))


Whose: TypeAlias = Callable[[Door, Asker, Any], UserMemory]
"""Says whose memory is meant, by what is asked. Called in a thread."""


@dataclass(frozen=True)
class Question:
    """What one route asks, and how it is answered."""

    name: str
    act: Callable[[Any, Any], Any]
    """Answers a person, or whoever sets work off, to what `input` asks."""

    input: type[Input]
    """Checks the members of the path and of the query or the body."""

    effect: Effect
    scope: Scope | None = None
    """What who asks has to be given for, before anything else is looked at. None: READ or WRITE as the effect says, or
    what `whose` asks for."""

    whose: Whose | None = None
    """Finds the person where neither token nor headers say who it is."""

    status: int = 200
    versioned: Versioned | None = None
    """What has versions takes conditions."""

    once: AnswerOnce = answered_once
    """Keeps the answer to a write under the `Idempotency-Key` that it was asked for with."""

    @cached_property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.effect is not Effect.READ

    @cached_property
    def needed(self) -> Scope:
        """The scope that a person's memory is opened for."""
        return self.scope or SCOPES[self.effect]

    @cached_property
    def _observed(self) -> Mapping[str, str]:
        store = self.input.__module__.rpartition(".")[2]
        return {"operation": word(self.name, self.effect), "name": self.name, "store": store, "door": DOOR}

    def answer(self, door: Door, asker: Asker, request: Request, body: bytes) -> Answer:
        """Return what `asker` is answered, in a thread of the memory. Raises the errors of `storage`."""
        with observed(**self._observed) as seen:
            with door.paced(asker):
                if self.scope is not None or self.whose is None:
                    asker.require(self.needed)
                key = idempotency_key(request.headers) if self.writes else None
                wanted = conditions(request.headers, writes=self.writes, versioned=self.versioned)
                members = members_of(request, body)
                ask = checked(self.input, members, strict=request.method in WITH_BODY)
                person = asker.person(self.needed) if self.whose is None else self.whose(door, asker, ask)
            if asker.names_nobody:
                door.pace(asker.bucket(person))
            if key is None:
                given = self._held(person, ask, wanted)
            else:
                same = fingerprint(self.name, members, request.headers)
                given = self.once(person, key, same, lambda within: self._answer(within, ask, wanted))
            if self.writes and not given.replayed:
                door.announce(person.key, self.name, members, given.value)
            seen.content(lambda: dumps(given.value))
            return given

    def _held(self, person: UserMemory, ask: Any, wanted: Conditions | None) -> Answer:
        if wanted is None or not self.writes:
            return self._answer(person, ask, wanted)
        with person.begin() as stores:  # a condition that does not hold takes everything back
            return self._answer(Within(person, stores), ask, wanted)

    def _answer(self, person: UserMemory, ask: Any, wanted: Conditions | None) -> Answer:
        if self.versioned is None:
            return Answer(self.status, _said(self.act(person, ask)))
        if self.writes:
            answer = self.act(person, ask) if wanted is None else held_to(wanted, self.versioned, self.act, person, ask)
            return Answer(self.status, _said(answer), tag(version_of(answer)))
        if self.versioned is Versioned.DOCUMENT:
            answer, version = read_document(self.act, person, ask)
        else:
            answer = self.act(person, ask)
            version = version_of(answer)
        if wanted is not None and wanted.is_known(version):
            return Answer(NOT_MODIFIED, None, tag(version))
        return Answer(self.status, _said(answer), tag(version))


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who sets work off, and for whom."""

    organization: str | None
    """The only one whose people are meant; None: everybody."""

    idempotency_key: str | None


async def answered(request: Request, question: Question) -> Response:
    """Return the answer to a question about one person.

    Under an `Idempotency-Key`, a write and its answer are one transaction. Raises the errors of `storage`, which the
    app tells as problem details.
    """
    door: Door = request.app.state.door

    async def run() -> Answer:
        session, threads = await door.recognition.session(request), door.memory.threads
        if is_little(request):  # the way to a thread and back costs more than what is done there
            body = await body_of(request)
            return await threads.run(lambda: question.answer(door, door.asker(request, session), request, body))
        asker = await threads.run(lambda: door.asker(request, session))
        body = await body_of(request)
        return await threads.run(lambda: question.answer(door, asker, request, body))

    return await _in_time(door, run)


async def triggered(request: Request, question: Question) -> Response:
    """Return the answer to a question that sets work off, whose `act` is given the Trigger, not a person.

    Who has the job token may ask, and who operates an organization. It is called in a thread of the operators' memory.
    Raises Unauthenticated and InsufficientScope for anybody else.
    """
    door: Door = request.app.state.door

    async def run() -> Answer:
        organization = None
        if not door.knows_job(request):
            session = await door.recognition.session(request)
            asker = await door.memory.threads.run(lambda: door.asker(request, session))
            if asker.names_nobody:
                door.pace(asker.bucket())
            asker.require(Scope.OPERATE)
            organization = asker.organization
        trigger = Trigger(organization, idempotency_key(request.headers))
        body = await body_of(request)

        def answer() -> Answer:
            ask = checked(question.input, members_of(request, body), strict=request.method in WITH_BODY)
            return Answer(question.status, _said(question.act(trigger, ask)))

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


def _said(answer: Any) -> Json:
    return dict(DONE) if answer is None else as_json(answer)


def _digest(token: str | None) -> bytes:
    return sha256((token or "").encode(errors="surrogatepass")).digest()
