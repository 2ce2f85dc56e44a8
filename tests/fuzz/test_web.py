"""Anything that comes to our own port, and any file that says who may: an answer that is one, or none."""

from __future__ import annotations

import socket
from email.message import Message
from pathlib import Path
from string import printable

import pytest
import yaml
from hypothesis import strategies as st

from exporter import runbooks
from exporter.access import Access
from exporter.access.gate import Gate, credentials
from exporter.access.keys import leaves
from exporter.access.loading import load
from exporter.connections import Visit
from exporter.http1 import Handler
from exporter.scrape import Scraper
from exporter.settings import SettingsError
from exporter.web import LONGEST_SCRAPE_SECONDS, SHORTEST_SCRAPE_SECONDS, App, Request, deadline_of
from tests.fuzz.cases import holds
from tests.fuzz.inputs import anything, fragments, joined, mutated, mutated_bytes, secrets

pytestmark = pytest.mark.fuzz

PAGES = {"/": lambda: ("text/html", b"first page"), **runbooks.pages()}
PATHS = (
    *PAGES,
    "/metrics",
    "/-/healthy",
    "/runbooks/%2e%2e/",
    "/runbooks/../../etc/passwd",
    "/runbooks/availability.md",
)
REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /runbooks/ HTTP/1.0\r\n\r\n",
    b"GET /nowhere?url=http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    b"GET http://other/ HTTP/1.1\r\nAuthorization: Basic YTpi\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n",
    b"GET /\n\n",
)


@pytest.fixture(scope="module")
def app() -> App:
    return App(Scraper(), PAGES, Access(""))


@holds(share=2, request=st.one_of(mutated_bytes(REQUESTS), mutated_bytes(REQUESTS), st.binary(max_size=300)))
def test_any_bytes_of_a_client_get_one_whole_answer_or_none(request: bytes, app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with ours, client:
        client.settimeout(10)
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        try:
            Handler(Visit(ours), "127.0.0.1", app)
        except ConnectionError:
            return  # the client left before its request was whole
        ours.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    if not answer:
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    assert status[:9] == b"HTTP/1.0 " and status[9:12] in (
        b"200",
        b"400",
        b"404",
        b"405",
        b"414",
        b"431",
        b"501",
        b"505",
    )
    assert all(line.count(b": ") >= 1 for line in headers)
    length = next(int(line[15:]) for line in headers if line.startswith(b"Content-Length:"))
    assert len(body) in (length, 0)


@holds(
    method=st.sampled_from(("GET", "HEAD")),
    path=st.one_of(
        mutated(PATHS, ("..", "/", "%2e", "\\", "//", "\0")), anything.map(lambda text: "/runbooks/" + text)
    ),
)
def test_a_path_is_a_page_that_there_is_or_not_found(method: str, path: str, app: App) -> None:
    if path == "/metrics":
        return
    answer = app(Request(method, path, Message(), "127.0.0.1"))
    expected = PAGES[path]()[-1] if path in PAGES else b"Not found. See / for what is here.\n"
    assert answer.status == (200 if path in PAGES else 404)
    assert answer.body == expected


@holds(
    header=st.one_of(
        st.none(),
        anything,
        st.floats().map(str),
        st.integers().map(str),
        joined(("1", "e", "-", ".", "_", "inf", "nan", "0x", " ", "\n", "٣"), 8),
    )
)
def test_any_header_of_a_timeout_gives_a_deadline_that_a_scrape_can_have(header: str | None) -> None:
    assert SHORTEST_SCRAPE_SECONDS <= deadline_of(header, 1000.0) - 1000.0 <= LONGEST_SCRAPE_SECONDS


@holds(
    header=st.one_of(
        anything, st.text(printable), mutated(("Basic YTpi", "basic YTpi=", "Bearer x"), ("=", "é", " "))
    )
)
def test_any_header_of_a_login_is_one_or_none(header: str) -> None:
    found = credentials(header)
    assert found is None or all(isinstance(one, bytes) for one in found)


NAMES = tuple({part for leaf in leaves() for part in leaf.path.split(".")})
WEB = (
    "tls_server_config:\n  cert_file: a.pem\n  key_file: k.pem\n  min_version: TLS13\n",
    "basic_auth_users:\n  prometheus: $2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234\n",
    "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
    "rate_limit: {interval: 1s, burst: 5}\n",
)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), anything, st.sampled_from(("1s", "TLS12", "deny"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=10,
)


@holds(
    content=st.one_of(
        st.binary(max_size=200),
        mutated(WEB, (*NAMES, ": ", "\n  ", "- ", "|", "'")).map(str.encode),
        trees.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")),
    )
)
def test_any_web_config_file_is_a_gate_or_refused_line_by_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_bytes(content)
    try:
        assert isinstance(load(file), Gate)
    except SettingsError as error:
        assert error.faults
        for line in error.faults:
            assert line.startswith(f"{file}:") and line.isprintable()


FORMS = (
    "basic_auth_users: {{prometheus: {0}}}\n",
    "basic_auth_users:\n  prometheus: '{0}'\n",
    "basic_auth_users:\n  prometheus: {0}\n",
    "basic_auth_users: [{0}]\n",
    "basic_auth_users: {0}\n",
    "tls_server_config:\n  key: {0}\n",
    "tls_server_config: {{key: [{0}]}}\n",
    "tls_server_config:\n  key: |\n    {0}\n  cert: x\n",
)


@holds(secret=secrets, form=st.sampled_from(FORMS))
def test_no_fault_of_a_web_config_file_quotes_a_hash_or_a_key(secret: str, form: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(form.format(secret), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert fragments(secret, str(caught.value)) == []
