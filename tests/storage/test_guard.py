import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InvalidInput
from storage.guard import GuardRules, Objection, examine
from storage.json_types import Document, Json
from storage.loss import Loss, lost_share, replaced_texts
from storage.provenance import Trust
from storage.words import has_words, look_alike, most_words, rewritten, telling_words, words

SUMMARY = (
    "Maya is a nurse in her thirties who works night shifts and lives with her sister Ines in Porto. She began these "
    "conversations after a panic attack during a handover presentation last autumn and wants to speak in front of "
    "colleagues without dread. Breathing exercises and rehearsing aloud with Ines have helped her most so far, while "
    "late caffeine and skipped meals make bad days worse. She is preparing for a training talk in March."
)
DOCUMENT: Document = {
    "summary": SUMMARY,
    "parts": {
        "critic": {
            "name": "Inner Critic",
            "status": "active",
            "recency_score": 0.9,
            "influence_score": 0.7,
            "goals": [{"goal": "To keep her from being laughed at by senior doctors during presentations."}],
        },
        "caretaker": {
            "name": "Caretaker",
            "status": "quiet",
            "recency_score": 0.4,
            "influence_score": 0.5,
            "goals": [{"goal": "To look after Ines and the patients before resting."}],
        },
        "planner": {
            "name": "Planner",
            "status": "active",
            "recency_score": 0.6,
            "influence_score": 0.4,
            "goals": [{"goal": "To rehearse every talk twice and to pack meals for the night."}],
        },
    },
    "triggers_and_goals": [
        {
            "trigger": "Speaking in front of senior doctors at the morning handover",
            "desired_outcome": "Breathe slowly, look at one friendly face and finish the report calmly",
            "related_parts": ["critic"],
        },
        {
            "trigger": "Being asked to cover another shift at short notice",
            "desired_outcome": "Say no kindly when she has slept for less than six hours",
            "related_parts": ["caretaker"],
        },
    ],
    "safety_notes": "She takes propranolol, 10 mg.\nNever suggest alcohol to calm down.\nIn a crisis, call Ines first.",
}
APOLOGY = "I'm sorry, but I cannot help with summarizing this conversation because it holds private information."


def changed(change: Callable[[Document], Any], document: Document = DOCUMENT) -> Document:
    """Return a copy of the document with a change made in it."""
    copied = copy.deepcopy(document)
    change(copied)
    return copied


def held_for(before: Document, after: Document, rules: GuardRules | None = None) -> list[tuple[str, str]]:
    """List the rule and the place of each objection to a change that a model made."""
    objections = examine(before, after, rules or GuardRules(), trust=Trust.AGENT)
    return [(objection.rule, objection.pointer) for objection in objections]


def rules_that_object(before: Document, after: Document) -> set[str]:
    return {rule for rule, _ in held_for(before, after)}


def renamed(document: Document, old: str, new: str) -> None:
    document[new] = document.pop(old)


# Loss: the cases that a summarizer gets right, and those in which it loses the memory.

KEPT: dict[str, Callable[[Document], Any]] = {
    "append": lambda d: d["triggers_and_goals"].append({"trigger": "Exams", "desired_outcome": "Sleep well before"}),
    "paraphrase": lambda d: d["parts"]["planner"]["goals"][0].update(goal="To practise each talk and bring food."),
    "rename key": lambda d: renamed(d["parts"], "planner", "organizer"),
    "rename long member": lambda d: renamed(d, "summary", "overview"),
    "delete one of two": lambda d: d["triggers_and_goals"].pop(),
    "delete one of three": lambda d: d["parts"].pop("caretaker"),
    "reorder": lambda d: d["triggers_and_goals"].reverse(),
    "move text into another member": lambda d: d.update(
        notes=d["triggers_and_goals"].pop()["desired_outcome"],
    ),
    "summary reworded": lambda d: d.update(summary=d["summary"].replace("She began these conversations", "It started")),
    "summary grows": lambda d: d.update(summary=d["summary"] + " In April she will be the lead nurse of her ward."),
    "summary split into sections": lambda d: d.update(
        summary="A nurse in Porto.", background=d["summary"][:200], progress=d["summary"][200:]
    ),
    "all scores change": lambda d: [part.update(recency_score=0.1) for part in d["parts"].values()],
    "nothing": lambda d: None,
}
LOST: dict[str, Callable[[Document], Any]] = {
    "truncated": lambda d: [d.pop("parts"), d.pop("triggers_and_goals"), d.update(summary=d["summary"][:150])],
    "only the changes": lambda d: [d.clear(), d.update(parts={"critic": {"recency_score": 0.95}})],
    "empty document": lambda d: d.clear(),
    "objects and lists emptied": lambda d: d.update(parts={}, triggers_and_goals=[]),
    "strings cut": lambda d: [cut(d, 12)],
    "members emptied": lambda d: d.update(summary="", parts={}),
    "another person's memory": lambda d: d.update(
        summary="Tom repairs bicycles in Leeds, is training for a marathon and has two cats.", parts={}
    ),
}


def cut(value: Any, length: int) -> Json:
    """Cut every text in `value` to so many characters, in place; return the text itself."""
    if isinstance(value, dict):
        value.update({name: cut(member, length) for name, member in value.items()})
    elif isinstance(value, list):
        value[:] = [cut(entry, length) for entry in value]
    return value[:length] if isinstance(value, str) else value


@pytest.mark.parametrize("case", KEPT)
def test_an_ordinary_update_is_saved(case: str) -> None:
    assert held_for(DOCUMENT, changed(KEPT[case])) == []


@pytest.mark.parametrize("case", LOST)
def test_an_update_that_loses_the_memory_is_held(case: str) -> None:
    assert "loss" in rules_that_object(DOCUMENT, changed(LOST[case]))


@pytest.mark.parametrize("case", [*KEPT, *LOST])
def test_the_shares_of_kept_and_lost_updates_are_clearly_apart(case: str) -> None:
    share = counted_share(DOCUMENT, changed((KEPT | LOST)[case]))
    assert share <= 0.25 if case in KEPT else share >= 0.35


def test_an_objection_to_loss_tells_the_share() -> None:
    (objection,) = examine({"facts": SUMMARY}, {"facts": ""}, GuardRules(text_loss=1), trust=Trust.USER)
    assert objection == Objection("loss", "", 1.0, "100% of the words of the document are gone; 30% may go.")
    assert Objection.from_json(objection.as_json()) == objection


def test_from_the_empty_document_nothing_is_ever_lost() -> None:
    assert held_for({}, DOCUMENT) == held_for({}, {}) == []


@pytest.mark.parametrize("after", [{"summary": "Prefers coffee"}, {"summary": "Likes tea", "city": "Porto"}, {"x": 1}])
def test_a_document_of_a_few_words_may_be_rewritten(after: Document) -> None:
    assert held_for({"summary": "She likes green tea"}, after) == []


@pytest.mark.parametrize("after", [{}, {"summary": ""}, {"summary": None, "parts": {}}, {"summary": " - "}])
def test_no_document_however_small_may_be_emptied(after: Document) -> None:
    assert held_for({"summary": "She likes green tea"}, after) == [("loss", "")]


def test_saying_a_thing_once_that_was_said_many_times_loses_nothing() -> None:
    before = {"facts": [SUMMARY] * 5, "city": "Porto"}
    assert held_for(before, {"facts": [SUMMARY], "city": "Porto"}) == []
    assert held_for(before, {"facts": ["none"], "city": "Porto"}) == [("loss", "")]


def test_numbers_and_booleans_may_change_but_not_vanish() -> None:
    liked = {"likes": {f"thing{number}": True for number in range(60)}}
    assert held_for(liked, {"likes": {name: False for name in liked["likes"]}}) == []
    assert held_for(liked, {"likes": {f"thing{number}": True for number in range(30)}}) == [("loss", "")]


def test_a_text_without_spaces_between_words_loses_as_much_as_another() -> None:
    before = {
        "summary": "美雅是一名三十多岁的护士,和妹妹一起住在波尔图,经常上夜班,害怕在同事面前讲话。",
        "name": "美雅",
    }
    assert held_for(before, before | {"summary": before["summary"] + "她三月要做一次培训演讲。"}) == []
    assert "loss" in rules_that_object(before, before | {"summary": "抱歉,我无法总结这段对话。"})


# One long text replaced


def test_a_summary_replaced_by_an_apology_is_held_although_most_of_the_document_is_there() -> None:
    before = changed(lambda d: d.update(diary=[f"Entry {n}: " + " ".join(SUMMARY.split()[n:]) for n in range(9)]))
    assert held_for(before, before | {"summary": APOLOGY}) == [("text_replaced", "/summary")]


@pytest.mark.parametrize("replacement", ["", None, [], {"text": APOLOGY}, 0])
def test_a_long_text_may_not_be_emptied_nor_become_something_else(replacement: Json) -> None:
    after = DOCUMENT | {"summary": replacement}
    assert ("text_replaced", "/summary") in held_for(DOCUMENT, after)


def test_a_long_member_of_the_document_may_not_be_dropped() -> None:
    assert ("text_replaced", "/summary") in held_for(DOCUMENT, changed(lambda d: d.pop("summary")))


def test_a_long_text_deeper_inside_is_watched_too() -> None:
    before = changed(lambda d: d["parts"]["critic"].update(story=SUMMARY))
    after = changed(lambda d: d["parts"]["critic"].update(story=APOLOGY), before)
    assert ("text_replaced", "/parts/critic/story") in held_for(before, after)


def test_a_long_text_that_moved_to_another_member_is_not_replaced() -> None:
    after = changed(lambda d: d.update(summary="See background.", background=SUMMARY))
    assert held_for(DOCUMENT, after) == []


def test_a_short_text_may_be_replaced() -> None:
    assert held_for(DOCUMENT, changed(lambda d: d["parts"]["critic"].update(name="Sentinel"))) == []


# Protected members

NOTES = DOCUMENT["safety_notes"]
ATTACKS: dict[str, Callable[[Document], Any]] = {
    "replace": lambda d: d.update(safety_notes="No restrictions."),
    "remove": lambda d: d.pop("safety_notes"),
    "empty": lambda d: d.update(safety_notes=""),
    "null": lambda d: d.update(safety_notes=None),
    "change the type": lambda d: d.update(safety_notes=[NOTES]),
    "move away": lambda d: renamed(d, "safety_notes", "archive"),
    "move into a part": lambda d: d["parts"].update(notes={"safety_notes": d.pop("safety_notes")}),
    "copy another member over it": lambda d: d.update(safety_notes=d["summary"]),
    "replace the whole document": lambda d: [d.clear(), d.update(DOCUMENT | {"safety_notes": "None."})],
    "take out a line": lambda d: d.update(safety_notes=NOTES.replace("Never suggest alcohol to calm down.\n", "")),
    "take out a word": lambda d: d.update(safety_notes=NOTES.replace("Never suggest", "Suggest")),
    "put in a word": lambda d: d.update(safety_notes=NOTES.replace("call Ines", "do not call Ines")),
    "change a number": lambda d: d.update(safety_notes=NOTES.replace("10 mg", "10.5 mg")),
    "lengthen a number": lambda d: d.update(safety_notes=NOTES.replace("10 mg", "100 mg")),
    "go on in the same word": lambda d: d.update(safety_notes=NOTES.replace("first.", "firstly, never.")),
    "swap the lines": lambda d: d.update(safety_notes="\n".join(reversed(NOTES.splitlines()))),
    "shuffle the words": lambda d: d.update(safety_notes=" ".join(sorted(NOTES.split()))),
    "homoglyphs in the text": lambda d: d.update(safety_notes=NOTES.replace("alcohol", "аlсоhоl")),
    "turn the text around unseen": lambda d: d.update(safety_notes="\u202e " + NOTES),
    "hide the text in tags": lambda d: d.update(safety_notes=NOTES + " \U000e0049\U000e0067"),
    "strike the text through": lambda d: d.update(safety_notes="\u0336".join(NOTES)),
    "key in capitals": lambda d: d.update(SAFETY_NOTES="No restrictions."),
    "key with another separator": lambda d: d.update({"Safety Notes": "No restrictions."}),
    "key in camel case": lambda d: d.update(safetyNotes="No restrictions."),
    "key with a trailing space": lambda d: d.update({"safety_notes ": "No restrictions."}),
    "key with a zero-width space": lambda d: d.update({"safety\u200b_notes": "No restrictions."}),
    "key in full width": lambda d: d.update({"ｓａｆｅｔｙ＿ｎｏｔｅｓ": "No restrictions."}),
    "key in mathematical letters": lambda d: d.update({"𝐬𝐚𝐟𝐞𝐭𝐲_𝐧𝐨𝐭𝐞𝐬": "No restrictions."}),
    "key with a long s": lambda d: d.update({"ſafety_notes": "No restrictions."}),
    "key with an accent": lambda d: d.update({"sáfety_notes": "No restrictions."}),
    "key with a digit": lambda d: d.update({"safety_n0tes": "No restrictions."}),
    "key with one Cyrillic letter": lambda d: d.update({"sаfety_notes": "No restrictions."}),
    "key with all letters foreign": lambda d: d.update({"ѕаƒеτу_ոоτеѕ": "No restrictions."}),
    "key with a rare foreign letter": lambda d: d.update({"ꮪafety_notes": "No restrictions."}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_on_the_safety_notes_is_saved(attack: str) -> None:
    assert "protected" in rules_that_object(DOCUMENT, changed(ATTACKS[attack]))


@pytest.mark.parametrize(
    "grown",
    [
        NOTES,
        NOTES + "\nPrefers not to be called at night.",
        "Reviewed in May.\n" + NOTES,
        NOTES.replace("\nIn a crisis", "\nAvoid the word 'failure'.\nIn a crisis"),
        NOTES.replace("first.", "first, then her doctor."),
        NOTES.replace("\n", " "),
        NOTES.replace("\n", "\n\n  "),
        NOTES.upper(),
        NOTES + " 👩\u200d⚕️",
    ],
)
def test_safety_notes_may_grow(grown: str) -> None:
    assert held_for(DOCUMENT, DOCUMENT | {"safety_notes": grown}) == []


def test_a_protected_member_may_begin_from_nothing() -> None:
    for nothing in ({}, {"safety_notes": ""}, {"safety_notes": None}):
        assert held_for(nothing, {"safety_notes": NOTES}) == []


def test_other_members_may_have_any_name_that_is_not_mistaken_for_a_protected_one() -> None:
    for name in (
        "safety",
        "notes",
        "safety_net",
        "безопасность",
        "关于这个人的安全的注释",
        "food_notes",
        "safety_notes_2024",
    ):
        assert held_for(DOCUMENT, DOCUMENT | {name: "Has a first-aid kit."}) == []


PLAN: Document = {"plan": {"rules": ["no nuts", "call Ines", 3], "limits": {"dose": 10, "drug": "propranolol"}}}


@pytest.mark.parametrize(
    ("rules", "limits", "saved"),
    [
        (["no nuts", "call Ines", 3], {"dose": 10, "drug": "propranolol", "since": 2024}, True),
        (["no milk", "no nuts or seeds", "call Ines", 3, 4], {"dose": 10, "drug": "propranolol"}, True),
        (["no nuts", "call Ines", 3], {"dose": 10, "drug": "propranolol", "🙂": 1, "🎉": 2}, True),
        (["no nuts", "call Ines"], {"dose": 10, "drug": "propranolol"}, False),
        (["call Ines", "no nuts", 3], {"dose": 10, "drug": "propranolol"}, False),
        (["no nuts", "call Ines", 3.0], {"dose": 10, "drug": "propranolol"}, False),
        (["no nuts", "call Ines", 3], {"dose": 100, "drug": "propranolol"}, False),
        (["no nuts", "call Ines", 3], {"drug": "propranolol"}, False),
        (["no nuts", "call Ines", 3], {"dose": 10, "drug": "propranolol", "dоse": 90}, False),
        ({"0": "no nuts"}, {"dose": 10, "drug": "propranolol"}, False),
    ],
)
def test_protected_objects_and_lists_may_gain_entries_and_lose_none(rules: Json, limits: Json, saved: bool) -> None:
    after = {"plan": {"rules": rules, "limits": limits}}
    assert ("protected" not in {rule for rule, _ in held_for(PLAN, after, GuardRules(protected=("plan",)))}) is saved


def test_a_value_of_another_json_type_is_a_rewrite_even_where_python_calls_it_equal() -> None:
    rules = GuardRules(protected=("on",))
    assert held_for({"on": 1}, {"on": True}, rules) == held_for({"on": 1}, {"on": 1.0}, rules) == [("protected", "/on")]


def test_a_hostile_text_of_repetitions_is_compared_quickly() -> None:
    before, after = {"safety_notes": "a"}, {"safety_notes": "a!b " * 60_000}
    assert held_for(before, after) == [("protected", "/safety_notes")]


# Trust


def test_a_change_of_low_trust_is_held_whatever_it_is() -> None:
    (objection,) = examine(DOCUMENT, DOCUMENT | {"city": "Porto"}, trust=Trust.TOOL)
    assert (objection.rule, objection.pointer, objection.share) == ("trust", "", None)


def test_the_trust_from_which_changes_are_saved_can_be_raised() -> None:
    rules = GuardRules(hold_below=Trust.USER)
    assert held_for(DOCUMENT, DOCUMENT | {"city": "Porto"}, rules) == [("trust", "")]
    assert examine(DOCUMENT, DOCUMENT | {"city": "Porto"}, rules, trust=Trust.USER) == ()


def test_no_change_is_no_reason_to_object() -> None:
    assert examine(DOCUMENT, copy.deepcopy(DOCUMENT), trust=Trust.TOOL) == ()


@pytest.mark.parametrize("damage", [*ATTACKS, *LOST])
def test_an_operator_may_do_all_of_it(damage: str) -> None:
    after = changed((ATTACKS | LOST)[damage])
    assert examine(DOCUMENT, after, GuardRules(hold_below=Trust.OPERATOR), trust=Trust.OPERATOR) == ()


@pytest.mark.parametrize("trust", [Trust.USER, Trust.AGENT, Trust.TOOL])
def test_nobody_else_may(trust: Trust) -> None:
    rules = {objection.rule for objection in examine(DOCUMENT, {}, trust=trust)}
    assert {"protected", "loss", "text_replaced"} <= rules


def test_all_objections_are_told_at_once_and_repeat_nothing_of_the_texts() -> None:
    objections = examine(DOCUMENT, {"summary": "Gone."}, trust=Trust.TOOL)
    assert [objection.rule for objection in objections] == ["trust", "protected", "text_replaced", "loss"]
    assert not any("Gone" in objection.message or "propranolol" in objection.message for objection in objections)


def test_the_documents_are_not_changed() -> None:
    before, after = copy.deepcopy(DOCUMENT), changed(LOST["truncated"])
    kept = copy.deepcopy((before, after))
    examine(before, after, trust=Trust.AGENT)
    assert (before, after) == kept


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(InvalidInput):
        GuardRules(loss=30)


# The quick way and the full count agree

EXAMPLES = settings(max_examples=1_000)

vocabulary = st.sampled_from(["tea", "Tea", "sister", "night", "Größe", "護士", "ﬁnd", "x", "-", "café", "cafe\u0301"])
sentences = st.lists(vocabulary, max_size=12).map(" ".join) | st.text("ab 護\u0301ﬁ.\u00a0", max_size=20)
members = st.recursive(
    sentences | st.integers(0, 2) | st.booleans() | st.none(),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b c", "d", ""]), inner, max_size=4) | st.lists(inner, max_size=5)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "c", "summary"]), members, max_size=4)


@EXAMPLES
@given(before=documents, after=documents, most=st.sampled_from([0, 0.1, 0.3, 0.5, 1]), floor=st.integers(0, 12))
def test_loss_is_what_counting_every_word_of_both_documents_says(
    before: Document, after: Document, most: float, floor: int
) -> None:
    share = lost_share(Loss(before, after), before, after, most=most, floor=floor)
    lost, total = counted(before, after)
    emptied = not any(has_words(text) for text in texts_of(after))
    if total and counted_before_repetition(before, after) and (emptied or (lost > floor and lost > total * most)):
        assert share == lost / total
    else:
        assert share is None


@EXAMPLES
@given(before=documents, after=documents, data=st.data())
def test_an_edit_inside_a_document_is_counted_like_a_change_of_all_of_it(
    before: Document, after: Document, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(after) or ["a"]))
    edited = before | {name: after.get(name)}
    share = lost_share(Loss(before, edited), before, edited, most=0, floor=0)
    lost, total = counted(before, edited)
    assert share == (lost / total if lost else None) or not any(map(has_words, texts_of(edited)))


@EXAMPLES
@given(before=sentences, after=sentences)
def test_leaving_out_what_two_texts_begin_and_end_with_changes_no_count(before: str, after: str) -> None:
    gone, come = rewritten(before, after)
    assert Counter(words(before)) - Counter(words(after)) == Counter(words(gone)) - Counter(words(come))
    assert telling_words(before) - telling_words(after) == telling_words(gone) - telling_words(after)


@EXAMPLES
@given(before=sentences, after=sentences, most=st.sampled_from([0, 0.5, 0.7, 0.95]), long=st.integers(1, 5))
def test_a_replaced_text_is_what_comparing_all_its_words_says(before: str, after: str, most: float, long: int) -> None:
    found = [share for _, share in replaced_texts(Loss({"t": before}, {"t": after}), most=most, long=long)]
    telling = telling_words(before)
    share = len(telling - telling_words(after)) / len(telling) if telling else 0
    assert found == ([share] if len(telling) >= long and share > most else [])


@EXAMPLES
@given(text=st.text(max_size=30))
def test_the_bound_on_the_words_of_a_text_holds(text: str) -> None:
    assert len(words(text)) <= most_words(text)
    assert has_words(text) is bool(words(text))


@given(name=st.text(max_size=12))
def test_a_name_looks_like_itself_and_looking_alike_goes_both_ways(name: str) -> None:
    assert look_alike(name, name)
    assert look_alike(name, "safety_notes") is look_alike("safety_notes", name)


def texts_of(value: Json, name: str = "") -> Iterator[str]:
    """Yield what says something in `value`: its texts, and the names of its numbers and booleans."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from texts_of(member, key)
    elif isinstance(value, list):
        for entry in value:
            yield from texts_of(entry, name)
    elif value is not None:
        yield value if isinstance(value, str) else name


def strings_of(value: Json) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings_of(inner)
    elif isinstance(value, str):
        yield value


def bag(texts: Iterator[str]) -> Counter[str]:
    return Counter(word for text in texts for word in words(text))


def counted_before_repetition(before: Document, after: Document) -> int:
    return (bag(texts_of(before)) - bag(texts_of(after))).total()


def counted(before: Document, after: Document) -> tuple[int, int]:
    """Count the words lost and all words of `before`, over both whole documents."""
    old, new = Counter(strings_of(before)), Counter(strings_of(after))
    repeated = Counter[str]()
    for text in old:
        for _ in range(old[text] - new[text] if new[text] else 0):
            repeated.update(words(text))
    everything = bag(texts_of(before))
    return (everything - bag(texts_of(after)) - repeated).total(), everything.total()


def counted_share(before: Document, after: Document) -> float:
    lost, total = counted(before, after)
    return lost / total
