import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from graphs.extractive import FACT_COUNT, FACTS_SIZE, ExtractiveSummarizer
from graphs.material import Material
from graphs.statements import statements
from graphs.update import update_memory
from memory_tools.memory import Memory, UserMemory
from memory_tools.said import Said
from storage.canonical import dumps
from storage.conversations import NewMessage
from storage.document import check_document
from storage.guard import examine
from storage.json_types import Document
from storage.limits import DOCUMENT_LIMIT
from storage.provenance import Trust

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def material(*texts: str, role: str = "user", first: int = 1) -> Material:
    return Material(tuple(Said(n, "call-1", role, NOON, text) for n, text in enumerate(texts, start=first)))


def after(document: Document, *texts: str, **about: Any) -> Document:
    return ExtractiveSummarizer().summarize(document, material(*texts, **about)).document


def kinds(text: str) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in statements(material(text).messages[0])]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("My name is Ada.", "name"),
        ("I really want to sail!", "goal"),
        ("My main goal is to sleep better.", "goal"),
        ("I’d like to learn Welsh.", "goal"),
        ("I've decided to stay.", "decision"),
        ("I absolutely love dogs.", "preference"),
        ("I can't stand noise.", "preference"),
        ("I live in London.", "fact"),
        ("My two old dogs are called Ib and Bo.", "fact"),
        ("The party is next Friday.", "date"),
        ("We met on 2024-05-01.", "date"),
        ("The weather here was quite awful.", "said"),
        ("Ich wohne seit Jahren in Wien.", "said"),
        ("私は東京に住んでいます。", "said"),
        ("أعيش في القاهرة منذ سنوات", "said"),
    ],
)
def test_statements_are_kept_in_any_language(text: str, kind: str) -> None:
    assert [found for found, _ in kinds(text)] == [kind]


def test_questions_and_small_talk_are_not_kept() -> None:
    assert kinds("Hi! How are you? Oh well. 你好吗？ Bye.") == []


def test_sentences_end_at_their_mark_and_not_at_a_dot_inside() -> None:
    assert kinds("I live at example.com. I paid 3.50 for my tea!\nI like that") == [
        ("fact", "I live at example.com."),
        ("said", "I paid 3.50 for my tea!"),
        ("preference", "I like that"),
    ]


def test_the_person_alone_is_learnt_from() -> None:
    assert after({}, "I live in Paris and love trains.", role="assistant") == {}


def test_a_fact_a_goal_and_a_summary_are_added_and_each_cites_its_message() -> None:
    summary = ExtractiveSummarizer().summarize({}, material("Hello.", "My name is Ada.", "I want to sail."))
    check_document(summary.document)
    assert [fact["text"] for fact in summary.document["facts"]] == ["My name is Ada."]
    assert [goal["desired_outcome"] for goal in summary.document["triggers_and_goals"]] == ["I want to sail."]
    assert summary.document["summary"] == "My name is Ada. I want to sail."
    assert summary.model == "extractive"
    assert {(each.pointer, each.messages) for each in summary.evidence} == {
        ("/summary", (3, 2)),
        ("/triggers_and_goals", (3,)),
        ("/facts", (2,)),
    }


def test_the_same_statement_again_changes_nothing() -> None:
    once = after({}, "I love tea.", "I love trains.")
    assert after(once, "i love  TEA!", first=9) == once


def test_what_others_wrote_stays() -> None:
    document: Document = {
        "summary": "Ada, in a model's words.",
        "safety_notes": "Never call before nine.",
        "parts": {"p1": {"name": "Critic"}},
        "triggers_and_goals": [{"trigger": "Noise"}],
        "facts": ["a fact of another kind"],
        "custom": 1,
    }
    new = after(document, "I want to sail. I love tea.")
    assert {name: new[name] for name in ("summary", "safety_notes", "parts", "custom")} == {
        name: document[name] for name in ("summary", "safety_notes", "parts", "custom")
    }
    assert new["facts"][0] == "a fact of another kind"
    assert new["triggers_and_goals"][0] == {"trigger": "Noise"}
    assert (len(new["facts"]), len(new["triggers_and_goals"])) == (2, 2)
    odd = after({"facts": {"mine": 1}}, "I love tea.")
    assert odd["facts"] == {"mine": 1}


def test_a_full_document_takes_nothing_more() -> None:
    document = {"custom": "x" * (DOCUMENT_LIMIT - 9_000)}
    assert len(dumps(after(document, *["I love tea. " * 50] * 9)).encode()) < DOCUMENT_LIMIT


def test_the_most_telling_sentences_stay_when_there_is_no_room_for_all() -> None:
    document = after(
        {}, "I decided to stay in London.", *(f"There was remark number {n} about it." for n in range(200))
    )
    assert len(document["facts"]) == FACT_COUNT
    assert document["facts"][0]["kind"] == "decision"
    later = after(document, *(f"I love thing number {n}." for n in range(200)), first=500)
    assert len(later["facts"]) == FACT_COUNT
    assert later["facts"][0]["kind"] == "decision"
    assert sum(fact["kind"] == "preference" for fact in later["facts"]) > 10


OPENINGS = (
    "I love the",
    "I want to see the",
    "I decided on the",
    "There was a",
    "My",
    "I live near the",
    "Yesterday the",
)


def invented_word(choice: random.Random) -> str:
    return "".join(choice.choice("bdfgklmnprstvz") + choice.choice("aeiou") for _ in range(choice.randint(1, 4)))


def talk(language: str, seed: int) -> Any:
    """Yield sentences that a person might say, without end and hardly a word of them twice: the worst for the guard."""
    choice = random.Random(seed)
    for number in itertools.count():
        if language == "chinese":
            yield "我" + "".join(chr(choice.randint(0x4E00, 0x9FA0)) for _ in range(choice.randint(6, 80))) + "。"
        else:
            words = " ".join(invented_word(choice) for _ in range(choice.randint(2, 40)))
            yield f"{choice.choice(OPENINGS)} {words} {number}."


@pytest.mark.parametrize("language", ["english", "chinese"])
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_its_own_growth_never_trips_the_guard(language: str, batch: int) -> None:
    document: Document = {}
    sentences = talk(language, batch)
    for run in range(60):
        new = after(document, *itertools.islice(sentences, batch), first=1 + run * batch)
        assert examine(document, new, trust=Trust.AGENT) == ()
        assert len(dumps(new).encode()) < FACTS_SIZE * 2
        document = new


def test_long_conversations_are_saved_and_never_held(memory: Memory) -> None:
    person: UserMemory = memory.of(user="ada")
    sentences = talk("english", 3)
    statuses = set()
    for session in range(20):
        turns = [
            NewMessage("user", next(sentences)) if n % 2 == 0 else NewMessage("assistant", "I see.") for n in range(400)
        ]
        person.conversations.append(f"session-{session}", turns)
        more = True
        while more:
            result = update_memory(person)
            more = result.more
            statuses.add(result.status)
    assert statuses <= {"saved", "unchanged"}
    assert person.document.current().version > 20


def test_it_is_deterministic() -> None:
    texts = list(itertools.islice(talk("english", 5), 300))
    assert dumps(after({}, *texts)) == dumps(after({}, *texts))
