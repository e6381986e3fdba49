import hashlib
import hmac
import logging
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from memory_tools.pauses import LONGEST_PAUSE
from memory_tools.publisher import PublishFailed, message
from memory_tools.publishers import open_publisher
from memory_tools.relay import Relay
from memory_tools.webhook import SHORTEST_SECRET, Webhook, sign, verify_signature
from storage import outbox
from storage.canonical import loads
from storage.database import Database
from storage.erase import erase
from storage.errors import InvalidInput
from storage.outbox import Event
from tests.clock import Clock, Seconds
from tests.memory_tools.events import changes

SECRET = "whsec-hunter2-hunter2"

EVENT = Event(7, UUID(int=1), "acme", "ada", "memory.changed", "item", 3, Clock().now)

NOW = Clock().now.timestamp()


class Receiver(ThreadingHTTPServer):
    """Somebody who is told, and answers as a test says."""

    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        """The next statuses; 200 where none is left."""

        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.closing = threading.Event()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/hook?team=1"

    def ids(self) -> list[int]:
        return [int(headers["Memory-Event-Id"]) for _, headers, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        if self.path.startswith("/drip"):
            self._drip()
            return
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", self.server.url.replace("hook", "elsewhere"))
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), b""))

    def _drip(self) -> None:
        """Answer so slowly that no time-out between two bytes ends it."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.closing.wait(0.05):
            self.wfile.write(b"X-More: 1\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # whoever asked has gone
            self.close_connection = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def test_a_signed_event_arrives_and_its_signature_is_genuine(receiver: Receiver) -> None:
    Webhook(receiver.url, SECRET, clock=Clock()).publish(EVENT)
    [(path, headers, body)] = receiver.requests
    assert path == "/hook?team=1"
    assert headers["Memory-Event-Id"] == "7"
    assert headers["Content-Type"] == "application/json"
    assert body == message(EVENT).encode()
    assert loads(body.decode())["userId"] == "ada"
    digest = hmac.new(SECRET.encode(), f"{NOW:.0f}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Memory-Signature"] == f"t={NOW:.0f},v1={digest}"
    assert verify_signature(SECRET, headers["Memory-Signature"], body, NOW)


def test_an_event_is_signed_for_the_moment_at_which_it_is_sent(receiver: Receiver) -> None:
    Webhook(receiver.url, SECRET).publish(EVENT)
    [(_, headers, body)] = receiver.requests
    assert verify_signature(SECRET, headers["Memory-Signature"], body, datetime.now(UTC).timestamp(), tolerance=30)


SIGNED = sign(SECRET, b'{"id":7}', int(NOW))

OTHER = sign("another secret of mine", b'{"id":7}', int(NOW)).partition(",")[2]


@pytest.mark.parametrize(
    ("header", "body", "now"),
    [
        (SIGNED, b'{"id":8}', NOW),
        (SIGNED, b"", NOW),
        (SIGNED, b'{"id":7}', NOW + 301),
        (SIGNED, b'{"id":7}', NOW - 301),
        (SIGNED.replace(f"t={NOW:.0f}", f"t={NOW + 1:.0f}"), b'{"id":7}', NOW),
        (SIGNED[:-1], b'{"id":7}', NOW),
        (SIGNED.upper(), b'{"id":7}', NOW),
        (SIGNED.replace("v1=", "v0="), b'{"id":7}', NOW),
        (f"{SIGNED.partition(',')[0]},{OTHER}", b'{"id":7}', NOW),
        (f"t=1,{SIGNED}", b'{"id":7}', NOW),
        (SIGNED.partition(",")[0], b'{"id":7}', NOW),
        (SIGNED.partition(",")[2], b'{"id":7}', NOW),
        ("", b'{"id":7}', NOW),
        ("t=,v1=", b'{"id":7}', NOW),
        ("t=²,v1=é", b'{"id":7}', NOW),
        (f"t={'9' * 10_000},v1=0", b'{"id":7}', NOW),
        ("t=-1,v1=0", b'{"id":7}', NOW),
        ("\0", b'{"id":7}', NOW),
        (f"t={NOW:.0f},v1=\udc80", b'{"id":7}', NOW),
        ("t=\udc80,v1=\udc80", b'{"id":7}', NOW),
        ("\udc80", b'{"id":7}', NOW),
    ],
)
def test_tampering_is_found(header: str, body: bytes, now: float) -> None:
    assert not verify_signature(SECRET, header, body, now)


@pytest.mark.parametrize("now", [NOW, NOW + 300, NOW - 300])
def test_a_genuine_event_is_taken_within_the_tolerance(now: float) -> None:
    assert verify_signature(SECRET, SIGNED, b'{"id":7}', now)


def test_one_of_several_signatures_is_enough_while_the_secret_is_changed() -> None:
    assert verify_signature(SECRET, f"{SIGNED},{OTHER}", b'{"id":7}', NOW)
    assert verify_signature("another secret of mine", f"{SIGNED}, {OTHER}", b'{"id":7}', NOW)


def test_what_is_not_taken_is_sent_again_until_it_is_and_in_order(
    database: Database, operators_database: Database, ada: UUID, receiver: Receiver
) -> None:
    ids = changes(database, operators_database, ada, 3)
    seconds = Seconds()
    relay = Relay(operators_database, Webhook(receiver.url, SECRET), timer=seconds)
    receiver.answers = [200, 500, 503, 200, 200]
    counts = []
    while outbox.waiting(operators_database):
        counts.append(relay.run_once())
        seconds.pass_by(LONGEST_PAUSE)
    assert counts == [1, 0, 2]
    assert receiver.ids() == [ids[0], ids[1], ids[1], ids[1], ids[2]]
    assert (relay.delivered, relay.failures) == (3, 2)


def test_an_erasure_is_told_and_leaves_no_row(
    database: Database, operators_database: Database, ada: UUID, receiver: Receiver
) -> None:
    changes(database, operators_database, ada, 2)
    erase(database, ada)
    assert Relay(operators_database, Webhook(receiver.url, SECRET)).run_once() == 1
    told = loads(receiver.requests[0][2].decode())
    assert (told["event"], told["userId"], told["owner"]) == ("memory.erased", "ada", str(ada))
    assert outbox.waiting(operators_database) == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_answer_of_success_is_delivery(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    Webhook(receiver.url, SECRET).publish(EVENT)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503])
def test_any_other_answer_is_none_and_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(PublishFailed, match=f"^the webhook answered {status}$"):
        Webhook(receiver.url, SECRET).publish(EVENT)
    assert [path for path, _, _ in receiver.requests] == ["/hook?team=1"]


def test_an_answer_that_drips_in_for_ever_is_cut_off(receiver: Receiver) -> None:
    url = receiver.url.replace("hook", "drip")
    with pytest.raises(PublishFailed, match="TimeoutError"):
        Webhook(url, SECRET, deadline=0.5).publish(EVENT)
    assert not receiver.closing.is_set()


def test_nobody_there_is_no_delivery_and_nothing_secret_is_said(
    database: Database, operators_database: Database, ada: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    changes(database, operators_database, ada, 1)
    with Receiver() as gone:
        url = gone.url.replace("team=1", "token=hunter2")
    webhook = Webhook(url, SECRET)
    with pytest.raises(PublishFailed) as refused:
        webhook.publish(EVENT)
    assert refused.value.__cause__ is None
    with caplog.at_level(logging.DEBUG):
        assert Relay(operators_database, webhook).run_once() == 0
    for said in (str(refused.value), caplog.text):
        assert "ConnectionRefusedError" in said
        assert "hunter2" not in said
    assert outbox.waiting(operators_database) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://hunter2:hunter2@example.com/",
        "https://hunter2@example.com/",
        "https://example.com:hunter2/",
        "https://[hunter2/",
        "https:///hunter2",
        "https://example.com/hunter2\r\nX-Evil: 1",
        "https://example.com/hunter2 path",
        "https://example.com/hünter2-hunter2",
        "http://",
        "http://hunter2.example.com/",
        "http://10.0.0.1/hunter2",
        "http://localhost.hunter2/",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_publisher(url, SECRET)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:8080", "[::1]"])
def test_plain_http_goes_to_this_machine(host: str) -> None:
    assert isinstance(open_publisher(f"http://{host}/hook", SECRET), Webhook)


@pytest.mark.parametrize("secret", [None, "", "hunter2", "x" * (SHORTEST_SECRET - 1)])
def test_a_webhook_needs_a_secret_worth_its_name(secret: str | None) -> None:
    with pytest.raises(InvalidInput, match="USERMEMORY_WEBHOOK_SECRET") as refused:
        open_publisher("https://example.com/hook", secret)
    assert "hunter2" not in str(refused.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "receiver.pem"
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_only_a_receiver_whose_certificate_is_trusted_is_told(
    receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True, do_handshake_on_connect=False)
    receiver.scheme = "https"
    with pytest.raises(PublishFailed, match="SSLCertVerificationError"):
        Webhook(receiver.url, SECRET).publish(EVENT)
    assert receiver.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    Webhook(receiver.url, SECRET).publish(EVENT)
    assert receiver.ids() == [7]
