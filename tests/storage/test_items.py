import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database import Database
from storage.directory import resolve
from storage.equality import same
from storage.errors import InvalidInput, InvalidJson, InvalidName, NotFound, TooLarge, VersionConflict
from storage.identity import Identity
from storage.items import LONGEST_LIST, Item
from storage.json_types import Json
from storage.limits import ITEM_LIMIT, PAGE_LIMIT
from tests.clock import Clock
from tests.contents import Contents

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def test_what_was_set_can_be_got(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        kept = stores.items.set("prefs", "tone", {"of": ["voice", 1.0, None]})
    with database.read(ada) as stores:
        found = stores.items.get("prefs", "tone")
    assert found == kept
    assert (found.namespace, found.key, found.version) == ("prefs", "tone", 1)
    assert found.value == {"of": ["voice", 1.0, None]}
    assert found.created_at == found.updated_at


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_every_json_value_comes_back_as_it_was(database: Database, value: Json) -> None:
    ada = resolve(database, Identity.of(user="ada")).owner
    with database.begin(ada) as stores:
        stores.items.set("any", "value", value)
        assert same(stores.items.get("any", "value").value, value)


@pytest.mark.parametrize("value", [1, 1.0, True, -0.0, 1e300, 5e-324, 2**53 + 1, "😀"])
def test_numbers_and_texts_keep_their_kind(database: Database, ada: UUID, value: Json) -> None:
    with database.begin(ada) as stores:
        stores.items.set("any", "value", value)
        found = stores.items.get("any", "value").value
    assert (type(found), repr(found)) == (type(value), repr(value))


def test_setting_again_replaces_the_value_and_counts(clocked: Database, ada: UUID, clock: Clock) -> None:
    began = clock.now
    with clocked.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    changed = clock.move(60)
    with clocked.begin(ada) as stores:
        stores.items.set("prefs", "tone", "cool")
    with clocked.read(ada) as stores:
        item = stores.items.get("prefs", "tone")
    assert (item.value, item.version) == ("cool", 2)
    assert (item.created_at, item.updated_at) == (began, changed)


def test_the_expected_version_must_be_the_one_that_is_there(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        assert stores.items.set("prefs", "tone", "warm", expected_version=0).version == 1
        assert stores.items.set("prefs", "tone", "cool", expected_version=1).version == 2
        for wrong in (0, 1, 3, -1, 2**63):
            with pytest.raises(VersionConflict) as refused:
                stores.items.set("prefs", "tone", "lost", expected_version=wrong)
            assert refused.value.expected == wrong
        assert stores.items.get("prefs", "tone").value == "cool"


def test_an_item_that_is_not_there_is_at_version_0(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        with pytest.raises(VersionConflict):
            stores.items.set("prefs", "tone", "warm", expected_version=1)
        with pytest.raises(NotFound):
            stores.items.get("prefs", "tone")


def test_one_key_in_two_namespaces_is_two_items(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("default", "tone", "warm")
        stores.items.set("work", "tone", "dry")
        assert stores.items.get("default", "tone").value == "warm"
        assert [item.key for item in stores.items.in_namespace().entries] == ["tone"]
        assert stores.items.in_namespace("none of these").entries == ()


def test_what_was_deleted_is_gone_and_begins_anew(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
        stores.items.set("prefs", "tone", "cool")
        stores.items.delete("prefs", "tone")
        for gone in (stores.items.get, stores.items.delete):
            with pytest.raises(NotFound, match="'tone' in 'prefs'"):
                gone("prefs", "tone")
        assert stores.items.set("prefs", "tone", "new").version == 1


KEYS = ["z", "Z", "a", "aa", "a b", "ä", "é", "ﬀ", "日本", "😀", "10", "9", "%", "_", "a%", "'", '"', "\\", "*"]


def test_a_namespace_is_listed_in_the_order_of_code_points(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number, key in enumerate(KEYS):
            stores.items.set("all", key, number)
    with database.read(ada) as stores:
        listed = [(item.key, item.value) for item in stores.items.in_namespace("all").entries]
    assert listed == sorted(zip(KEYS, range(len(KEYS)), strict=True))


def test_pages_show_every_item_once(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number in range(25):
            stores.items.set("all", f"key {number:02}", number)
        seen, sizes, after = [], [], None
        while True:
            page = stores.items.in_namespace("all", limit=10, after=after)
            seen += [item.value for item in page.entries]
            sizes.append(len(page.entries))
            if (after := page.next) is None:
                break
        assert seen == list(range(25))
        assert sizes == [10, 10, 5]
        assert stores.items.in_namespace("all", limit=25).next is None
        assert stores.items.in_namespace("all", after="key 24").entries == ()


def test_items_of_every_namespace_are_listed_in_the_order_of_code_points(
    database: Database, ada: UUID, bob: UUID
) -> None:
    places = [(namespace, key) for namespace in KEYS for key in KEYS[:5]]
    with database.begin(bob) as stores:
        stores.items.set("a", "of bob", 1)
        stores.items.set("zz", "of bob", 1)
    with database.begin(ada) as stores:
        assert stores.items.all().entries == ()
        kept = {place: stores.items.set(*place, number) for number, place in enumerate(places)}
    with database.read(ada) as stores:
        for limit in (1, 4, 5, 7, 94, 95, 100):
            seen: list[Item] = []
            after: tuple[str, str] | None = None
            sizes: list[int] = []
            while True:
                page = stores.items.all(limit=limit, after=after)
                seen += page.entries
                sizes.append(len(page.entries))
                if (after := page.next) is None:
                    break
                assert after == (seen[-1].namespace, seen[-1].key)
            assert seen == [kept[place] for place in sorted(places)]
            assert len(sizes) == -(-len(places) // limit)


def test_items_are_listed_behind_a_place_where_nothing_need_be(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for place in (("a", "b"), ("a", "d"), ("c", "a")):
            stores.items.set(*place, 1)
        for after, keys in (
            (("a", "a"), ["b", "d", "a"]),
            (("a", "b"), ["d", "a"]),
            (("a", "c"), ["d", "a"]),
            (("a", "z"), ["a"]),
            (("b", "a"), ["a"]),
            (("c", "a"), []),
        ):
            assert [item.key for item in stores.items.all(after=after).entries] == keys


def test_a_page_of_all_items_is_one_look_into_the_primary_key(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    statements: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    with database.begin(ada) as stores:
        sa.event.listen(database.engine, "before_cursor_execute", listen)
        stores.items.all(after=("prefs", "tone"))
        sa.event.remove(database.engine, "before_cursor_execute", listen)
    ((statement, parameters),) = [each for each in statements if "items" in each[0]]
    explain = "EXPLAIN " if database.on_postgresql else "EXPLAIN QUERY PLAN "
    with administrator.connect() as connection:
        if database.on_postgresql:  # an empty table is read as a whole otherwise
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
        plan = "\n".join(map(str, connection.exec_driver_sql(explain + statement, parameters).all()))
    if database.on_postgresql:
        assert re.search(r"Index Cond: .*owner_id = .*ROW\(namespace, key\) > ", plan)
        assert "Sort" not in plan
    else:
        assert "USING PRIMARY KEY (owner_id=? AND (namespace,key)>(?,?))" in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("limit", [0, -1, PAGE_LIMIT + 1])
def test_a_page_has_from_one_to_a_hundred_entries(database: Database, ada: UUID, limit: int) -> None:
    with database.read(ada) as stores:
        for listing in (lambda: stores.items.in_namespace("all", limit=limit), lambda: stores.items.all(limit=limit)):
            with pytest.raises(InvalidInput, match="between 1 and 100"):
                listing()


def test_names_are_never_patterns(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
        for namespace, key in [("prefs", "%"), ("%", "tone"), ("prefs", "ton_"), ("prefs", "*"), ("PREFS", "tone")]:
            with pytest.raises(NotFound):
                stores.items.get(namespace, key)
            with pytest.raises(NotFound):
                stores.items.delete(namespace, key)
        assert stores.items.in_namespace("%").entries == ()
        assert stores.items.get("prefs", "tone").value == "warm"


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "\0", "e\u0301", "\ud800", "\u200b", "x" * 257, "日" * 342, 7, None]
)
def test_a_bad_name_is_refused_everywhere(
    database: Database, ada: UUID, contents: Callable[[], Contents], name: Any
) -> None:
    before = contents()
    with database.begin(ada) as stores:
        for act in (stores.items.get, stores.items.delete, lambda n, k: stores.items.set(n, k, 1)):
            with pytest.raises(InvalidName):
                act("prefs", name)
            with pytest.raises(InvalidName):
                act(name, "tone")
        with pytest.raises(InvalidName):
            stores.items.push("prefs", name, 1)
        with pytest.raises(InvalidName):
            stores.items.in_namespace(name)
        for after in (("prefs", name), (name, "tone")):
            with pytest.raises(InvalidName):
                stores.items.all(after=after)
    assert contents() == before


def test_a_key_may_have_256_characters(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("é" * 256, "😀" * 256, True)
        assert stores.items.get("é" * 256, "😀" * 256).value is True


def test_an_item_has_at_most_10_kb_of_canonical_utf_8(database: Database, ada: UUID) -> None:
    fits = "é" * ((ITEM_LIMIT - 2) // 2)
    with database.begin(ada) as stores:
        assert stores.items.set("big", "text", fits).version == 1
        with pytest.raises(TooLarge):
            stores.items.set("big", "text", fits + "x")
        assert stores.items.get("big", "text").value == fits


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, "\0", "\ud800", {1: 2}, {"a": object()}, b"x"])
def test_what_is_no_json_is_refused_without_a_trace(
    database: Database, ada: UUID, contents: Callable[[], Contents], value: Any
) -> None:
    before = contents()
    with database.begin(ada) as stores:
        with pytest.raises(InvalidJson):
            stores.items.set("any", "value", value)
        with pytest.raises(InvalidJson):
            stores.items.push("any", "list", value)
    assert contents() == before


def test_a_list_keeps_its_newest_entries(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number in range(13):
            item = stores.items.push("said", "jokes", {"joke": number})
        assert item == stores.items.get("said", "jokes")
        assert item.value == [{"joke": number} for number in range(3, 13)]
        assert item.version == 13
        assert stores.items.push("said", "jokes", "last", keep=2).value == [{"joke": 12}, "last"]


def test_a_list_may_have_been_set_before(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("said", "jokes", ["old"])
        assert stores.items.push("said", "jokes", None).value == ["old", None]


@pytest.mark.parametrize("there", ["text", {"a": 1}, None, 1])
def test_nothing_is_pushed_onto_what_is_no_list(database: Database, ada: UUID, there: Json) -> None:
    with database.begin(ada) as stores:
        stores.items.set("said", "jokes", there)
        with pytest.raises(InvalidInput, match="no list"):
            stores.items.push("said", "jokes", 1)
        assert stores.items.get("said", "jokes").version == 1


@pytest.mark.parametrize("keep", [0, -1, LONGEST_LIST + 1])
def test_a_list_keeps_from_one_to_a_thousand_entries(database: Database, ada: UUID, keep: int) -> None:
    with database.begin(ada) as stores, pytest.raises(InvalidInput, match="keep must be between"):
        stores.items.push("said", "jokes", 1, keep=keep)


def test_a_list_does_not_outgrow_an_item(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for _ in range(2):
            stores.items.push("said", "long", "x" * 5_000)
        with pytest.raises(TooLarge):
            stores.items.push("said", "long", "x" * 5_000)
        assert stores.items.get("said", "long").version == 2


def test_one_statement_and_a_transaction_do_the_same(clocked: Database, ada: UUID, bob: UUID) -> None:
    def visit(stores: Any) -> list[Any]:
        made = [stores.items.set("a", "b", 1), stores.items.set("a", "b", 2), stores.items.get("a", "b")]
        for wrong in (0, 7):
            with pytest.raises(VersionConflict):
                stores.items.set("a", "b", 3, expected_version=wrong)
        with pytest.raises(NotFound):
            stores.items.get("a", "c")
        return [*made, stores.items.set("a", "b", 4, expected_version=2), stores.items.push("a", "list", 1)]

    with clocked.single(ada) as stores:
        alone = visit(stores)
    with clocked.begin(bob) as stores:
        assert visit(stores) == alone


def test_namespaces_are_those_with_something_in_them_in_the_order_of_code_points(
    database: Database, ada: UUID, bob: UUID
) -> None:
    with database.begin(bob) as stores:
        stores.items.set("of bob", "x", 1)
    with database.begin(ada) as stores:
        assert stores.items.namespaces() == []
        for key in KEYS:
            for number in range(3):
                stores.items.set(key, str(number), number)
        assert stores.items.namespaces() == sorted(KEYS)
        stores.items.set("gone", "x", 1)
        stores.items.delete("gone", "x")
        assert stores.items.namespaces("g") == []
        assert stores.items.namespaces(limit=2) == sorted(KEYS)[:2]


def test_keys_are_those_of_one_namespace_in_the_order_of_code_points(database: Database, ada: UUID, bob: UUID) -> None:
    with database.begin(bob) as stores:
        stores.items.set("all", "of bob", 1)
    with database.begin(ada) as stores:
        assert stores.items.keys("all") == []
        for key in KEYS:
            stores.items.set("all", key, 1)
        stores.items.set("default", "other", 1)
        assert stores.items.keys("all") == sorted(KEYS)
        assert stores.items.keys("all", limit=3) == sorted(KEYS)[:3]
        assert stores.items.keys() == ["other"]


@pytest.mark.parametrize("beginning", ["", "a", "a ", "%", "_", "*", "\\", "'", "日", "😀", "é", "A", "\uffff"])
def test_names_that_begin_so_are_found_and_nothing_is_a_pattern(database: Database, ada: UUID, beginning: str) -> None:
    with database.begin(ada) as stores:
        for key in KEYS:
            stores.items.set("all", key, 1)
            stores.items.set(key, "x", 1)
        wanted = sorted(key for key in KEYS if key.startswith(beginning))
        assert stores.items.keys("all", beginning) == wanted
        assert [each for each in stores.items.namespaces(beginning) if each != "all"] == wanted


@pytest.mark.parametrize("beginning", [" a", "\0", "e\u0301", "\ud800", "x" * 257])
def test_what_no_name_begins_with_is_refused(database: Database, ada: UUID, beginning: str) -> None:
    with database.read(ada) as stores:
        for search in (stores.items.namespaces, lambda text: stores.items.keys("all", text)):
            with pytest.raises(InvalidName):
                search(beginning)
        with pytest.raises(InvalidName):
            stores.items.keys(" x")
