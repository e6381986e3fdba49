import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from langchain_core.messages import BaseMessage
from pydantic import BaseModel

from graphs.conversation_summarizer import (
    PROMPT,
    ConversationSummarizer,
    ExtractiveConversationSummarizer,
    ModelConversationSummarizer,
)
from graphs.recap import Recap, Transcript, about, fits, says_nothing, with_true_citations
from graphs.recaps import TRANSCRIPT_MESSAGES, NewRecap, arecap_conversation, recap_conversation
from graphs.testing import Answer, ScriptedChatModel, said
from memory_tools.memory import Memory, UserMemory
from storage.conversations import NewMessage
from storage.errors import NotFound, SummarizerFailed
from storage.provenance import Actor, Provenance, TokenUsage, Trust
from tests.contents import Contents

TEA: dict[str, Any] = {"summary": "About tea.", "facts": [{"text": "Lives in London.", "messages": [1]}]}

Recapped: TypeAlias = Callable[..., NewRecap | None]


@pytest.fixture(params=["sync", "async"])
def recapped(request: pytest.FixtureRequest) -> Recapped:
    """Make the memory of a conversation in one way or the other."""
    if request.param == "sync":
        return recap_conversation
    return lambda *given, **by: asyncio.run(arecap_conversation(*given, **by))


def scripted(*answers: Answer) -> tuple[ScriptedChatModel, ModelConversationSummarizer]:
    model = ScriptedChatModel.of(*answers)
    return model, ModelConversationSummarizer(model)


def say(person: UserMemory, *texts: str, role: str = "user", conversation: str = "call-1", **about: Any) -> None:
    person.conversations.append(conversation, [NewMessage(role, text, **about) for text in texts])


def keep(person: UserMemory, new: NewRecap | None) -> NewRecap:
    assert new is not None
    with person.begin() as stores:
        stores.conversation_memories.set(
            new.conversation, new.data, message_count=new.message_count, provenance=new.provenance
        )
    return new


def test_a_conversation_becomes_a_memory_that_says_where_it_comes_from(person: UserMemory, recapped: Recapped) -> None:
    say(person, "Hello.", conversation="call-0")
    say(person, "I live in London.", "I like tea.")
    model, summarizer = scripted(said('{"summary": "About tea."}'))
    assert recapped(person, "call-1", summarizer) == NewRecap(
        conversation="call-1",
        data={"summary": "About tea."},
        message_count=2,
        provenance=Provenance(
            Actor.JOB,
            "python",
            conversations=["call-1"],
            messages=[2, 3],
            model="scripted-1",
            prompt=PROMPT.version,
            tokens=TokenUsage(10, 5),
            trust=Trust.AGENT,
        ),
        more=False,
    )
    assert "Hello." not in model.prompts[0][1].text


def test_nothing_is_written_before_somebody_keeps_it(
    person: UserMemory, recapped: Recapped, contents: Callable[[], Contents]
) -> None:
    say(person, "I like tea.")
    before = contents()
    assert recapped(person, "call-1", scripted(TEA)[1])
    assert contents() == before


@pytest.mark.parametrize("answer", ["", "{", {"summary": 7}, {}, "I'm sorry."])
def test_a_failure_leaves_nothing_and_says_what_it_cost(
    person: UserMemory, recapped: Recapped, contents: Callable[[], Contents], answer: Any
) -> None:
    say(person, "I like tea.")
    keep(person, recapped(person, "call-1", scripted(TEA)[1]))
    say(person, "And coffee.")
    before = contents()
    text = answer if isinstance(answer, str) else str(answer).replace("'", '"')
    with pytest.raises(SummarizerFailed) as failure:
        recapped(person, "call-1", scripted(*[said(text)] * 3)[1])
    assert getattr(failure.value, "tokens", None) == TokenUsage(30, 15)
    assert contents() == before


def test_no_such_conversation_is_not_found_nor_is_another_persons(
    memory: Memory, person: UserMemory, recapped: Recapped
) -> None:
    say(memory.of(user="bob"), "I like tea.")
    for _ in range(2):
        with pytest.raises(NotFound):
            recapped(person, "call-1", scripted()[1])
        say(person, "Hello.", conversation="call-2")


def test_another_persons_conversation_of_the_same_name_is_not_read(
    memory: Memory, person: UserMemory, recapped: Recapped
) -> None:
    bob = memory.of(user="bob")
    say(bob, "I am Bob.")
    keep(bob, recapped(bob, "call-1", scripted({"summary": "About Bob."})[1]))
    say(person, "I am Ada.")
    model, summarizer = scripted(TEA)
    recapped(person, "call-1", summarizer)
    assert "Ada" in model.prompts[0][1].text
    assert "Bob" not in model.prompts[0][1].text


def test_a_memory_of_all_messages_is_not_made_again(person: UserMemory, recapped: Recapped) -> None:
    say(person, "I like tea.")
    keep(person, recapped(person, "call-1", scripted(TEA)[1]))
    assert recapped(person, "call-1", scripted()[1]) is None


def test_a_conversation_that_went_on_refines_its_memory(person: UserMemory, recapped: Recapped) -> None:
    say(person, "I live in London.", "I like tea.")
    keep(person, recapped(person, "call-1", scripted(TEA)[1]))
    say(person, "Unrelated.", conversation="call-2")
    say(person, "I moved to Paris.")
    facts = [{"text": "Lives in Paris.", "messages": [4]}, {"text": "Lived in London.", "messages": [1]}]
    model, summarizer = scripted({"summary": "Tea, and moving.", "facts": facts})
    new = keep(person, recapped(person, "call-1", summarizer))
    text = model.prompts[0][1].text
    assert "About tea." in text
    assert "I moved to Paris." in text
    assert "I like tea." not in text
    assert "Unrelated." not in text
    assert (new.data["facts"], new.message_count, new.provenance.messages) == (facts, 3, (4,))


def test_messages_that_repeat_memory_and_those_of_tools_are_passed_over(person: UserMemory, recapped: Recapped) -> None:
    say(person, "I like tea.")
    say(person, "You remember: coffee.", metadata={"recalled": True})
    say(person, "A page of the web.", role="tool")
    say(person, "Noted.", role="assistant")
    model, summarizer = scripted(TEA)
    new = recapped(person, "call-1", summarizer)
    assert new is not None
    assert (new.message_count, new.provenance.messages, new.provenance.trust) == (4, (1, 4), Trust.AGENT)
    assert "coffee" not in model.prompts[0][1].text
    assert "web" not in model.prompts[0][1].text


def test_where_nothing_teaches_anything_no_model_is_asked(person: UserMemory, recapped: Recapped) -> None:
    say(person, "You remember: coffee.", metadata={"recalled": True})
    new = keep(person, recapped(person, "call-1", scripted()[1]))
    assert (new.data, new.message_count, new.provenance.messages, new.tokens) == ({}, 1, (), None)
    say(person, "I like tea.")
    keep(person, recapped(person, "call-1", scripted({"summary": "About tea."})[1]))
    say(person, "A page of the web.", role="tool")
    unchanged = keep(person, recapped(person, "call-1", scripted()[1]))
    assert (unchanged.data, unchanged.message_count) == ({"summary": "About tea."}, 3)
    assert recapped(person, "call-1", scripted()[1]) is None


def test_what_tools_said_lowers_the_trust_for_good(person: UserMemory, recapped: Recapped) -> None:
    say(person, "Look it up.")
    say(person, "A page of the web.", role="tool")
    first = keep(person, recapped(person, "call-1", scripted(TEA)[1], roles=("user", "tool")))
    assert (first.provenance.trust, first.provenance.messages) == (Trust.TOOL, (1, 2))
    say(person, "Thanks.")
    second = recapped(person, "call-1", scripted(TEA)[1])
    assert second is not None
    assert second.provenance.trust == Trust.TOOL


def test_a_long_conversation_is_read_in_several_goes_and_all_of_it(person: UserMemory, recapped: Recapped) -> None:
    say(person, *(f"Line {n}." for n in range(TRANSCRIPT_MESSAGES + 5)))
    model, summarizer = scripted({"summary": "The first."}, {"summary": "All."})
    first = keep(person, recapped(person, "call-1", summarizer))
    second = keep(person, recapped(person, "call-1", summarizer))
    assert (first.message_count, first.more) == (TRANSCRIPT_MESSAGES, True)
    assert (second.message_count, second.more) == (TRANSCRIPT_MESSAGES + 5, False)
    assert f'"Line {TRANSCRIPT_MESSAGES - 1}."' in model.prompts[0][1].text
    assert f'"Line {TRANSCRIPT_MESSAGES}."' not in model.prompts[0][1].text
    assert f'"Line {TRANSCRIPT_MESSAGES}."' in model.prompts[1][1].text
    assert "The first." in model.prompts[1][1].text


def test_long_messages_are_read_in_several_goes_and_one_too_long_alone(person: UserMemory, recapped: Recapped) -> None:
    say(person, "a" * 10_000, "b" * 65_000, "c" * 10_000)
    counts = [keep(person, recapped(person, "call-1", scripted(TEA)[1])).message_count for _ in range(3)]
    assert counts == [1, 2, 3]


@pytest.mark.parametrize("other", [{"notes": "by hand"}, {"summary": "x" * 50_000}])
def test_a_memory_of_another_shape_or_size_is_made_anew(
    person: UserMemory, recapped: Recapped, other: dict[str, Any]
) -> None:
    say(person, "I live in London.")
    with person.begin() as stores:
        stores.conversation_memories.set("call-1", other, provenance=person.provenance)
    say(person, "I like tea.")
    model, summarizer = scripted(TEA)
    new = recapped(person, "call-1", summarizer)
    assert new is not None
    assert (new.data, new.message_count, new.provenance.messages) == (TEA, 2, (1, 2))
    assert "by hand" not in model.prompts[0][1].text


def test_the_model_is_asked_outside_of_any_transaction_and_what_is_said_meanwhile_is_not_covered(
    memory: Memory, person: UserMemory, recapped: Recapped
) -> None:
    held: list[int] = []

    def answer(_: list[BaseMessage]) -> Any:
        held.append(memory.database.engine.pool.checkedout())  # type: ignore[attr-defined]  # of its kind
        say(person, "I moved.")
        return TEA

    say(person, "I live in London.")
    new = keep(person, recapped(person, "call-1", scripted(answer)[1]))
    assert (held, new.message_count) == ([0], 1)
    model, summarizer = scripted(TEA)
    recapped(person, "call-1", summarizer)
    assert "I moved." in model.prompts[0][1].text


def test_a_summarizer_of_the_hosts_own_is_checked_too(person: UserMemory, recapped: Recapped) -> None:
    class Careless(ConversationSummarizer):
        def summarize(self, conversation: Transcript) -> Recap:
            return Recap({"summary": 7}, tokens=TokenUsage(1, 2))

    say(person, "I like tea.")
    with pytest.raises(SummarizerFailed) as failure:
        recapped(person, "call-1", Careless())
    assert getattr(failure.value, "tokens", None) == TokenUsage(1, 2)


def test_without_a_model_the_persons_sentences_are_kept(person: UserMemory, recapped: Recapped) -> None:
    say(person, "My name is Ada.")
    new = keep(person, recapped(person, "call-1", ExtractiveConversationSummarizer()))
    assert (new.provenance.model, new.data["summary"]) == ("extractive", "My name is Ada.")


def test_a_host_may_bring_its_own_shape(person: UserMemory, recapped: Recapped) -> None:
    class Minutes(BaseModel):
        decisions: list[str]

    say(person, "We take tea.")
    minutes = {"decisions": ["tea"]}
    model, summarizer = scripted(TEA, minutes, minutes)
    keep(person, recapped(person, "call-1", summarizer, schema=Minutes))
    say(person, "With milk.")
    new = keep(person, recapped(person, "call-1", summarizer, schema=Minutes))
    assert (new.data, new.provenance.messages, model.left) == (minutes, (2,), 0)


# The shape of a conversation memory


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        ({"summary": ""}, True),
        ({"summary": "Tea.", "mood": "good", "facts": [{"text": "a", "messages": [1], "kind": "fact"}]}, True),
        ({}, False),
        ({"summary": None}, False),
        ({"summary": "Tea.", "facts": [{"text": 1}]}, False),
        ({"summary": "Tea.", "facts": [{"text": "a", "messages": 1}]}, False),
    ],
)
def test_the_shape_of_a_memory(data: dict[str, Any], verdict: bool) -> None:
    from graphs.recap import ConversationRecap

    assert fits(data, ConversationRecap) is verdict


def test_a_memory_says_nothing_only_when_all_of_it_is_empty() -> None:
    assert says_nothing({"summary": " ", "facts": [], "more": {"a": None, "b": [""]}})
    assert not says_nothing({"summary": "", "facts": [{"text": "a"}]})
    assert not says_nothing({"mood": 0})


def test_entries_name_only_known_messages_and_others_stay_as_they_are() -> None:
    data = {"a": [{"messages": [2, 1, 9]}, {"messages": "all"}, "text"], "b": {"messages": [9]}, "c": []}
    assert with_true_citations(data, {1, 2}) == data | {"a": [{"messages": [1, 2]}, {"messages": "all"}, "text"]}


def test_of_a_memory_what_only_other_messages_say_is_left_out() -> None:
    data = {"summary": "s", "a": [{"messages": [1]}, {"messages": [1, 2]}, {"text": "t"}, {"messages": []}, "text"]}
    assert about(data, {2, 3}) == {"summary": "s", "a": [{"messages": [1, 2]}, {"text": "t"}, {"messages": []}, "text"]}
