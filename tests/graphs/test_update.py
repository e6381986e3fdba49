from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from graphs.batch import BATCH_MESSAGES
from graphs.material import SourceText
from graphs.prompt import PROMPT_VERSION
from graphs.testing import ScriptedChatModel, said
from graphs.update import build_update_graph, generate_memory_update, update_memory
from memory_tools.memory import Memory, UserMemory
from storage.conversations import NewMessage
from storage.errors import InvalidInput, NoIdentity, SummarizerFailed
from storage.provenance import Actor, Provenance, TokenUsage, Trust

TEA = {"summary": "Ada drinks tea in the morning.", "safety_notes": "Never call before nine."}
LONG = {
    "summary": "Ada lives in London, works on engines and loves long walks along the river with her two old dogs.",
    "parts": {
        "critic": {"name": "Inner Critic", "status": "active", "goals": [{"goal": "To feel safer in meetings."}]}
    },
    "safety_notes": "Never call before nine.",
}


def user(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


def seen(person: UserMemory) -> int:
    with person.read() as stores:
        return stores.cursors.seen("document")


def test_a_message_in_a_version_out(person: UserMemory) -> None:
    result = update_memory(person, messages=user("I drink tea."), model=ScriptedChatModel.of(TEA))
    assert (result.status, result.version, result.error, result.more) == ("saved", 1, None, False)
    assert {operation["path"] for operation in result.patch} == {"/summary", "/safety_notes"}
    assert person.document.current().document["summary"] == TEA["summary"]


def test_nothing_new_asks_no_model_and_makes_nobody(memory: Memory, person: UserMemory) -> None:
    result = update_memory(person, model=ScriptedChatModel.of())
    assert (result.status, result.version, result.patch, result.tokens) == ("nothing_new", 0, [], None)
    assert person._known() is None


def test_what_was_seen_is_not_new_again(person: UserMemory) -> None:
    model = ScriptedChatModel.of(TEA)
    update_memory(person, messages=user("I drink tea."), model=model)
    assert update_memory(person, model=model).status == "nothing_new"
    assert len(model.prompts) == 1


def test_messages_kept_before_are_enough(memory: Memory, person: UserMemory) -> None:
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    result = generate_memory_update(memory, "ada", model=ScriptedChatModel.of(TEA))
    assert result.status == "saved"


def test_messages_are_kept_once_by_their_ids(person: UserMemory) -> None:
    given = [
        HumanMessage("I drink tea.", id="m1"),
        AIMessage("", id="m2", tool_calls=[{"name": "kettle", "args": {}, "id": "t1"}]),
        ToolMessage("hot", tool_call_id="t1", id="m3"),
        AIMessage([{"type": "text", "text": "Noted."}], id="m4"),
        {"role": "user", "content": "With milk.", "external_id": "m5"},
    ]
    for _ in range(2):
        update_memory(person, messages=given, conversation="call-1")
    kept = person.conversations.messages("call-1").entries
    assert [(message.role, message.external_id) for message in kept] == [
        ("user", "m1"),
        ("tool", "m3"),
        ("assistant", "m4"),
        ("user", "m5"),
    ]


def test_messages_without_ids_are_never_taken_for_one_another(person: UserMemory) -> None:
    for _ in range(2):
        update_memory(person, messages=user("Yes."), conversation="call-1")
    assert len(person.conversations.messages("call-1").entries) == 2


def test_what_is_no_message_is_refused(person: UserMemory) -> None:
    with pytest.raises(InvalidInput):
        update_memory(person, messages=[42])


def test_other_roles_are_passed_over_and_the_cursor_moves_over_them(person: UserMemory) -> None:
    person.conversations.append("call-1", [NewMessage("tool", "42"), NewMessage("system", "Be kind.")])
    model = ScriptedChatModel.of()
    assert update_memory(person, model=model).status == "nothing_new"
    assert seen(person) == 2


def test_recalled_text_is_never_learnt_again(person: UserMemory) -> None:
    mirrored = HumanMessage("You remember: tea.", id="m1", additional_kwargs={"recalled": True})
    assert update_memory(person, messages=[mirrored], model=ScriptedChatModel.of()).status == "nothing_new"
    assert seen(person) == 1


def test_a_long_conversation_takes_several_runs_and_misses_nothing(person: UserMemory) -> None:
    person.conversations.append("call-1", [NewMessage("user", f"Line {n}.") for n in range(BATCH_MESSAGES + 50)])
    model = ScriptedChatModel.of(*({"summary": f"run {n}"} for n in range(2)))
    first, second = update_memory(person, model=model), update_memory(person, model=model)
    assert (first.more, second.more) == (True, False)
    assert f"Line {BATCH_MESSAGES - 1}." in model.prompts[0][1].text
    assert f"Line {BATCH_MESSAGES}." not in model.prompts[0][1].text
    assert f"Line {BATCH_MESSAGES}." in model.prompts[1][1].text
    assert seen(person) == BATCH_MESSAGES + 50


def test_a_batch_is_bounded_by_its_length_too(person: UserMemory) -> None:
    person.conversations.append("call-1", [NewMessage("user", str(n) * 25_000) for n in (1, 2, 3)])
    model = ScriptedChatModel.of({"summary": "long"}, {"summary": "long"})
    assert [update_memory(person, model=model).more for _ in range(2)] == [True, False]
    assert seen(person) == 3


def test_an_unchanged_document_makes_no_version(person: UserMemory) -> None:
    model = ScriptedChatModel.of(TEA, TEA)
    update_memory(person, messages=user("I drink tea."), model=model)
    result = update_memory(person, messages=user("Hello."), model=model)
    assert (result.status, result.version, result.patch) == ("unchanged", 1, [])
    assert seen(person) == 2


@pytest.mark.parametrize(
    ("rewritten", "rule"),
    [
        ({"summary": "Ada.", "safety_notes": LONG["safety_notes"]}, "loss"),
        (LONG | {"safety_notes": "Call whenever you like."}, "protected"),
    ],
)
def test_a_held_change_leaves_the_version_in_force_until_accepted(
    person: UserMemory, rewritten: dict[str, Any], rule: str
) -> None:
    model = ScriptedChatModel.of(LONG, rewritten)
    update_memory(person, messages=user("I live in London."), model=model)
    held = update_memory(person, messages=user("Forget it."), model=model)
    assert (held.status, held.version) == ("held", 1)
    assert rule in [objection["rule"] for objection in held.objections]
    assert held.patch
    assert seen(person) == 2
    assert person.document.current().document["summary"] == LONG["summary"]
    assert held.pending_id is not None
    person.pending.accept(held.pending_id)
    now = person.document.current()
    assert (now.version, {name: now.document[name] for name in rewritten}) == (2, rewritten)


def test_a_summarizer_that_fails_for_good_moves_the_cursor_and_changes_nothing(person: UserMemory) -> None:
    model = ScriptedChatModel.of(TEA, *[said("I'm sorry, I can't help with that.")] * 3)
    update_memory(person, messages=user("I drink tea."), model=model)
    result = update_memory(person, messages=user("Now coffee."), model=model)
    assert (result.status, result.error, result.version, result.patch) == ("failed", "summarizer_failed", 1, [])
    assert result.tokens == {"input": 30, "output": 15}
    assert person.document.current().document["summary"] == TEA["summary"]
    assert seen(person) == 2
    assert update_memory(person, model=model).status == "nothing_new"


def test_an_error_of_the_model_is_raised_and_what_was_new_stays_new(person: UserMemory) -> None:
    model = ScriptedChatModel.of(RuntimeError("rate limit"), TEA)
    with pytest.raises(RuntimeError, match="rate limit"):
        update_memory(person, messages=user("I drink tea."), model=model)
    assert seen(person) == 0
    assert update_memory(person, model=model).status == "saved"
    assert len(person.conversations.messages("default").entries) == 1


def test_a_named_error_of_the_model_is_tried_again(person: UserMemory) -> None:
    model = ScriptedChatModel.of(ConnectionError("gone"), TEA)
    assert update_memory(person, messages=user("I drink tea."), model=model).status == "saved"


def test_a_summarizer_of_the_hosts_own_is_checked_too(person: UserMemory) -> None:
    class Careless:
        def summarize(self, document: Any, material: Any) -> Any:
            from graphs.summarizer import Summary

            return Summary({"summary": 7})

        async def asummarize(self, document: Any, material: Any) -> Any:
            raise SummarizerFailed

    result = update_memory(person, messages=user("Hello."), summarizer=Careless())
    assert (result.status, result.error) == ("failed", "summarizer_failed")


def test_a_run_that_breaks_off_before_saving_is_done_again_once(memory: Memory, person: UserMemory) -> None:
    model = ScriptedChatModel.of(TEA, TEA)
    graph = build_update_graph(memory, model=model)
    for update in graph.stream({"messages": user("I drink tea.")}, context=person, stream_mode="updates"):
        if "summarize" in update:
            break
    assert (seen(person), person.document.current().version) == (0, 0)
    assert update_memory(person, model=model).status == "saved"
    assert (seen(person), person.document.current().version) == (1, 1)
    assert all("I drink tea." in prompt[1].text for prompt in model.prompts)


def test_provenance_says_who_through_what_from_where_and_at_what_cost(person: UserMemory) -> None:
    answer = '{"document": {"summary": "Tea."}, "evidence": [{"pointer": "/summary", "messages": [2, 99]}]}'
    model = ScriptedChatModel.of(said("no"), said(answer, model_name="oracle-7"))
    update_memory(person, messages=user("Hello.", "I drink tea."), conversation="call-1", model=model)
    provenance = person.document.history().entries[0].provenance
    assert (provenance.actor, provenance.through, provenance.trust) == (Actor.JOB, "loop", Trust.AGENT)
    assert (provenance.conversations, provenance.messages) == (("call-1",), (1, 2))
    assert (provenance.model, provenance.prompt) == ("oracle-7", PROMPT_VERSION)
    assert provenance.tokens == TokenUsage(20, 10)
    assert [(change.pointer, change.messages) for change in provenance.changes] == [("/summary", (2,))]


def test_a_bare_document_cites_the_whole_batch(person: UserMemory) -> None:
    update_memory(person, messages=user("Hello.", "I drink tea."), model=ScriptedChatModel.of(TEA))
    changes = person.document.history().entries[0].provenance.changes
    assert [(change.pointer, change.messages, change.trust) for change in changes] == [("", (1, 2), Trust.AGENT)]


@pytest.mark.parametrize(("cited", "status"), [([1], "saved"), ([2], "held"), ([], "held")])
def test_what_may_come_from_a_tool_is_held(memory: Memory, person: UserMemory, cited: list[int], status: str) -> None:
    given = [*user("I drink tea."), {"role": "tool", "content": "Ada drinks gin."}]
    answer = {"document": {"summary": "Tea."}, "evidence": [{"pointer": "/summary", "messages": cited}]}
    graph = build_update_graph(memory, model=ScriptedChatModel.of(answer), roles=("user", "tool"))
    result = graph.invoke({"messages": given}, context=person)
    assert result["status"] == status
    assert [objection["rule"] for objection in result["objections"]] == ["trust"] * (status == "held")


def test_items_that_changed_are_new_once(memory: Memory, person: UserMemory) -> None:
    person.items.set("default", "tone", "warm")
    person.items.set("private", "pin", "hunter2")
    model = ScriptedChatModel.of({"summary": "Likes a warm tone."})
    assert update_memory(person, model=model).status == "saved"
    assert '{"item": "default/tone", "value": "warm"}' in model.prompts[0][1].text
    assert "hunter2" not in model.prompts[0][1].text
    assert update_memory(person, model=model).status == "nothing_new"


def test_a_source_of_the_host_is_asked_and_trusted_as_it_says(memory: Memory, person: UserMemory) -> None:
    diary = [SourceText("diary", "Went sailing.", Trust.USER), SourceText("web", "Ada is a pirate."), None]

    def source(who: UserMemory) -> SourceText | None:
        assert who.identity == person.identity
        return diary.pop(0)

    model = ScriptedChatModel.of({"summary": "Sails."}, {"summary": "Pirate."})
    graph = build_update_graph(memory, model=model, sources=[source])
    assert [graph.invoke({}, context=person)["status"] for _ in range(3)] == ["saved", "held", "nothing_new"]
    assert '{"source": "diary", "text": "Went sailing."}' in model.prompts[0][1].text


def test_others_changes_meanwhile_are_kept_beside_ours(person: UserMemory) -> None:
    def meanwhile(_: Any) -> dict[str, Any]:
        person.document.append(TEA | {"safety_notes": "Never call before nine. Nor after six."})
        return TEA | {"parts": {"critic": {"name": "Inner Critic"}}}

    model = ScriptedChatModel.of(TEA, meanwhile)
    update_memory(person, messages=user("I drink tea."), model=model)
    result = update_memory(person, messages=user("I have a critic."), model=model)
    assert (result.status, result.version) == ("saved", 3)
    document = person.document.current().document
    assert document["safety_notes"].endswith("six.")
    assert "critic" in document["parts"]


def editing(person: UserMemory, summary: str, answer: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    def edit_and_answer(_: Any) -> dict[str, Any]:
        person.document.append({"summary": summary})
        return answer

    return edit_and_answer


def test_after_a_conflict_the_loop_goes_again_from_the_newest_version(person: UserMemory) -> None:
    model = ScriptedChatModel.of(editing(person, "Coffee.", {"summary": "Tea."}), {"summary": "Coffee and tea."})
    result = update_memory(person, messages=user("I drink tea."), model=model)
    assert (result.status, result.version) == ("saved", 2)
    assert "Coffee." in model.prompts[1][1].text
    assert person.document.current().document["summary"] == "Coffee and tea."
    assert len(person.conversations.messages("default").entries) == seen(person) == 1


def test_a_conflict_that_never_ends_is_reported_and_loses_nothing(person: UserMemory) -> None:
    quarrel = [editing(person, f"Version {n}.", {"summary": f"Tea {n}."}) for n in range(3)]
    model = ScriptedChatModel.of(*quarrel, {"summary": "Peace."})
    result = update_memory(person, messages=user("I drink tea."), model=model)
    assert (result.status, result.error, seen(person)) == ("failed", "version_conflict", 0)
    assert update_memory(person, model=model).status == "saved"
    assert seen(person) == 1


def test_a_run_without_identity_is_refused_before_anything_is_read(memory: Memory) -> None:
    graph = build_update_graph(memory, model=ScriptedChatModel.of())
    with pytest.raises(NoIdentity):
        graph.invoke({"messages": user("Hello.")})


def test_a_model_and_a_summarizer_together_are_refused(memory: Memory) -> None:
    from graphs.extractive import ExtractiveSummarizer

    with pytest.raises(InvalidInput):
        build_update_graph(memory, model=ScriptedChatModel.of(), summarizer=ExtractiveSummarizer())


def test_accepting_keeps_the_sources_of_the_change(person: UserMemory) -> None:
    model = ScriptedChatModel.of(LONG, {"safety_notes": LONG["safety_notes"]})
    update_memory(person, messages=user("I live in London."), model=model)
    held = update_memory(person, messages=user("Forget it."), model=model)
    assert held.pending_id is not None
    person.pending.accept(held.pending_id, provenance=Provenance(Actor.OPERATOR, "cli"))
    provenance = person.document.history().entries[0].provenance
    assert (provenance.actor, provenance.model, provenance.messages) == (Actor.OPERATOR, "scripted-1", (2,))
