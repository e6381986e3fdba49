import asyncio
from typing import Any

from langchain_core.messages import SystemMessage
from langchain_core.messages.utils import count_tokens_approximately

from graphs.messages import amemory_messages, memory_messages
from graphs.transcript import transcript
from memory_tools.memory import Memory, UserMemory
from memory_tools.presentation import approximate_tokens
from memory_tools.said import RECALLED
from storage.conversations import NewMessage
from tests.memory_tools.blocks import inside


def test_nobody_gets_no_message_and_stays_unmet(memory: Memory, contents: Any) -> None:
    before = contents()
    assert memory_messages(memory.of(user="nobody")) == []
    assert contents() == before


def test_what_is_known_is_one_system_message_that_is_never_learnt_again(person: UserMemory) -> None:
    person.document.append({"summary": "Ada sails."})
    person.profile.set("Ada is a teacher.")
    person.conversations.append("call-1", [NewMessage("user", "I moved to Rome.")])
    [message] = memory_messages(person)
    assert isinstance(message, SystemMessage)
    assert all(text in message.text for text in ("Ada sails.", "Ada is a teacher.", "I moved to Rome."))
    assert message.additional_kwargs == {RECALLED: True}
    assert transcript([message], "run")[0].metadata == {RECALLED: True}
    assert asyncio.run(amemory_messages(person)) == [message]


def test_the_profile_text_alone_is_a_message(person: UserMemory) -> None:
    person.profile.set("Ada is a teacher.")
    [message] = memory_messages(person)
    assert message.text.startswith("User Memory: ")
    assert inside(message.text) == [{"profile": "Ada is a teacher."}]


def test_a_message_stays_within_its_budget_as_langchain_counts(person: UserMemory) -> None:
    person.document.append({"summary": "word " * 2_000})
    for budget in (110, 333, 1_000):
        assert budget - 15 < count_tokens_approximately(memory_messages(person, budget=budget)) <= budget


def test_the_conversation_that_goes_on_is_not_repeated(person: UserMemory) -> None:
    person.conversations.append("old", [NewMessage("user", "My name is John.")])
    person.conversations.append("now", [NewMessage("user", "What is my name?")])
    [message] = memory_messages(person, except_conversation="now")
    assert "My name is John." in message.text
    assert "What is my name?" not in message.text
    assert memory_messages(person, except_conversation="now") == asyncio.run(
        amemory_messages(person, except_conversation="now")
    )


def test_tokens_are_counted_as_langchain_approximates_them() -> None:
    for text in ("", "a", "abcd", "abcde", "x" * 1_001):
        role = len("system")
        assert count_tokens_approximately([SystemMessage(text)]) == approximate_tokens(text + " " * role) + 3
