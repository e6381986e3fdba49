import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from memory_tools import host_conversations
from memory_tools.host_conversations import PATIENCE, HostConversation, import_ended
from memory_tools.memory import Memory
from storage.conversations import NewMessage
from storage.database import Database
from storage.errors import DatabaseUnavailable, InvalidInput, NotFound
from storage.identity import Identity

NOON = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BEFORE = NOON + 60 * MINUTE
SECRET = "canary-that-no-log-may-have"

Said = tuple[datetime, NewMessage]


class Notebook:
    """A host that keeps conversations in a dictionary and remembers what it was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Identity, list[Said]]] = {}
        self.read: list[tuple[str, datetime | None]] = []
        self.heard: list[str] = []

    def say(self, name: str, text: str, at: datetime = NOON, user: str = "ada", external_id: str | None = None) -> None:
        _, said = self.kept.setdefault(name, (Identity.of(user=user), []))
        said.append((at, NewMessage("user", text, said_at=at, external_id=external_id or f"{name}-{len(said)}")))

    def ended(self, before: datetime) -> Iterator[HostConversation]:
        for name, (identity, said) in self.kept.items():
            yield HostConversation(identity, name, max(moment for moment, _ in said))

    def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
        self.read.append((conversation.name, since))
        _, said = self.kept[conversation.name]
        return [message for _, message in said]

    def imported(self, conversation: HostConversation) -> None:
        self.heard.append(conversation.name)


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database)


@pytest.fixture
def host() -> Notebook:
    return Notebook()


def texts(memory: Memory, conversation: str, user: str = "ada") -> list[object]:
    return [message.content for message in memory.of(user=user).conversations.messages(conversation).entries]


def test_messages_of_ended_conversations_become_ours(memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I moved to Bonn.")
    host.say("call-1", "I like it.", NOON + MINUTE)
    host.say("call-2", "My name is Bob.", user="bob")
    assert import_ended(memory, host, BEFORE) == 3
    assert texts(memory, "call-1") == ["I moved to Bonn.", "I like it."]
    assert texts(memory, "call-2", "bob") == ["My name is Bob."]
    assert host.heard == ["call-1", "call-2"]
    with pytest.raises(NotFound):
        texts(memory, "call-2")


def test_importing_twice_keeps_each_message_once_and_reads_nothing_again(memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I moved to Bonn.")
    import_ended(memory, host, BEFORE)
    host.read.clear()
    assert import_ended(memory, host, BEFORE) == 0
    assert host.read == []
    assert texts(memory, "call-1") == ["I moved to Bonn."]


def test_only_what_is_new_is_added_when_a_conversation_goes_on(memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I moved to Bonn.")
    import_ended(memory, host, BEFORE)
    host.say("call-1", "Now I live in Kiel.", NOON + MINUTE)
    assert import_ended(memory, host, BEFORE) == 1
    assert host.read == [("call-1", None), ("call-1", NOON)]
    assert texts(memory, "call-1") == ["I moved to Bonn.", "Now I live in Kiel."]


def test_a_conversation_that_goes_on_is_left_alone(memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I am still talking.", BEFORE)
    assert import_ended(memory, host, BEFORE) == 0
    assert (host.read, host.heard) == ([], [])


def test_old_transcripts_are_eligible_at_once(memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I moved to Bonn.")
    import_ended(memory, host, BEFORE)
    [conversation] = memory.of(user="ada").conversations.all().entries
    assert conversation.last_message_at == NOON


def test_a_message_without_a_time_counts_as_said_when_the_conversation_was_updated(
    memory: Memory, host: Notebook
) -> None:
    host.kept["call-1"] = (Identity.of(user="ada"), [(NOON, NewMessage("user", "Hello.", external_id="1"))])
    import_ended(memory, host, BEFORE)
    [message] = memory.of(user="ada").conversations.messages("call-1").entries
    assert message.said_at == NOON


def test_one_conversation_that_fails_does_not_stop_the_others_and_is_tried_again(
    memory: Memory, host: Notebook, caplog: pytest.LogCaptureFixture
) -> None:
    host.say("call-1", SECRET)
    host.kept["call-1"][1].append((NOON, NewMessage(SECRET, SECRET, external_id="2")))
    host.say("call-2", "My name is Bob.", user="bob")
    with caplog.at_level(logging.DEBUG):
        assert import_ended(memory, host, BEFORE) == 1
    assert "1 conversations of a host could not be imported: InvalidInput (1)" in caplog.text
    assert SECRET not in caplog.text
    assert memory.of(user="ada").conversations.all().entries == (), "all or none of it is kept"
    host.kept["call-1"][1].pop()
    assert import_ended(memory, host, BEFORE) == 1
    assert host.heard == ["call-2", "call-1", "call-2"]


def test_a_message_without_an_external_id_is_refused(memory: Memory, host: Notebook) -> None:
    host.kept["call-1"] = (Identity.of(user="ada"), [(NOON, NewMessage("user", "Hello."))])
    assert import_ended(memory, host, BEFORE) == 0
    assert host.heard == []


def test_what_a_host_listed_before_it_failed_is_kept(
    memory: Memory, host: Notebook, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Notebook):
        def ended(self, before: datetime) -> Iterator[HostConversation]:
            yield from super().ended(before)
            raise ConnectionError(SECRET)

    broken = Broken()
    broken.say("call-1", "I moved to Bonn.")
    assert import_ended(memory, broken, BEFORE) == 1
    assert "ConnectionError (1)" in caplog.text
    assert SECRET not in caplog.text


def test_a_host_that_cannot_list_at_all_keeps_nobody_from_going_on(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Notebook):
        def ended(self, before: datetime) -> Iterator[HostConversation]:
            raise ConnectionError(SECRET)

    assert import_ended(memory, Broken(), BEFORE) == 0
    assert "ConnectionError (1)" in caplog.text


def test_long_conversations_are_kept_whole(memory: Memory, host: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_conversations, "APPEND_SIZE", 2)
    for number in range(5):
        host.say("call-1", f"Sentence {number}.")
    assert import_ended(memory, host, BEFORE) == 5
    assert texts(memory, "call-1") == [f"Sentence {number}." for number in range(5)]


def test_where_memory_is_off_nothing_is_read_and_the_conversation_waits(
    memory: Memory, host: Notebook, operators_database: Database
) -> None:
    configurations = Memory(operators_database).configurations
    configurations.set({"enabled": False})
    host.say("call-1", "I moved to Bonn.")
    assert import_ended(memory, host, BEFORE) == 0
    assert (host.read, host.heard) == ([], [])
    configurations.set({"enabled": True})
    assert import_ended(memory, host, BEFORE) == 1


def test_a_conversation_in_which_nothing_was_said_makes_nobody(memory: Memory, host: Notebook) -> None:
    class Silent(Notebook):
        def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
            super().messages(conversation, since)
            return ()

    silent = Silent()
    silent.say("call-1", "never read")
    assert import_ended(memory, silent, BEFORE) == 0
    assert silent.heard == ["call-1"]
    with memory.of(user="ada").read() as stores:
        assert stores.owners == ()


def test_a_known_person_who_said_nothing_is_read_once(memory: Memory, host: Notebook) -> None:
    memory.of(user="ada").items.set("prefs", "tone", "warm")

    class Silent(Notebook):
        def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
            super().messages(conversation, since)
            return ()

    silent = Silent()
    silent.say("call-1", "never read")
    import_ended(memory, silent, BEFORE)
    import_ended(memory, silent, BEFORE)
    assert silent.read == [("call-1", None)]


def test_an_import_gives_up_when_our_database_does_not_answer(database_url: str, host: Notebook) -> None:
    for number in range(PATIENCE + 2):
        host.say(f"call-{number}", "I moved to Bonn.")
    listed: list[str] = []

    class Counting(Notebook):
        def ended(self, before: datetime) -> Iterator[HostConversation]:
            for each in host.ended(before):
                listed.append(each.name)
                yield each

    memory = Memory.open(database_url)
    memory.close()
    with pytest.raises(DatabaseUnavailable):
        import_ended(memory, Counting(), BEFORE)
    assert len(listed) == PATIENCE


def test_a_worker_may_import(operators_database: Database, memory: Memory, host: Notebook) -> None:
    host.say("call-1", "I moved to Bonn.")
    assert import_ended(Memory(operators_database), host, BEFORE) == 1
    assert texts(memory, "call-1") == ["I moved to Bonn."]


def test_a_time_without_a_zone_is_refused(memory: Memory, host: Notebook) -> None:
    with pytest.raises(InvalidInput):
        import_ended(memory, host, datetime(2026, 11, 19))
