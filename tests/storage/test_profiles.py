from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from storage.database import Database
from storage.errors import InvalidJson, NotFound, TooLarge
from storage.limits import DOCUMENT_LIMIT
from tests.clock import Clock
from tests.contents import Contents


def test_only_the_newest_text_is_kept(clocked: Database, ada: UUID, clock: Clock) -> None:
    began = clock.now
    with clocked.begin(ada) as stores:
        assert stores.profile.set("Likes tea.").text == "Likes tea."
    changed = clock.move(60)
    with clocked.begin(ada) as stores:
        stores.profile.set('Likes coffee.\n\tAnd "quotes" \\ 😀')
    with clocked.read(ada) as stores:
        profile = stores.profile.get()
    assert profile.text == 'Likes coffee.\n\tAnd "quotes" \\ 😀'
    assert (profile.created_at, profile.updated_at) == (began, changed)


def test_nobody_has_a_text_at_first(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for absent in (stores.profile.get, stores.profile.delete):
            with pytest.raises(NotFound):
                absent()


def test_a_deleted_text_is_gone(database: Database, ada: UUID, bob: UUID) -> None:
    for person in (ada, bob):
        with database.begin(person) as stores:
            stores.profile.set("Likes tea.")
    with database.begin(ada) as stores:
        stores.profile.delete()
        with pytest.raises(NotFound):
            stores.profile.get()
    with database.read(bob) as stores:
        assert stores.profile.get().text == "Likes tea."


@pytest.mark.parametrize("text", ["", "x" * DOCUMENT_LIMIT, "é" * (DOCUMENT_LIMIT // 2), '"' * DOCUMENT_LIMIT])
def test_a_text_has_at_most_256_kb_of_utf_8(database: Database, ada: UUID, text: str) -> None:
    with database.begin(ada) as stores:
        stores.profile.set(text)
        with pytest.raises(TooLarge):
            stores.profile.set("x" * (DOCUMENT_LIMIT - len(text.encode()) + 1) + text)
        assert stores.profile.get().text == text


@pytest.mark.parametrize("text", ["\0", "a\ud800", 7, None, ["text"]])
def test_what_is_no_text_is_refused_without_a_trace(
    database: Database, ada: UUID, contents: Callable[[], Contents], text: Any
) -> None:
    before = contents()
    with database.begin(ada) as stores, pytest.raises(InvalidJson):
        stores.profile.set(text)
    assert contents() == before
