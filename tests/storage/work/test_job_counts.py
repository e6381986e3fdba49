"""job_counts: jobs are counted by sort, kind, organization and time."""

from datetime import timedelta

import pytest

from memory_tools.memory import Memory
from storage.database import Database
from storage.work.eligible import Subject, active_people
from storage.work.job_counts import JobCounts, count_jobs, is_untouched
from storage.work.job_store import Lease
from storage.work.jobs import fail
from storage.work.leases import lease
from storage.work.opening import open_batch


@pytest.fixture
def people(database: Database, operators_database: Database) -> list[Subject]:
    """Ada of acme and bob of zeta, who were active."""
    for user, organization in (("ada", "acme"), ("bob", "zeta")):
        Memory(database).of(user=user, organization=organization).items.set("prefs", "tone", "warm")
    found = active_people(operators_database, since=operators_database.clock() - timedelta(days=1))
    return sorted(found, key=lambda each: each.organization)


def test_each_job_counts_once(operators_database: Database, people: list[Subject]) -> None:
    began = operators_database.clock()
    batch = open_batch(operators_database, "daily", people)
    assert batch is not None
    assert count_jobs(operators_database) == JobCounts(on_their_way=2, to_retry=0, done=0, dead=0)
    assert is_untouched(operators_database, batch.id)
    for person, attempts in zip(people, (5, 1), strict=True):
        taken = lease(operators_database, "person", person.id, seconds=60)
        assert isinstance(taken, Lease)
        assert not is_untouched(operators_database, batch.id)
        fail(operators_database, taken, "summarizer_failed", attempts=attempts)
    assert count_jobs(operators_database) == JobCounts(on_their_way=0, to_retry=1, done=0, dead=1)
    assert count_jobs(operators_database, organization="acme") == JobCounts(0, 1, 0, 0)
    assert count_jobs(operators_database, kind="conversation") == JobCounts(0, 0, 0, 0)
    assert count_jobs(operators_database, changed_since=began) == JobCounts(0, 1, 0, 1)
    later = operators_database.clock() + timedelta(seconds=1)
    assert count_jobs(operators_database, changed_since=later) == JobCounts(0, 0, 0, 0)
