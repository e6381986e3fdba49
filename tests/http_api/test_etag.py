"""ETags: the version that was read, and writes that are only made on it."""

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers

from http_api.etag import Conditions, Tags, Version, Versioned, conditions, tag, version_of
from memory_tools.memory import Memory, UserMemory
from storage.provenance import by_user
from tests.http_api.calling import app_of, calling, code

FAILED = (412, "version_conflict")
UNREADABLE = (400, "invalid_input")


OF_DOCUMENT = ['"0"', '"1"', '"2"', '"3"']
"""The tags of a document, by its version."""


def item_tag(person: UserMemory, key: str, version: int | None = None) -> str:
    """Return the tag of an item, or what it was at another version."""
    now = version_of(person.items.get("a", key))
    return tag(now if version is None else now._replace(number=version))


def summary(text: str) -> dict[str, Any]:
    return {"changes": [{"pointer": "/summary", "value": text}]}


async def test_a_document_and_an_item_answer_with_their_version(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        assert (await client.get("/v1/document")).headers["etag"] == '"0"'
        assert (await client.patch("/v1/document", json=summary("a"))).headers["etag"] == '"1"'
        assert (await client.patch("/v1/document", json=summary("a"))).headers["etag"] == '"1"'
        assert (await client.patch("/v1/document", json=summary("b"))).headers["etag"] == '"2"'
        for query, tag in (
            ("", '"2"'),
            ("?pointer=/summary", '"2"'),
            ("?at=1", '"1"'),
            ("?at=1&pointer=/summary", '"1"'),
        ):
            assert (await client.get(f"/v1/document{query}")).headers["etag"] == tag
        person = memory.of(user="ada")
        assert (await client.put("/v1/items/a/b", json={"value": 1})).headers["etag"] == item_tag(person, "b")
        second = (await client.put("/v1/items/a/b", json={"value": 2})).headers["etag"]
        assert (await client.get("/v1/items/a/b")).headers["etag"] == second == item_tag(person, "b")
        assert second.startswith('"2-')
        assert "etag" not in (await client.get("/v1/items")).headers
        assert "etag" not in (await client.get("/v1/document/history")).headers


KNOWN = [
    ("{2}", 304),
    ("W/{2}", 304),
    ("{1}, {2}", 304),
    ("*", 304),
    ("{1}", 200),
    ("W/{1}", 200),
    ('"x"', 200),
    ('""', 200),
]
"""What a read says that it knows, with the tags of versions 1 and 2, and what it is answered at version 2."""


@pytest.mark.parametrize(("known", "status"), KNOWN)
async def test_what_is_known_is_not_sent_again(memory: Memory, known: str, status: int) -> None:
    person = memory.of(user="ada")
    for number in (1, 2):
        person.items.set("a", "b", number)
        person.document.append({"summary": str(number)})
    of_item = [item_tag(person, "b", number) for number in range(3)]
    async with calling(app_of(memory)) as client:
        for path, tags in (
            ("/v1/items/a/b", of_item),
            ("/v1/document", OF_DOCUMENT),
            ("/v1/document?pointer=/summary", OF_DOCUMENT),
        ):
            answer = await client.get(path, headers={"If-None-Match": known.format(*tags)})
            assert (answer.status_code, answer.headers["etag"]) == (status, tags[2])
            assert (answer.content == b"") == (status == 304)


MATCHED = [
    ("{2}", 200),
    ("{1}, {2}", 200),
    ("*", 200),
    ("{1}", 412),
    ("{3}", 412),
    ("W/{2}", 412),
    ("{1}, {3}", 412),
    ('"x"', 412),
]
"""The condition of a write, and what it is answered at version 2."""


@pytest.mark.parametrize(("match", "said"), MATCHED)
async def test_a_write_is_made_on_the_version_that_was_read_or_not_at_all(
    memory: Memory, match: str, said: int
) -> None:
    person = memory.of(user="ada")
    for number in (1, 2):
        person.items.set("a", "b", number)
        person.items.push("a", "c", number)
        person.document.append({"summary": str(number)})
    on_document = {"If-Match": match.format(*OF_DOCUMENT)}
    of_set, of_pushed = ([item_tag(person, key, number) for number in range(4)] for key in "bc")
    async with calling(app_of(memory)) as client:
        put = await client.put("/v1/items/a/b", json={"value": 3}, headers={"If-Match": match.format(*of_set)})
        # Another place of the document: without a condition both changes would be kept.
        change = {"changes": [{"pointer": "/x", "value": 3}]}
        patch = await client.patch("/v1/document", json=change, headers=on_document)
    async with calling(app_of(memory), "operator", **{"Memory-User": "ada"}) as client:
        on_pushed = {"If-Match": match.format(*of_pushed)}
        push = await client.post("/v1/items/a/c/entries", json={"value": 3}, headers=on_pushed)
    for answer, tags in ((put, of_set), (patch, OF_DOCUMENT), (push, of_pushed)):
        assert answer.status_code == said, answer.text
        if said == 412:
            assert code(answer) == FAILED
            assert "etag" not in answer.headers
        else:
            assert answer.headers["etag"] == tags[3]
    written = said == 200
    assert person.items.get("a", "b").value == (3 if written else 2)
    assert person.items.get("a", "c").value == ([1, 2, 3] if written else [1, 2])
    assert person.document.current().version == (3 if written else 2)


async def test_an_item_that_was_deleted_and_made_again_is_another_one(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        before = (await client.put("/v1/items/a/b", json={"value": "read"})).headers["etag"]
        await client.delete("/v1/items/a/b")
        after = (await client.put("/v1/items/a/b", json={"value": "unread"})).headers["etag"]
        assert before != after
        read = await client.get("/v1/items/a/b", headers={"If-None-Match": before})
        assert (read.status_code, read.json()["value"]) == (200, "unread")
        for tags in (before, f'{before}, "1"', '"1"'):
            answer = await client.put("/v1/items/a/b", json={"value": "lost"}, headers={"If-Match": tags})
            assert code(answer) == FAILED
            assert answer.json()["current"] == 1
        assert (await client.get("/v1/items/a/b")).json()["value"] == "unread"
        assert (await client.put("/v1/items/a/b", json={"value": 2}, headers={"If-Match": after})).status_code == 200


async def test_a_list_that_was_deleted_and_made_again_is_another_one(memory: Memory) -> None:
    person = memory.of(user="ada")
    person.items.push("a", "c", 1)
    before = {"If-Match": item_tag(person, "c")}
    person.items.delete("a", "c")
    async with calling(app_of(memory), "operator", **{"Memory-User": "ada"}) as client:
        assert code(await client.post("/v1/items/a/c/entries", json={"value": 3}, headers=before)) == FAILED
        person.items.push("a", "c", 2)
        assert code(await client.post("/v1/items/a/c/entries", json={"value": 3}, headers=before)) == FAILED
    assert person.items.get("a", "c").value == [2]


async def test_the_tag_of_no_item_makes_none(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        for tags in ('"0"', '"0-1"', '"0", "1"'):
            assert code(await client.put("/v1/items/a/b", json={"value": 1}, headers={"If-Match": tags})) == FAILED
        assert (await client.get("/v1/items/a/b")).status_code == 404


async def test_a_condition_that_fails_says_what_version_there_is(memory: Memory) -> None:
    person = memory.of(user="ada")
    person.document.append({"summary": "1"})
    person.document.append({"summary": "2"})
    async with calling(app_of(memory)) as client:
        answer = await client.patch("/v1/document", json=summary("3"), headers={"If-Match": '"1"'})
        assert (code(answer), answer.json()["current"], answer.json()["expected"]) == (FAILED, 2, 1)
        answer = await client.patch("/v1/document", json=summary("2") | {"expected_version": 1})
        assert answer.json()["status"] == "unchanged"
        answer = await client.patch("/v1/document", json=summary("3") | {"expected_version": 1})
        assert (code(answer), answer.json()["current"]) == ((409, "version_conflict"), 2)


async def test_going_back_and_accepting_keep_to_a_condition_too(memory: Memory) -> None:
    person = memory.of(user="ada")
    for number in (1, 2):
        person.document.append({"summary": str(number)})
    async with calling(app_of(memory), "operator", **{"Memory-User": "ada"}) as client:
        body = {"version": 1}
        assert code(await client.post("/v1/document/revert", json=body, headers={"If-Match": '"1"'})) == FAILED
        assert person.document.current().document["summary"] == "2"
        assert (await client.post("/v1/document/revert", json=body, headers={"If-Match": '"2"'})).json()["version"] == 3
        assert person.document.current().document["summary"] == "1"


async def test_what_is_not_there_yet_can_be_made_once(memory: Memory) -> None:
    new = {"If-None-Match": "*"}
    async with calling(app_of(memory)) as client:
        assert code(await client.put("/v1/items/a/b", json={"value": 1}, headers={"If-Match": "*"})) == FAILED
        assert (await client.put("/v1/items/a/b", json={"value": 1}, headers=new)).status_code == 200
        assert code(await client.put("/v1/items/a/b", json={"value": 2}, headers=new)) == FAILED
        assert (await client.patch("/v1/document", json=summary("1"), headers=new)).status_code == 200
        assert code(await client.patch("/v1/document", json=summary("2"), headers=new)) == FAILED
        assert (await client.get("/v1/items/a/b")).json()["value"] == 1


async def test_of_many_who_write_on_one_version_one_does(memory: Memory) -> None:
    memory.of(user="ada").document.append({"summary": "0"})
    async with calling(app_of(memory)) as client:

        async def write(number: int) -> int:
            change = {"changes": [{"pointer": f"/x{number}", "value": number}]}
            return (await client.patch("/v1/document", json=change, headers={"If-Match": '"1"'})).status_code

        statuses = await asyncio.gather(*map(write, range(12)))
    assert sorted(statuses) == [200] + [412] * 11
    assert memory.of(user="ada").document.current().version == 2


@pytest.mark.parametrize("tags", ["", "1", "'1'", '"1', '1"', '"1" "2"', 'w/"1"', '*, "1"', '"1",,"2" x', '"\t"'])
async def test_what_are_no_entity_tags_is_refused(open_memory: Memory, tags: str) -> None:
    async with calling(app_of(open_memory)) as client:
        for name in ("If-Match", "If-None-Match"):
            assert code(await client.put("/v1/items/a/b", json={"value": 1}, headers={name: tags})) == UNREADABLE
        assert code(await client.get("/v1/document", headers={"If-None-Match": tags})) == UNREADABLE


@pytest.mark.parametrize("headers", [{"If-Match": '"1"'}, {"If-None-Match": "*"}])
async def test_a_condition_on_what_has_no_version_is_refused_and_not_passed_over(
    memory: Memory, headers: dict[str, str]
) -> None:
    memory.of(user="ada").items.set("a", "b", 1)
    async with calling(app_of(memory)) as client:
        assert code(await client.delete("/v1/items/a/b", headers=headers)) == UNREADABLE
    async with calling(app_of(memory), "operator", **{"Memory-User": "ada"}) as client:
        assert code(await client.put("/v1/profile", json={"text": "x"}, headers=headers)) == UNREADABLE
    assert len(memory.of(user="ada").items.all().entries) == 1


async def test_conditions_that_contradict_each_other_are_refused(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        for body, headers in (
            ({"value": 1, "expected_version": 2}, {"If-Match": '"1-a"'}),
            ({"value": 1}, {"If-Match": '"1"', "If-None-Match": "*"}),
            ({"value": 1}, {"If-None-Match": '"1"'}),
        ):
            assert code(await client.put("/v1/items/x/y", json=body, headers=headers)) == UNREADABLE


def test_tags_that_are_no_version_of_ours_match_nothing() -> None:
    headers = Headers({"If-Match": '"01", "-1", "1e3", "1-", "1-xyz", "99999999999999999999999", "7", "8-a"'})
    kept = Tags(versions=frozenset({Version(7), Version(8, "a")}))
    assert conditions(headers, writes=True, versioned=Versioned.ITEM) == Conditions(match=kept)


async def test_the_trust_of_a_change_does_not_hang_on_its_condition(memory: Memory) -> None:
    memory.of(user="ada").document.append({"summary": "1"}, provenance=by_user)
    async with calling(app_of(memory)) as client:
        await client.patch("/v1/document", json=summary("2"), headers={"If-Match": '"1"'})
        [entry] = (await client.get("/v1/document/history?limit=1")).json()["entries"]
    assert entry["provenance"] == {"actor": "agent", "through": "http", "trust": "agent"}
