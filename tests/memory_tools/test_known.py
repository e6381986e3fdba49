from typing import Any

import pytest

from memory_tools.known import Known, read_known
from memory_tools.memory import Memory, UserMemory
from memory_tools.said import RECALLED
from storage.conversations import NewMessage
from storage.cursors import MESSAGES
from storage.database import Database
from storage.limits import PAGE_LIMIT


@pytest.fixture
def person(database: Database) -> UserMemory:
    return Memory(database).of(user="ada")


def known_of(person: UserMemory, **how: Any) -> Known:
    with person.read() as stores:
        return read_known(stores, **how)


def test_what_is_read_is_the_stored_document_and_what_is_not_in_it_yet(person: UserMemory) -> None:
    person.document.append({"summary": "Ada sails."})
    person.profile.set("Ada is a teacher.")
    person.conversations.append("call-1", [NewMessage("user", "Old."), NewMessage("user", "I moved to Rome.")])
    with person.begin() as stores:
        stores.cursors.advance(MESSAGES, 1)
    known = known_of(person)
    assert (known.version, known.document, known.profile) == (1, {"summary": "Ada sails."}, "Ada is a teacher.")
    assert [each.text for each in known.said] == ["I moved to Rome."]


def test_only_what_people_and_models_said_themselves_is_read(person: UserMemory) -> None:
    roles = [NewMessage(role, f"by {role}") for role in ("user", "tool", "system", "assistant")]
    recalled = NewMessage("assistant", "You said it.", metadata={RECALLED: True})
    person.conversations.append("call-1", [*roles, recalled])
    assert [each.text for each in known_of(person).said] == ["by user", "by assistant"]


def test_the_newest_messages_are_read_however_many_are_new(person: UserMemory) -> None:
    for call in range(4):
        turns = [NewMessage("user", f"{call}-{turn}") for turn in range(PAGE_LIMIT * 3 // 4)]
        person.conversations.append(f"call-{call}", turns)
    assert [each.text for each in known_of(person).said] == [f"3-{turn}" for turn in range(55, 75)]
    assert [each.text for each in known_of(person, messages=2).said] == ["3-73", "3-74"]
    numbers = [each.number for each in known_of(person, messages=PAGE_LIMIT).said]
    assert numbers == list(range(201, 301))


def test_a_long_conversation_that_goes_on_does_not_hide_the_one_before(person: UserMemory) -> None:
    person.conversations.append("old", [NewMessage("user", "My name is John.")])
    person.conversations.append("now", [NewMessage("user", f"{turn}") for turn in range(PAGE_LIMIT * 3)])
    assert [each.text for each in known_of(person, except_conversation="now").said] == ["My name is John."]
