from datetime import UTC, datetime

from graphs.answer import Evidence
from graphs.evidence import CITED_LIMIT, SOURCES_LIMIT, changed_places, provenance
from graphs.material import Material, SourceText
from graphs.summarizer import Summary
from memory_tools.said import Said
from storage.json_types import Document
from storage.provenance import ChangeSource, Trust

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROLES = ("user", "assistant", "tool")
MATERIAL = Material(tuple(Said(n, f"call-{n}", role, NOON, "text") for n, role in enumerate(ROLES, start=1)))

BEFORE: Document = {
    "summary": "Tea.",
    "parts": {"p1": {"name": "Critic", "status": "active"}},
    "goals": [{"id": "g1", "goal": "calm"}, {"id": "g2", "goal": "sleep"}],
    "tags": ["a", "b"],
}


def sources(after: Document, *evidence: Evidence, material: Material = MATERIAL) -> list[ChangeSource]:
    return list(provenance(BEFORE, after, Summary(after, evidence), material, None).changes)


def whole(trust: Trust = Trust.TOOL) -> ChangeSource:
    return ChangeSource("", None, (1, 2, 3), trust)


def test_places_are_scalars_members_and_entries() -> None:
    after = BEFORE | {
        "parts": {"p1": {"name": "Critic", "status": "quiet"}, "p2": {"name": "Child"}},
        "goals": [{"id": "g2", "goal": "sleep"}, {"id": "g3", "goal": "sail"}],
        "tags": ["b", "a"],
        "empty": {},
    }
    assert [(place.pointer, sorted(place.names)) for place in changed_places(BEFORE, after)] == [
        ("/parts/p1/status", []),
        ("/parts/p2/name", []),
        ("/goals", ["calm", "g1"]),
        ("/goals", ["g3", "sail"]),
        ("/tags", []),
        ("/empty", []),
    ]
    assert changed_places(BEFORE, BEFORE) == []


def test_a_change_cites_its_messages_and_has_their_lowest_trust_but_no_more_than_the_job() -> None:
    after = BEFORE | {"summary": "Coffee.", "mood": "good"}
    assert sources(after, Evidence("/summary", None, (1,)), Evidence("/mood", None, (3, 1))) == [
        ChangeSource("/summary", None, (1,), Trust.AGENT),
        ChangeSource("/mood", None, (1, 3), Trust.TOOL),
    ]


def test_unknown_messages_and_places_that_did_not_change_are_dropped() -> None:
    after = BEFORE | {"summary": "Coffee."}
    made_up = (
        Evidence("/summary", None, (99,)),
        Evidence("/parts/p1", None, (1,)),
        Evidence("/nowhere", None, (1,)),
        Evidence("summary", None, (1,)),
        Evidence("/sum", None, (1,)),
    )
    assert sources(after, *made_up) == [whole()]
    assert sources(after, *made_up, Evidence("/summary", None, (99, 2))) == [
        ChangeSource("/summary", None, (2,), Trust.AGENT)
    ]


def test_evidence_for_a_part_covers_all_of_it_and_for_an_entry_only_that() -> None:
    after = BEFORE | {
        "parts": BEFORE["parts"] | {"p2": {"name": "Child", "status": "new"}},
        "goals": [*BEFORE["goals"], {"id": "g3", "goal": "sail"}],
    }
    cited = (Evidence("/parts/p2", None, (1,)), Evidence("/goals", "sail", (2,)))
    assert [(source.pointer, source.entry) for source in sources(after, *cited)] == [
        ("/parts/p2", None),
        ("/goals", "sail"),
    ]
    two_more = after | {"goals": [*after["goals"], {"id": "g4", "goal": "fly"}]}
    assert sources(two_more, *cited)[-1] == whole()
    assert sources(two_more, *cited, Evidence("/goals", None, (1,)))[-1].pointer == "/goals"
    assert sources(after, Evidence("/goals", "fly", (1,))) == [whole()]


def test_without_evidence_the_whole_batch_is_cited_with_its_lowest_trust() -> None:
    after = BEFORE | {"summary": "Coffee."}
    assert sources(after) == [whole()]
    web = SourceText("web", "gossip")
    assert sources(after, material=Material(MATERIAL.messages[:1], texts=(web,))) == [
        ChangeSource("", None, (1,), Trust.TOOL)
    ]


def test_what_is_kept_of_evidence_is_bounded() -> None:
    many = tuple(Said(n, "call", "user", NOON, "text") for n in range(1, 101))
    after = BEFORE | {f"m{n}": n for n in range(SOURCES_LIMIT + 50)}
    evidence = [Evidence(f"/m{n}", None, tuple(range(1, 101))) for n in range(SOURCES_LIMIT + 50)]
    found = sources(after, *evidence, material=Material(many))
    assert len(found) == SOURCES_LIMIT + 1
    assert found[0].messages == tuple(range(101 - CITED_LIMIT, 101))
    assert found[-1].pointer == ""
