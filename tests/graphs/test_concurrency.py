import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from graphs.testing import ScriptedChatModel
from graphs.update import build_update_graph, update_memory
from memory_tools.memory import Memory, UserMemory
from storage.conversations import NewMessage


def together(*answers: dict[str, Any]) -> ScriptedChatModel:
    """Return a model that answers only when it has been asked as often as it has answers."""
    barrier = threading.Barrier(len(answers))

    def waiting(answer: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        def wait(_: Any) -> dict[str, Any]:
            barrier.wait(20)
            return answer

        return wait

    return ScriptedChatModel.of(*map(waiting, answers))


def run_twins(memory: Memory, model: ScriptedChatModel, **settings: Any) -> list[dict[str, Any]]:
    graph = build_update_graph(memory, model=model, **settings)

    def run(_: int) -> dict[str, Any]:
        result: dict[str, Any] = graph.invoke({}, context={"user_id": "ada"})
        return result

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(2)))


def state(person: UserMemory) -> tuple[int, int]:
    with person.read() as stores:
        return stores.snapshots.current().version, stores.cursors.seen("document")


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    "answers",
    [
        [{"summary": "Tea.", "mood": "good"}, {"summary": "Tea."}],
        [{"summary": "Tea."}, {"summary": "A cup of tea."}],
        [{"summary": "Tea."}, {"summary": "Tea."}],
    ],
)
def test_twins_of_one_batch_apply_it_once(
    memory: Memory, person: UserMemory, version: int, answers: list[dict[str, Any]]
) -> None:
    if version:
        person.document.append({"summary": "Ada."})
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    results = run_twins(memory, together(*answers))
    assert sorted(result["status"] for result in results) == ["nothing_new", "saved"]
    assert {result["version"] for result in results} == {version + 1}
    assert state(person) == (version + 1, 1)


@pytest.mark.parametrize("version", [0, 1])
def test_twins_hold_a_change_once(memory: Memory, person: UserMemory, version: int) -> None:
    if version:
        person.document.append({"summary": "Ada."})
    person.conversations.append("call-1", [NewMessage("tool", "Ada drinks gin.")])
    results = run_twins(memory, together({"summary": "Gin."}, {"summary": "Much gin."}), roles=("tool",))
    assert sorted(result["status"] for result in results) == ["held", "nothing_new"]
    assert len(person.pending.waiting().entries) == 1
    assert state(person) == (version, 1)


def test_messages_that_come_while_the_model_thinks_stay_new(person: UserMemory) -> None:
    def meanwhile(_: Any) -> dict[str, Any]:
        person.conversations.append("call-1", [NewMessage("user", "And coffee.")])
        return {"summary": "Tea."}

    model = ScriptedChatModel.of(meanwhile, {"summary": "Tea and coffee."})
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    assert update_memory(person, model=model).version == 1
    assert update_memory(person, model=model).version == 2
    assert '"message": 1,' not in model.prompts[1][1].text
    assert state(person) == (2, 2)


def test_many_loops_at_once_see_every_message_once(memory: Memory, person: UserMemory) -> None:
    heard: list[int] = []

    class Counting:
        def summarize(self, document: Any, material: Any) -> Any:
            from graphs.summarizer import Summary

            numbers = [said.number for said in material.messages]
            return Summary(document | {f"m{number}": True for number in numbers})

        async def asummarize(self, document: Any, material: Any) -> Any:
            raise NotImplementedError

    def talk_and_update(worker: int) -> None:
        who = memory.of(user="ada")
        for turn in range(5):
            heard.append(
                update_memory(
                    who, messages=[{"role": "user", "content": f"{worker} {turn}"}], summarizer=Counting()
                ).version
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk_and_update, range(4)))
    while update_memory(person, summarizer=Counting()).status != "nothing_new":
        pass
    document = person.document.current().document
    assert {name for name in document if name.startswith("m")} == {f"m{number}" for number in range(1, 21)}
    cited = [n for entry in person.document.history(limit=100).entries for n in entry.provenance.messages]
    assert sorted(cited) == list(range(1, 21))
