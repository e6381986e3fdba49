"""Eligible: which conversations have ended without being remembered, and which people were active."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from storage.database import Database
from storage.tables import conversations, jobs, owners

INACTIVE_FOR: Final = timedelta(hours=2)
"""How long nothing was said in a conversation that counts as ended, where nobody says otherwise (seed 003)."""

ON_ITS_WAY: Final = timedelta(hours=6)
"""How long a job may be on its way through the queue before its message counts as lost, and another one is sent.

Long enough for what waits behind thousands of others, each of which a model thinks about for seconds.
"""

SEEN_LATE: Final = timedelta(minutes=10)
"""How much later than its time a message may be seen at the most: its transaction lasts, and clocks differ.

Whoever is looked for once too often costs nothing: with nothing new, no model is asked.
"""

NOTED_ONCE_IN: Final = timedelta(hours=1)
"""What else somebody did is noted once in each hour of the clock, so they may have been active so much later."""

LEFT_ALONE: Final = timedelta(hours=24)
"""How long a conversation is left alone that a worker was not to remember, such as where memory is switched off."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a job is about: a conversation, or a person."""

    id: UUID
    owner: UUID
    """The person, who is meant by the id itself where it is no conversation's."""

    organization: str


def ended_conversations(
    database: Database, *, inactive_for: timedelta, organization: str | None = None
) -> list[Subject]:
    """Return the conversations in which nothing was said for so long and something is not remembered, oldest first.

    Left out are those that somebody works on or is about to: in work, on their way through the queue for less than
    ON_ITS_WAY, or waiting for their next attempt; until something new is said, those that are dead, and for LEFT_ALONE
    those that a worker skipped; and those of people who were merged into others, where nothing can be written any more.
    On PostgreSQL it needs the worker's URL.
    """
    now = database.clock()
    wanted = (
        sa.select(conversations.c.id, owners.c.id, owners.c.organization_id)
        .join(owners, owners.c.id == conversations.c.owner_id)
        .join(jobs, _is_job("conversation", conversations.c.id), isouter=True)
        .where(has_ended(now - inactive_for), owners.c.survivor_id == owners.c.id)
        .where(sa.or_(jobs.c.state.is_(None), sa.not_(_is_taken_care_of(now))))
        .order_by(conversations.c.last_message_at, conversations.c.id)
    )
    return _subjects(
        database, wanted if organization is None else wanted.where(owners.c.organization_id == organization)
    )


def active_people(database: Database, *, since: datetime, organization: str | None = None) -> list[Subject]:
    """Return the people of whom something was kept, or whom the host called active, at `since` or later.

    So that nobody falls between two looks, messages count from SEEN_LATE before, and everything else from
    NOTED_ONCE_IN. Who was merged into another counts as the other. On PostgreSQL it needs the worker's URL.
    """
    person = owners.alias("person")
    active = sa.or_(owners.c.last_interaction_at >= since - SEEN_LATE, owners.c.last_active_at >= since - NOTED_ONCE_IN)
    wanted = (
        sa.select(person.c.id, person.c.id.label("owner"), person.c.organization_id)
        .select_from(owners.join(person, person.c.id == owners.c.survivor_id))
        .where(active)
        .distinct()
        .order_by(person.c.id)
    )
    return _subjects(
        database, wanted if organization is None else wanted.where(person.c.organization_id == organization)
    )


def whose_conversation(database: Database, conversation_id: UUID) -> Subject | None:
    """Return the conversation with the person whose it is, ended or not; None where there is no such conversation.

    On PostgreSQL it needs the worker's URL.
    """
    person = owners.alias("person")
    wanted = (
        sa.select(conversations.c.id, person.c.id, person.c.organization_id)
        .join(owners, owners.c.id == conversations.c.owner_id)
        .join(person, person.c.id == owners.c.survivor_id)
        .where(conversations.c.id == conversation_id)
    )
    return next(iter(_subjects(database, wanted)), None)


def has_ended(quiet_since: datetime | sa.BindParameter[datetime]) -> sa.ColumnElement[bool]:
    """Return the condition that a conversation is eligible: it ended by then, and its memory does not cover it."""
    return sa.and_(
        conversations.c.message_count > conversations.c.remembered_count,
        conversations.c.last_message_at <= quiet_since,
    )


def _is_job(kind: str, subject: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.kind == kind, jobs.c.subject_id == subject)


def _is_taken_care_of(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that a conversation's job is at work, will be soon, failed for good, or was skipped lately.

    The last two hold until something new is said in it.
    """
    nowhere_else = jobs.c.next_attempt_at.is_(None) & jobs.c.leased_until.is_(None)
    busy = sa.or_(
        sa.func.coalesce(jobs.c.leased_until > now, sa.false()),
        sa.func.coalesce(jobs.c.next_attempt_at > now, sa.false()),
        sa.and_(nowhere_else, jobs.c.updated_at > now - ON_ITS_WAY),
    )
    skipped = sa.and_(
        jobs.c.state == "done",
        sa.func.coalesce(jobs.c.outcome == "skipped", sa.false()),
        jobs.c.error.is_(None),  # else it was not eligible when a worker came to it, which may be over by now
        jobs.c.updated_at > now - LEFT_ALONE,
    )
    nothing_new = conversations.c.updated_at <= jobs.c.updated_at
    return sa.or_(
        sa.and_(jobs.c.state == "waiting", busy), sa.and_(sa.or_(jobs.c.state == "dead", skipped), nothing_new)
    )


def _subjects(database: Database, wanted: sa.Select[Any]) -> list[Subject]:
    with database.connection() as connection:
        return [Subject(*row) for row in connection.execute(wanted)]
