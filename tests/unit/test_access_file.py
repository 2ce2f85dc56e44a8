"""The web config file: each fault has its line and says what to write instead."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from exporter.access import Access, gate_of
from exporter.access.keys import TlsServer
from exporter.access.tls import Tls
from exporter.settings import SettingsError

pytestmark = pytest.mark.unit

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "cert_file: a.pem, key_file: a.key"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with `a` and `b`, each with certificate and key, and the `ca` of both."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("a", "b"):
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "empty").write_text("")
    return folder


def faults(folder: Path, text: str) -> list[str]:
    """Return the faults of a file of that text, without its path."""
    file = folder / "web.yml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        gate_of(str(file))
    assert all(one.startswith(str(file)) for one in raised.value.faults)
    return [one.removeprefix(f"{file}").replace(f"{folder}/", "") for one in raised.value.faults]


def indented(pem: str) -> str:
    return pem.replace("\n", "\n    ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": found nothing, allowed tls_server_config, basic_auth_users or another section"),
        (
            "basic_auth_user: {}",
            ":1: basic_auth_user: found an unknown key, allowed basic_auth_users, http_server_config, rate_limit,"
            " tls_server_config, did you mean basic_auth_users?",
        ),
        (
            "tls_server_config:\n  cert_file: a.pem\n  key_flie: a.key",
            ":3: tls_server_config.key_flie: found an unknown key, allowed cert, cert_file, cipher_suites,"
            " client_allowed_sans, client_auth_type, client_ca, client_ca_file, curve_preferences, key, key_file,"
            " max_version, min_version, prefer_server_cipher_suites, did you mean key_file?\n"
            ":2: tls_server_config.cert_file: found TLS without key_file, allowed key_file or key beside it",
        ),
        (
            "tls_server_config: {min_version: TLS13}",
            ":1: tls_server_config.min_version: found TLS without cert_file, allowed cert_file or cert beside it\n"
            ":1: tls_server_config.min_version: found TLS without key_file, allowed key_file or key beside it",
        ),
        (
            f"tls_server_config: {{{PAIR}, min_version: TLS10}}",
            ":1: tls_server_config.min_version: found 'TLS10', allowed TLS12 or TLS13, as older ones are broken,"
            " did you mean TLS13?",
        ),
        (
            f"tls_server_config: {{{PAIR}, min_version: TLS13, max_version: TLS12}}",
            ":1: tls_server_config.min_version: found TLS13 as min_version and TLS12 as max_version,"
            " allowed a least version that is not above the greatest",
        ),
        (
            f"tls_server_config: {{{PAIR}, cert: x}}",
            ":1: tls_server_config.cert: found beside cert_file, allowed one of the two",
        ),
        (
            "tls_server_config: {cert_file: '', key_file: a.key}",
            ":1: tls_server_config.cert_file: found an empty string, allowed a file",
        ),
        (
            "tls_server_config: {cert_file: absent.pem, key_file: a.key}",
            ":1: tls_server_config.cert_file: found 'absent.pem', which does not exist, allowed a file",
        ),
        (
            "tls_server_config: {cert_file: a.pem, key_file: b.key}",
            ":1: tls_server_config.key_file: found the key of another certificate, allowed that of cert_file",
        ),
        (
            "tls_server_config: {cert_file: empty, key_file: a.key}",
            ":1: tls_server_config.cert_file: found what is no certificate in PEM,"
            " allowed one, the intermediate ones after it",
        ),
        (
            "tls_server_config: {cert_file: a.pem, key_file: empty}",
            ":1: tls_server_config.key_file: found what is no private key in PEM, allowed the certificate's",
        ),
        (
            "tls_server_config: {cert_file: a.pem, key: hunter2}",
            ":1: tls_server_config.key: found what is no private key in PEM, allowed the certificate's",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireAnyClientCert}}",
            ":1: tls_server_config.client_auth_type: found RequireAnyClientCert, which Python's ssl module cannot do,"
            " allowed RequireAndVerifyClientCert with client_ca_file",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequestClientCert}}",
            ":1: tls_server_config.client_auth_type: found RequestClientCert, which Python's ssl module cannot do,"
            " allowed NoClientCert, which lets the same clients in, or VerifyClientCertIfGiven",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: requireandverifyclientcert}}",
            ":1: tls_server_config.client_auth_type: found 'requireandverifyclientcert', allowed NoClientCert,"
            " VerifyClientCertIfGiven or RequireAndVerifyClientCert, did you mean RequireAndVerifyClientCert?",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: VerifyClientCertIfGiven}}",
            ":1: tls_server_config.client_auth_type: found VerifyClientCertIfGiven without client_ca_file,"
            " allowed client_ca_file or client_ca beside it",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_ca_file: ca.pem}}",
            ":1: tls_server_config.client_ca_file: found an authority of clients that are not asked for a certificate,"
            " allowed client_auth_type: RequireAndVerifyClientCert beside it",
        ),
        (
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: empty}}",
            ":1: tls_server_config.client_ca_file: found what is no certificate in PEM,"
            " allowed those of the clients' authorities",
        ),
        (
            f"tls_server_config:\n  {{{PAIR}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem,\n"
            "  client_allowed_sans: [prometheus]}",
            ":3: tls_server_config.client_allowed_sans: found names beside VerifyClientCertIfGiven,"
            " allowed client_auth_type: RequireAndVerifyClientCert beside them",
        ),
        (
            f"tls_server_config: {{{PAIR}, curve_preferences: [X25519, CurveP256]}}",
            ":1: tls_server_config.curve_preferences: found 2 curves, of which Python's ssl module can prefer one,"
            " allowed the first alone, or no such key",
        ),
        (
            f"tls_server_config:\n  {{{PAIR}, cipher_suites: [\n  TLS_AES_128_GCM_SHA256]}}",
            ":3: tls_server_config.cipher_suites[0]: found 'TLS_AES_128_GCM_SHA256', allowed suites of TLS 1.2, as"
            " TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; those of TLS 1.3 are always on,"
            " did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
        ),
        (
            f"tls_server_config: {{{PAIR}, min_version: TLS13,"
            " cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}",
            ":1: tls_server_config.cipher_suites: found suites of TLS 1.2 beside min_version TLS13,"
            " allowed no such key: those of TLS 1.3 are always on",
        ),
        (
            "http_server_config: {http2: true}",
            ":1: http_server_config.http2: found true, allowed false, or no such key: only HTTP/1 is spoken here",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Option: deny",
            ":3: http_server_config.headers.X-Frame-Option: found an unknown key, allowed Content-Security-Policy,"
            " Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection,"
            " did you mean X-Frame-Options?",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: ALLOWALL",
            ":3: http_server_config.headers.X-Frame-Options: found 'ALLOWALL', allowed deny or sameorigin",
        ),
        (
            'http_server_config: {headers: {Strict-Transport-Security: "a\\r\\nSet-Cookie: b"}}',
            ":1: http_server_config.headers.Strict-Transport-Security: found a line break, a control character"
            " or a byte that is not UTF-8, allowed a header's value in ASCII",
        ),
        (
            "basic_auth_users:\n  alice: hunter2",
            ":2: basic_auth_users.alice: found a string, allowed a bcrypt hash of cost 4 to 16,"
            " as `htpasswd -nBC 10 USER` makes it",
        ),
        (
            f"basic_auth_users:\n  alice: {HASH.replace('10', '18', 1)}",
            ":2: basic_auth_users.alice: found a string, allowed a bcrypt hash of cost 4 to 16,"
            " as `htpasswd -nBC 10 USER` makes it",
        ),
        (
            f"basic_auth_users:\n  'a:b': {HASH}",
            ":2: basic_auth_users.?: found this name, allowed a user's name, which holds no colon",
        ),
        ("basic_auth_users:", ":1: basic_auth_users: found nothing, allowed a mapping"),
        ("rate_limit: {interval: 1s}", ":1: rate_limit.interval: found alone, allowed with rate_limit.burst"),
        (
            "rate_limit: {interval: soon, burst: 1}",
            ":1: rate_limit.interval: found 'soon', allowed a time, as 1s, 500ms or 1m30s; 0 for no limit",
        ),
    ],
)
def test_a_faulty_file_is_refused_with_its_line(certificates: Path, text: str, told: str) -> None:
    assert faults(certificates, text) == told.split("\n")


def test_all_faults_come_at_once(certificates: Path) -> None:
    text = (
        "tls_server_config: {cert_file: no.pem}\nhttp_server_config: {http2: true}\nbasic_auth_users: {a: b}"
    )
    assert [one.split(":")[1] for one in faults(certificates, text)] == ["3", "1", "1", "2"]


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(certificates: Path) -> None:
    from cryptography.hazmat.primitives import serialization as pem  # noqa: PLC0415

    key = pem.load_pem_private_key((certificates / "a.key").read_bytes(), None)
    locked = key.private_bytes(
        pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.BestAvailableEncryption(b"hunter2")
    )
    (certificates / "locked.key").write_bytes(locked)
    assert faults(certificates, "tls_server_config: {cert_file: a.pem, key_file: locked.key}") == [
        ":1: tls_server_config.key_file: found a key with a passphrase, allowed one without, which only we can read"
    ]


def test_users_without_the_package_that_checks_them_are_refused(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert faults(certificates, f"basic_auth_users: {{alice: {HASH}}}") == [
        ":1: basic_auth_users: found users, without the package bcrypt, allowed users where it is,"
        " pip install '.[auth]' where the exporter's sources are"
    ]


def test_a_file_of_everything_is_taken(certificates: Path) -> None:
    file = certificates / "web.yml"
    certificate = (certificates / "a.pem").read_text()
    key = (certificates / "a.key").read_text()
    file.write_text(
        f"tls_server_config:\n  cert: |\n    {indented(certificate)}\n  key: |\n    {indented(key)}\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        "  client_allowed_sans: [prometheus, 10.0.0.1, 'FD00::1']\n"
        "  min_version: TLS12\n  max_version: TLS12\n  prefer_server_cipher_suites: false\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n"
        "http_server_config: {http2: false, headers: {X-Frame-Options: sameorigin}}\n"
        f"basic_auth_users: {{alice: {HASH}, 'Ä': {HASH.replace('2y', '2b')}}}\n"
        'rate_limit: {interval: "1m30s", burst: 20}\n'
    )
    gate = gate_of(str(file))
    assert gate.tls is not None
    context = gate.tls.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert [one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.2"] == [
        "ECDHE-ECDSA-AES256-GCM-SHA384"
    ]
    assert gate.tls._names == {"prometheus", "10.0.0.1", "fd00::1"}
    assert set(gate.users) == {b"alice", "Ä".encode()}
    assert gate.headers == {"X-Frame-Options": "sameorigin"}
    assert gate.limit is not None
    assert str(gate) == "TLS, RequireAndVerifyClientCert, passwords of 2 users"
    assert HASH not in repr(gate)
    assert key.split("\n")[1] not in repr(gate)


def test_no_context_keeps_the_sessions_of_more_than_some_handshakes(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.access.tls.HANDSHAKES", 2)
    made = Tls(TlsServer(cert_file=str(certificates / "a.pem"), key_file=str(certificates / "a.key")))
    contexts = []
    for _ in range(5):
        ours, theirs = socket.socketpair()
        with theirs, made.wrap(ours) as wrapped:
            contexts.append(wrapped.context)
    assert [contexts.index(one) for one in contexts] == [0, 0, 2, 2, 4]


def test_the_toolkit_s_own_example_is_taken(certificates: Path) -> None:
    file = certificates / "web.yml"
    file.write_text(
        f"tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\nbasic_auth_users:\n  alice: {HASH}\n"
        'rate_limit:\n  interval: "1s"\n  burst: 20\n'
    )
    assert str(gate_of(str(file))) == "TLS, passwords of 1 user"


@pytest.mark.parametrize("interval", ["0", "0s", '"0"'])
def test_an_interval_of_zero_is_no_limit(tmp_path: Path, interval: str) -> None:
    (tmp_path / "web.yml").write_text(f"rate_limit: {{interval: {interval}, burst: 1}}")
    assert gate_of(str(tmp_path / "web.yml")).limit is None


def test_without_a_file_the_gate_is_open() -> None:
    gate = gate_of("")
    assert (gate.tls, gate.users, str(gate)) == (None, {}, "no TLS, no passwords")


class Written:
    """A web config file that is written again and again, and what its access then says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "web.yml"
        self.said: list[bool] = []
        self.users("alice")
        self.access = Access(str(self.file), self.said.append)

    def users(self, *names: str) -> None:
        self.text("basic_auth_users: {" + ", ".join(f"{name}: {HASH}" for name in names) + "}")

    def text(self, text: str) -> None:
        self.file.write_text(text)
        self.tick()

    def tick(self) -> None:
        """Let the file be another one, however coarse the file system's clock is."""
        status = self.file.stat()
        os.utime(self.file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    def inside(self) -> set[bytes]:
        return set(self.access.gate.users)


def test_a_changed_file_is_taken_when_it_has_stayed_the_same_for_a_look(tmp_path: Path) -> None:
    site = Written(tmp_path)
    site.users("bob")
    site.access.look()
    site.users("carol")
    site.access.look()
    assert site.inside() == {b"alice"}
    site.access.look()
    assert site.inside() == {b"carol"}
    site.access.look()
    assert site.said == [True]


def test_a_faulty_file_changes_nothing_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Written(tmp_path)
    site.text("basic_auth_users: {bob: hunter2}")
    for _ in range(4):
        site.access.look()
    assert site.inside() == {b"alice"}
    assert site.said == [False, False, False]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"{site.file}:1: basic_auth_users.bob" in caplog.text
    assert "hunter2" not in caplog.text
    site.users("bob")
    for _ in range(2):
        site.access.look()
    assert site.inside() == {b"bob"}
    assert site.said[-1]


def test_a_file_that_is_gone_or_empty_does_not_open_the_door(tmp_path: Path) -> None:
    site = Written(tmp_path)
    site.text("")
    for _ in range(2):
        site.access.look()
    assert site.inside() == {b"alice"}
    site.file.unlink()
    for _ in range(2):
        site.access.look()
    assert site.inside() == {b"alice"}
    assert not any(site.said)


def test_a_reload_takes_another_file_at_once_or_none(tmp_path: Path) -> None:
    site = Written(tmp_path)
    other = tmp_path / "other.yml"
    other.write_text(f"basic_auth_users: {{bob: {HASH}}}")
    site.access.reload(str(other))
    assert site.inside() == {b"bob"}
    site.access.reload("")
    assert site.inside() == set()


def test_a_certificate_that_is_renewed_is_taken_without_the_file_being_touched(
    tmp_path: Path, certificates: Path
) -> None:
    for name in ("a.pem", "a.key"):
        (tmp_path / name).write_bytes((certificates / name).read_bytes())
    (tmp_path / "web.yml").write_text(f"tls_server_config: {{{PAIR}}}")
    access = Access(str(tmp_path / "web.yml"))
    before = access.gate
    for name in ("pem", "key"):
        (tmp_path / "new").write_bytes((certificates / f"b.{name}").read_bytes())
        (tmp_path / "new").replace(tmp_path / f"a.{name}")
        access.look()
        assert access.gate is before
    access.look()
    assert access.gate is not before
