import logging
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

from graphs.checkpointed import NOBODY, UNACCEPTABLE, CheckpointedConversations, identity_of
from graphs.voice import memory_store_node
from memory_tools.host_conversations import import_ended
from memory_tools.memory import Memory
from storage.errors import InvalidIdentity, InvalidInput
from storage.identity import Identity
from tests.postgres import Cluster

Saver = BaseCheckpointSaver[Any]

SECRET = "canary-that-no-log-may-have"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def saver(request: pytest.FixtureRequest) -> Iterator[Saver]:
    """A checkpointer that makes nothing but LangGraph's and LangChain's own objects of what it reads."""
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    if request.param == "memory":
        yield InMemorySaver(serde=strict)
    elif request.param == "sqlite":
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        yield SqliteSaver(connection, serde=strict)
        connection.close()
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        with PostgresSaver.from_conn_string(cluster.new_database()) as in_postgres:
            in_postgres.serde = strict
            in_postgres.setup()
            yield in_postgres


def agent(saver: Saver) -> Any:
    """A host's graph: it answers how many messages there are."""

    def answer(state: MessagesState) -> MessagesState:
        return {"messages": [AIMessage(f"That was message {len(state['messages'])}.")]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def thread(name: str, **configurable: object) -> RunnableConfig:
    return {"configurable": {"thread_id": name, **configurable}}


def say(saver: Saver, text: str, name: str = "thread-1", **configurable: object) -> None:
    agent(saver).invoke({"messages": [HumanMessage(text)]}, thread(name, **(configurable or {"user_id": "ada"})))


def soon() -> datetime:
    """Return a moment before which everything that was said by now has ended."""
    return datetime.now(UTC) + timedelta(seconds=1)


def texts(memory: Memory, name: str = "thread-1", **who: str) -> list[object]:
    person = memory.of(**(who or {"user": "ada"}))  # type: ignore[arg-type]
    return [message.content for message in person.conversations.messages(name).entries]


def nobody_is_there(memory: Memory, user: str) -> bool:
    with memory.of(user=user).read() as stores:
        return stores.owners == ()


def test_threads_become_conversations_of_whom_their_runs_name(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    say(saver, "I like it.")
    say(saver, "My name is Bob.", "thread-2", user_id="bob")
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 6
    assert texts(memory) == ["I moved to Bonn.", "That was message 1.", "I like it.", "That was message 3."]
    assert texts(memory, "thread-2", user="bob") == ["My name is Bob.", "That was message 1."]


def test_a_second_import_finds_nothing_even_from_a_new_object(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    host = CheckpointedConversations(saver)
    assert import_ended(memory, host, soon()) == 2
    assert import_ended(memory, host, soon()) == 0
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 0
    assert len(texts(memory)) == 2


def test_a_thread_that_goes_on_adds_what_is_new(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    host = CheckpointedConversations(saver)
    import_ended(memory, host, soon())
    say(saver, "Now I live in Kiel.")
    assert import_ended(memory, host, soon()) == 2
    assert texts(memory)[2:] == ["Now I live in Kiel.", "That was message 3."]


def test_a_thread_that_has_not_ended_waits(memory: Memory, saver: Saver) -> None:
    say(saver, "I am still talking.")
    host = CheckpointedConversations(saver)
    assert import_ended(memory, host, datetime.now(UTC) - timedelta(hours=2)) == 0
    assert nobody_is_there(memory, "ada")
    assert import_ended(memory, host, soon()) == 2


def test_a_message_was_said_when_the_first_checkpoint_that_has_it_was_written(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    between = datetime.now(UTC)
    say(saver, "I like it.")
    import_ended(memory, CheckpointedConversations(saver), soon())
    said = [message.said_at for message in memory.of(user="ada").conversations.messages("thread-1").entries]
    assert said == sorted(said)
    assert [moment < between for moment in said] == [True, True, False, False]


def test_threads_are_found_across_pages(memory: Memory, saver: Saver) -> None:
    for number in range(25):
        say(saver, f"Sentence {number}.", f"thread-{number}")
    host = CheckpointedConversations(saver)
    assert import_ended(memory, host, soon()) == 50
    assert {each.name for each in memory.of(user="ada").conversations.all(limit=100).entries} == {
        f"thread-{number}" for number in range(25)
    }


def test_copied_threads_with_the_same_checkpoint_id_are_all_found(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.", "thread-0")
    newest = saver.get_tuple(thread("thread-0"))
    assert newest is not None
    for number in range(1, 8):  # as a copied thread that was pruned afterwards
        versions = newest.checkpoint["channel_versions"]
        saver.put(thread(f"thread-{number}", checkpoint_ns=""), newest.checkpoint, newest.metadata, versions)
    import_ended(memory, CheckpointedConversations(saver), soon())
    assert len(memory.of(user="ada").conversations.all().entries) == 8


@pytest.mark.parametrize("saver", ["sqlite", "postgresql"], indirect=True)
def test_a_second_look_at_many_old_threads_reads_few_checkpoints(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.checkpointed.LATE", timedelta(0))
    for number in range(20):
        say(saver, f"Sentence {number}.", f"thread-{number}")
    host = CheckpointedConversations(saver)
    for conversation in list(host.ended(soon())):
        host.imported(conversation)
    read: list[object] = []
    plain = type(saver).list

    def counting(self: Saver, *given: Any, **by: Any) -> Iterator[Any]:
        for found in plain(self, *given, **by):
            read.append(found)
            yield found

    monkeypatch.setattr(type(saver), "list", counting)
    assert [each.name for each in host.ended(soon())] == ["thread-19"], "the newest may still have company"
    assert len(read) < 20, "and each thread has three checkpoints"


def test_threads_last_written_to_before_a_moment_are_left_out(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    moment = datetime.now(UTC)
    say(saver, "My name is Bob.", "thread-2", user_id="bob")
    assert import_ended(memory, CheckpointedConversations(saver, since=moment), soon()) == 2
    assert nobody_is_there(memory, "ada")


def test_threads_of_nobody_are_passed_over(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.", unrelated="x")
    say(saver, "So did I.", "thread-2", user_id="not\na name")
    assert list(CheckpointedConversations(saver).ended(soon())) == []


def test_how_many_threads_are_passed_over_and_why_is_logged_without_a_name(
    saver: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):  # whose these are stood in the context alone
        say(saver, SECRET, f"{SECRET}-{number}", unrelated=SECRET)
    say(saver, SECRET, f"{SECRET}-no-name", user_id=f"{SECRET}\n")
    say(saver, "I moved to Bonn.")
    host = CheckpointedConversations(saver)
    with caplog.at_level(logging.INFO):
        assert [each.name for each in host.ended(soon())] == ["thread-1"]
    ours = [(record.levelname, record.message) for record in caplog.records if record.name == "graphs.checkpointed"]
    assert sorted(ours) == [
        ("INFO", f"1 threads were passed over: {UNACCEPTABLE}"),
        ("INFO", f"3 threads were passed over: {NOBODY}"),
    ]
    assert SECRET not in caplog.text


def test_a_thread_in_which_runs_name_several_people_is_nobodys(
    memory: Memory, saver: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    say(saver, f"I moved to Bonn. {SECRET}")
    say(saver, "My name is Bob.", user_id="bob")
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 0
    assert nobody_is_there(memory, "ada")
    assert nobody_is_there(memory, "bob")
    assert "NoIdentity (1)" in caplog.text
    assert SECRET not in caplog.text


def test_what_was_said_since_somebody_else_joined_a_thread_is_not_kept(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    import_ended(memory, CheckpointedConversations(saver), soon())
    say(saver, "My name is Bob.", user_id="bob")
    say(saver, "And I am Ada again.")
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 0
    assert len(texts(memory)) == 2


def test_a_write_that_names_nobody_leaves_a_thread_to_whom_it_belongs(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.")
    agent(saver).update_state(thread("thread-1"), {"messages": [AIMessage("An operator added this.")]})
    import_ended(memory, CheckpointedConversations(saver), soon())
    assert texts(memory)[-1] == "An operator added this."


def test_an_organization_and_a_phone_number_name_a_caller_too(memory: Memory, saver: Saver) -> None:
    say(saver, "I moved to Bonn.", organization="acme", phone="+12025550143")
    import_ended(memory, CheckpointedConversations(saver), soon())
    assert len(texts(memory, organization="acme", phone="+12025550143")) == 2


def test_a_host_may_say_whose_a_thread_is(memory: Memory, saver: Saver) -> None:
    def identify(config: RunnableConfig, metadata: Mapping[str, Any]) -> Identity | None:
        user, _, _ = config["configurable"]["thread_id"].partition("/")
        return Identity.of(user=user)

    say(saver, "I moved to Bonn.", "ada/1", unrelated="x")
    import_ended(memory, CheckpointedConversations(saver, identify), soon())
    assert len(texts(memory, "ada/1")) == 2


def test_a_host_that_fails_to_say_whose_one_thread_is_gets_the_others(
    memory: Memory, saver: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    def identify(config: RunnableConfig, metadata: Mapping[str, Any]) -> Identity | None:
        if config["configurable"]["thread_id"] == "thread-2":
            raise ConnectionError(SECRET)
        return identity_of(config, metadata)

    say(saver, "I moved to Bonn.")
    say(saver, "My name is Bob.", "thread-2", user_id="bob")
    assert import_ended(memory, CheckpointedConversations(saver, identify), soon()) == 2
    assert "ConnectionError" in caplog.text
    assert SECRET not in caplog.text


def test_instructions_summaries_and_silent_calls_of_tools_are_left_out(memory: Memory, saver: Saver) -> None:
    call = {"name": "get_user_memory", "args": {}, "id": "call-1"}
    messages: list[BaseMessage] = [
        SystemMessage("Be kind."),
        HumanMessage("We spoke of chess.", additional_kwargs={"lc_source": "summarization"}),
        HumanMessage("I moved to Bonn."),
        AIMessage("", tool_calls=[call]),
        ToolMessage("She lived in Kiel.", tool_call_id="call-1", name="get_user_memory"),
    ]
    agent(saver).invoke({"messages": messages}, thread("thread-1", user_id="ada"))
    import_ended(memory, CheckpointedConversations(saver), soon())
    kept = memory.of(user="ada").conversations.messages("thread-1").entries
    assert [(message.role, message.content) for message in kept] == [
        ("user", "I moved to Bonn."),
        ("tool", "She lived in Kiel."),
        ("assistant", "That was message 5."),
    ]
    assert kept[1].metadata == {"recalled": True}


def test_what_a_host_took_out_of_a_thread_does_not_come_back(memory: Memory, saver: Saver) -> None:
    say(saver, "My card is 4242.")
    graph = agent(saver)
    first = graph.get_state(thread("thread-1")).values["messages"][0]
    graph.update_state(thread("thread-1"), {"messages": [RemoveMessage(first.id)]})
    import_ended(memory, CheckpointedConversations(saver), soon())
    assert texts(memory) == ["That was message 1."]


class Plain(TypedDict):
    messages: Annotated[list[Any], add]


def test_messages_without_ids_are_kept_once_too(memory: Memory, saver: Saver) -> None:
    builder = StateGraph(Plain)
    builder.add_node("answer", lambda state: {"messages": [{"role": "assistant", "content": "Fine."}]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=saver)
    for _ in range(2):
        graph.invoke({"messages": [{"role": "user", "content": "How are you?"}]}, thread("thread-1", user_id="ada"))
        import_ended(memory, CheckpointedConversations(saver), soon())
    assert texts(memory) == ["How are you?", "Fine."] * 2


def test_what_the_store_node_kept_of_a_thread_is_not_kept_twice(memory: Memory, saver: Saver) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("store", memory_store_node(memory))
    builder.add_edge(START, "store")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [HumanMessage("I moved to Bonn.")]}, thread("thread-1", user_id="ada"))
    assert texts(memory) == ["I moved to Bonn."]
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 0


def test_subgraphs_are_no_conversations_of_their_own(memory: Memory, saver: Saver) -> None:
    inner = StateGraph(MessagesState)
    inner.add_node("think", lambda state: {"messages": [AIMessage("Thinking.")]})
    inner.add_edge(START, "think")
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner.compile(checkpointer=True))
    outer.add_edge(START, "inner")
    graph = outer.compile(checkpointer=saver)
    graph.invoke({"messages": [HumanMessage("I moved to Bonn.")]}, thread("thread-1", user_id="ada"))
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 2
    assert texts(memory) == ["I moved to Bonn.", "Thinking."]


def test_a_graph_without_messages_is_no_conversation(memory: Memory, saver: Saver) -> None:
    class Count(TypedDict):
        count: int

    builder = StateGraph(Count)
    builder.add_node("add", lambda state: {"count": state["count"] + 1})
    builder.add_edge(START, "add")
    builder.compile(checkpointer=saver).invoke({"count": 1}, thread("thread-1", user_id="ada"))
    assert import_ended(memory, CheckpointedConversations(saver), soon()) == 0
    assert nobody_is_there(memory, "ada")


def test_an_import_logs_nothing_that_was_said(memory: Memory, saver: Saver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        say(saver, SECRET)
        import_ended(memory, CheckpointedConversations(saver), soon())
    assert texts(memory)[0] == SECRET
    assert SECRET not in caplog.text


AUTHENTICATED = {"langgraph_auth_user_id": "ada"}


@pytest.mark.parametrize(
    ("metadata", "identity"),
    [
        ({}, None),
        ({"source": "loop", "step": 1, "run_id": "x"}, None),
        ({"user_id": "", "langgraph_auth_user_id": ""}, None),
        ({"user_id": "ada"}, Identity.of(user="ada")),
        ({"userId": "ada", "organizationId": "acme"}, Identity.of(user="ada", organization="acme")),
        ({"phoneNumber": "+12025550143"}, Identity.of(phone="+12025550143")),
        ({"From": "+12025550143"}, Identity.of(phone="+12025550143")),
        ({"phone": "anonymous"}, None),
        ({**AUTHENTICATED, "user_id": "mallory"}, Identity.of(user="ada")),
        ({**AUTHENTICATED, "phone": "+12025550143"}, None),
    ],
)
def test_a_checkpoint_names_whom_its_run_named(metadata: dict[str, Any], identity: Identity | None) -> None:
    assert identity_of(thread("thread-1"), metadata) == identity


def test_a_number_without_a_country_code_needs_a_region() -> None:
    assert identity_of({}, {"phone": "(202) 555-0143"}) is None
    assert identity_of({}, {"phone": "(202) 555-0143"}, "US") == Identity.of(phone="+12025550143")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidIdentity):
        identity_of({}, {"user_id": " "})


def test_a_beginning_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInput):
        CheckpointedConversations(InMemorySaver(), since=datetime(2026, 11, 19))
