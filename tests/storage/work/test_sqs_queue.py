"""What is particular about SQS: JSON that others read and write, two kinds of queues, dead letters of its own."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest

from storage.database import Database
from storage.errors import DatabaseUnavailable, InvalidInput
from storage.work import sqs_client
from storage.work.queue import Message, Queue
from storage.work.queues import open_queue
from storage.work.sqs_client import REQUEST_LIMIT, region_of
from storage.work.sqs_queue import SqsQueue
from tests.queues import REGION, SqsServer, numbered, numbers

ADA = UUID("0193a5a0-0000-7000-8000-00000000ada0")

GENERATE = {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": ["c1", "c2"]}
"""The message of seed 003."""


@pytest.fixture(params=["standard", "fifo"])
def fifo(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "fifo")


@pytest.fixture
def dead_letters(sqs: SqsServer, fifo: bool) -> str:
    return sqs.new_queue(fifo=fifo)


@pytest.fixture
def url(sqs: SqsServer, fifo: bool) -> str:
    return sqs.new_queue(fifo=fifo)


@pytest.fixture
def queue(url: str, dead_letters: str) -> Iterator[SqsQueue]:
    with closing(SqsQueue(url, dead_letter_url=dead_letters)) as opened:
        yield opened


@pytest.fixture
def strangers(sqs: SqsServer, url: str, fifo: bool) -> Callable[..., None]:
    """Send a text as a program of somebody else's would."""

    def send(text: str, group: str = "theirs", **more: Any) -> None:
        ordered = {"MessageGroupId": group, "MessageDeduplicationId": uuid4().hex} if fifo else {}
        sqs.client.send_message(QueueUrl=url, MessageBody=text, **ordered, **more)

    return send


@contextmanager
def requests(
    queue: SqsQueue, operation: str, answer: Callable[[dict[str, Any]], Any] | None = None
) -> Iterator[list[Any]]:
    """Note the requests of one kind that a queue makes; with `answer` what it returns is taken instead of asking."""
    made: list[Any] = []

    def before(params: dict[str, Any], **_: Any) -> Any:
        made.append(json.loads(params["body"]))
        return answer(made[-1]) if answer else None

    events = queue._client.meta.events
    events.register(f"before-call.sqs.{operation}", before)
    yield made
    events.unregister(f"before-call.sqs.{operation}", before)


def failing(
    entries: Callable[[list[Any]], list[Any]], *, sender_fault: bool = False
) -> Callable[[dict[str, Any]], Any]:
    """Answer that some entries of a request were not taken."""

    def answer(request: dict[str, Any]) -> Any:
        failed = [
            {"Id": each["Id"], "SenderFault": sender_fault, "Code": "InternalError"}
            for each in entries(request["Entries"])
        ]
        return (SimpleNamespace(status_code=200), {"Failed": failed}) if failed else None

    return answer


def test_a_body_is_plain_json_that_anybody_can_read(sqs: SqsServer, url: str, queue: SqsQueue) -> None:
    queue.send([Message(GENERATE)])
    [message] = sqs.client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(message["Body"]) == GENERATE
    assert "MessageAttributes" not in message


def test_what_another_program_sends_is_received(queue: SqsQueue, strangers: Callable[..., None]) -> None:
    strangers(json.dumps(GENERATE, indent=2))
    [delivery] = queue.receive()
    assert (delivery.body, delivery.raw) == (GENERATE, None)


@pytest.mark.parametrize("text", ["no json", "[1]", "null", "3", '{"a": 1, "a": 2}', '{"a": 1e999}', "[" * 100_000])
def test_a_poison_message_is_delivered_buried_listed_and_revived(
    queue: SqsQueue, strangers: Callable[..., None], text: str
) -> None:
    strangers(text)
    [delivery] = queue.receive()
    assert (delivery.body, delivery.raw) == ({}, text)
    queue.bury(delivery, "malformed")
    [letter] = queue.dead()
    assert (letter.body, letter.raw, letter.reason) == ({}, text, "malformed")
    queue.revive(letter.id)
    [again] = queue.receive()
    assert again.raw == text
    assert queue.dead() == []


def test_poison_does_not_keep_others_from_being_received(queue: SqsQueue, strangers: Callable[..., None]) -> None:
    strangers("poison")
    queue.send([numbered(1)])
    assert sorted(delivery.body.get("number", 0) for delivery in queue.receive()) == [0, 1]


def test_hostile_attributes_are_no_poison(queue: SqsQueue, strangers: Callable[..., None]) -> None:
    text = {"DataType": "String", "StringValue": "9" * 5_000}
    blob = {"DataType": "Binary", "BinaryValue": b"\xff"}
    strangers('{"number": 1}', MessageAttributes={"group": text, "receives": text, "reason": blob})
    [delivery] = queue.receive()
    assert delivery.body == {"number": 1}
    assert delivery.group == uuid5(NAMESPACE_URL, "9" * 5_000)


def test_the_group_survives_burial_and_revival(queue: SqsQueue) -> None:
    queue.send([numbered(1, ADA)])
    [delivery] = queue.receive()
    assert delivery.group == ADA
    queue.bury(delivery, "gave_up")
    queue.revive(queue.dead()[0].id)
    [again] = queue.receive()
    assert (again.body, again.group) == ({"number": 1}, ADA)


def test_a_standard_queue_tells_the_group_too(sqs: SqsServer) -> None:
    with closing(SqsQueue(sqs.new_queue(), dead_letter_url=sqs.new_queue())) as queue:
        queue.send([numbered(1, ADA), numbered(2)])
        groups = {delivery.body["number"]: delivery.group for delivery in queue.receive()}
    assert groups == {1: ADA, 2: None}


def fifo_queue(sqs: SqsServer) -> SqsQueue:
    return SqsQueue(sqs.new_queue(fifo=True), dead_letter_url=sqs.new_queue(fifo=True))


def test_several_of_a_fifo_group_come_at_once_in_order_and_nobody_else_gets_of_it(sqs: SqsServer) -> None:
    with closing(fifo_queue(sqs)) as queue:
        queue.send([numbered(number, ADA) for number in range(4)])
        taken = queue.receive(limit=3)
        assert numbers(taken) == [0, 1, 2]
        assert queue.receive() == []
        for delivery in taken:
            queue.acknowledge(delivery)
        assert numbers(queue.receive()) == [3]


def test_a_fifo_group_with_a_name_that_is_no_uuid_is_a_group_all_the_same(sqs: SqsServer) -> None:
    with closing(fifo_queue(sqs)) as queue:
        for number in range(2):
            sqs.client.send_message(
                QueueUrl=queue._url,
                MessageBody=json.dumps({"number": number}),
                MessageGroupId="customer-7",
                MessageDeduplicationId=str(number),
            )
        assert [each.group for each in queue.receive()] == [uuid5(NAMESPACE_URL, "customer-7")] * 2


def test_two_equal_messages_are_two(queue: SqsQueue) -> None:
    queue.send([numbered(1), numbered(1)])
    queue.send([numbered(1)])
    assert numbers(queue.receive()) == [1, 1, 1]


def test_ten_messages_go_in_one_request(queue: SqsQueue) -> None:
    with requests(queue, "SendMessageBatch") as made:
        queue.send([numbered(number) for number in range(25)])
    assert [len(request["Entries"]) for request in made] == [10, 10, 5]
    assert queue.waiting() == 25


def test_no_request_is_larger_than_sqs_takes(queue: SqsQueue) -> None:
    body = {"x": "ä" * 200_000}
    with requests(queue, "SendMessageBatch") as made:
        queue.send([Message(body, ADA) for _ in range(5)])
    assert len(made) >= 2
    for request in made:
        assert sum(len(entry["MessageBody"].encode()) for entry in request["Entries"]) <= REQUEST_LIMIT
    assert queue.waiting() == 5


def test_of_a_fifo_group_one_message_is_sent_after_the_other(sqs: SqsServer) -> None:
    with closing(fifo_queue(sqs)) as queue, requests(queue, "SendMessageBatch") as made:
        queue.send([numbered(1, ADA), numbered(2), numbered(3), numbered(4, ADA), numbered(5)])
    assert [[json.loads(entry["MessageBody"])["number"] for entry in request["Entries"]] for request in made] == [
        [1, 2, 3],
        [4, 5],
    ]


def test_only_what_sqs_did_not_take_is_sent_again(queue: SqsQueue) -> None:
    failures = iter([["3", "7"], ["7"], []])
    left: list[Any] = []

    def some(entries: list[Any]) -> list[Any]:
        again = next(failures)
        left.append([entry["Id"] for entry in entries])
        return [entry for entry in entries if entry["Id"] in again]

    with requests(queue, "SendMessageBatch", failing(some)) as made:
        queue.send([numbered(number) for number in range(10)])
    assert left == [[str(number) for number in range(10)], ["3", "7"], ["7"]]
    entry = made[0]["Entries"][7]
    assert made[2]["Entries"] == [entry]  # with the same deduplication id
    assert numbers(queue.receive()) == [7]  # the answers above were not the server's: it saw the last request alone


def test_what_sqs_never_takes_is_an_error(queue: SqsQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs_client, "RESEND_PAUSES", (0.0, 0.0))
    with (
        requests(queue, "SendMessageBatch", failing(lambda all_: all_)),
        pytest.raises(DatabaseUnavailable, match="2 of"),
    ):
        queue.send([numbered(1), numbered(2)])


def test_a_message_that_is_at_fault_is_not_sent_again(queue: SqsQueue) -> None:
    refusing = failing(lambda all_: all_, sender_fault=True)
    with requests(queue, "SendMessageBatch", refusing) as made, pytest.raises(InvalidInput, match="InternalError"):
        queue.send([numbered(1)])
    assert len(made) == 1


def test_a_message_that_leaves_no_room_for_attributes_is_buried_without(
    queue: SqsQueue, strangers: Callable[..., None]
) -> None:
    text = "x" * REQUEST_LIMIT
    strangers(text)
    queue.bury(queue.receive()[0], "malformed")
    [letter] = queue.dead()
    assert (letter.raw, letter.reason, letter.dead_at) == (text, None, None)


def test_the_redrive_policy_names_the_dead_letters(sqs: SqsServer, url: str, fifo: bool) -> None:
    dead = sqs.new_queue(fifo=fifo)
    with closing(SqsQueue(sqs.new_queue(fifo=fifo, dead_letters=dead))) as queue:
        queue.send([numbered(1)])
        queue.bury(queue.receive()[0], "gave_up")
        [letter] = queue.dead()
    asked = sqs.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
    assert (letter.reason, asked["Attributes"]["ApproximateNumberOfMessages"]) == ("gave_up", "1")


def test_what_sqs_itself_gave_up_is_listed_and_revived(sqs: SqsServer, fifo: bool) -> None:
    dead = sqs.new_queue(fifo=fifo)
    with closing(SqsQueue(sqs.new_queue(fifo=fifo, dead_letters=dead, receives=1))) as queue:
        queue.send([numbered(1, ADA)])
        queue.extend(queue.receive()[0], 0)
        assert queue.receive() == []
        [letter] = queue.dead()
        assert (letter.body, letter.reason, letter.dead_at) == ({"number": 1}, None, None)
        queue.revive(letter.id)
        [again] = queue.receive()
        assert (again.body, again.group, again.receives) == ({"number": 1}, ADA, 1)


def test_listing_leaves_the_letters_where_they_are(sqs: SqsServer, queue: SqsQueue) -> None:
    queue.send([numbered(number, ADA) for number in range(12)])
    while taken := queue.receive():
        for delivery in taken:
            queue.bury(delivery, "gave_up")
    for _ in range(2):
        assert sorted(letter.body["number"] for letter in queue.dead()) == list(range(12))
    assert {letter.receives for letter in queue.dead()} == {1}


def test_without_dead_letters_a_queue_is_not_opened(url: str) -> None:
    with pytest.raises(InvalidInput, match="USERMEMORY_DEAD_LETTERS"):
        SqsQueue(url)


@pytest.mark.parametrize("dead_letters", ["{url}", "{url}/"])
def test_a_queue_is_not_its_own_dead_letter_queue(url: str, dead_letters: str) -> None:
    with pytest.raises(InvalidInput, match="its own"):
        SqsQueue(url, dead_letter_url=dead_letters.format(url=url))


def test_of_equal_names_in_two_regions_one_may_be_the_others_dead_letter_queue() -> None:
    here, there = (f"https://sqs.{region}.amazonaws.com/1/memory" for region in ("eu-west-1", "eu-west-3"))
    SqsQueue(here, dead_letter_url=there).close()


def test_the_dead_letter_queue_is_of_the_same_kind(sqs: SqsServer, url: str, fifo: bool) -> None:
    with pytest.raises(InvalidInput, match="FIFO"):
        SqsQueue(url, dead_letter_url=sqs.new_queue(fifo=not fifo))


def test_a_queue_that_does_not_exist_is_not_opened(sqs: SqsServer) -> None:
    with pytest.raises(InvalidInput, match=f"no such SQS queue: nowhere in {REGION}$"):
        SqsQueue(f"{sqs.url}/123456789012/nowhere")


def test_a_queue_that_does_not_answer_is_unavailable_and_tells_no_secrets() -> None:
    with (
        closing(
            SqsQueue("http://127.0.0.1:9/123456789012/secret-name", dead_letter_url="http://127.0.0.1:9/1/d")
        ) as queue,
        pytest.raises(DatabaseUnavailable) as raised,
    ):
        queue.send([Message({"secret": "body"})])
    assert str(raised.value) == "SQS cannot be used (EndpointConnectionError)"
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_a_refused_signature_is_unavailable_and_tells_no_secrets(queue: SqsQueue) -> None:
    told = {"Error": {"Code": "InvalidClientTokenId", "Message": "the key testing is none"}}
    refused = (SimpleNamespace(status_code=403), told)
    with requests(queue, "ReceiveMessage", lambda _: refused), pytest.raises(DatabaseUnavailable) as raised:
        queue.receive()
    assert str(raised.value) == "SQS cannot be used (InvalidClientTokenId)"


def test_without_credentials_the_queue_is_unavailable(
    url: str, dead_letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    with closing(SqsQueue(url, dead_letter_url=dead_letters)) as queue, pytest.raises(DatabaseUnavailable):
        queue.receive()


def test_the_environment_or_the_caller_says_whom_to_ask(
    sqs: SqsServer, url: str, dead_letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = url.replace(sqs.url, "https://sqs.eu-west-1.amazonaws.com")
    with closing(SqsQueue(elsewhere, dead_letter_url=dead_letters, endpoint=sqs.url)) as queue:
        queue.send([numbered(1)])
    monkeypatch.setenv("AWS_ENDPOINT_URL", sqs.url)
    with closing(SqsQueue(elsewhere, dead_letter_url=dead_letters)) as queue:
        assert numbers(queue.receive()) == [1]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs.eu-central-1.api.aws", "eu-central-1"),
        ("vpce-0a1b-2c.sqs.us-east-2.vpce.amazonaws.com", "us-east-2"),
        ("eu-west-3.queue.amazonaws.com", "eu-west-3"),
        ("localhost", None),
        ("127.0.0.1", None),
        ("sqs", None),
        ("mysqs.example.org", None),
    ],
)
def test_the_region_stands_in_the_url(host: str, region: str | None) -> None:
    assert region_of(host) == region


def test_the_region_of_the_url_goes_before_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    url = "https://sqs.eu-west-3.amazonaws.com/123456789012/queue"
    with closing(SqsQueue(url, dead_letter_url=f"{url}-dead")) as queue:
        assert queue._client.meta.region_name == "eu-west-3"
        assert queue._client.meta.endpoint_url == "https://sqs.eu-west-3.amazonaws.com"
    elsewhere = "http://localhost:9324/1/queue"
    with closing(SqsQueue(elsewhere, dead_letter_url=f"{elsewhere}-dead")) as queue:
        assert queue._client.meta.region_name == "ap-southeast-2"
        assert queue._client.meta.endpoint_url == "http://localhost:9324"
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    with closing(SqsQueue(elsewhere, dead_letter_url=f"{elsewhere}-dead")) as queue:
        assert queue._client.meta.region_name == "sa-east-1"


def test_a_url_opens_the_queue_of_sqs(url: str, dead_letters: str, sqlite_url: str) -> None:
    with Database.open(sqlite_url) as database:
        queue: Queue = open_queue(url, database, dead_letters=dead_letters)
        with closing(queue):
            queue.send([numbered(1)])
            assert numbers(queue.receive()) == [1]


def test_without_the_extra_the_error_names_it(sqlite_url: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("storage.work.sqs_queue", "storage.work.sqs_client"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with Database.open(sqlite_url) as database, pytest.raises(InvalidInput, match=r"usermemory\[sqs\]"):
        open_queue(url, database)
