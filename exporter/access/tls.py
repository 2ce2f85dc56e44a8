"""TLS by Python's ssl module, from the web config file's keys."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from exporter.access.ciphers import CIPHERS, CURVES
from exporter.access.keys import TlsServer

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# A certificate has 2 kB, all that a system trusts 200.
MOST_BYTES = 1 << 20
# A context keeps the sessions of TLS 1.2, 12 kB each with a client's certificate and up to 20,480 of them, and nothing
# in Python turns that off: so it is replaced by a new one, which takes a millisecond.
HANDSHAKES = 100
HANDSHAKE = b"\x16"  # what a TLS client's first byte is
PLAIN = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS: ask it with https://\n"
)


class TlsError(Exception):
    """A key of the file cannot be used; says what was found there, and what is allowed."""

    def __init__(self, key: str, found: str, allowed: str) -> None:
        super().__init__(key, found, allowed)
        self.key, self.found, self.allowed = key, found, allowed


class RefusedClientError(OSError):
    """A client that may not come in; the message says why."""


class Tls:
    """What handshakes need: certificate, key and the clients' authorities in PEM, as they were when read."""

    def __init__(self, config: TlsServer) -> None:
        """Read the files; raises TlsError."""
        self._config = config
        self._certificate = _text("cert_file", config.cert_file) or config.cert.encode()
        self._key = _text("key_file", config.key_file) or (config.key.reveal() if config.key else "").encode()
        self._authorities = _text("client_ca_file", config.client_ca_file) or config.client_ca.encode()
        self._names = frozenset(map(_name, config.client_allowed_sans))
        self._context, self._left = self.context(), HANDSHAKES
        self._lock = threading.Lock()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the socket that will speak TLS; nothing is read or sent yet."""
        with self._lock:
            if not self._left:
                self._context, self._left = self.context(), HANDSHAKES
            self._left -= 1
            context = self._context
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def shake_hands(self, connection: ssl.SSLSocket) -> None:
        """Raise OSError where the client does not speak TLS, or is not let in."""
        connection.do_handshake()
        if self._names and not self._names & set(_names(connection.getpeercert() or {})):
            raise RefusedClientError("the client's certificate has none of client_allowed_sans")

    def context(self) -> ssl.SSLContext:
        """Return a new context; raises TlsError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self._config.min_version]
        context.maximum_version = VERSIONS[self._config.max_version]
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0  # no session outlives its connection
        context.set_alpn_protocols(["http/1.1"])
        if not self._config.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        _choose(context, self._config)
        with _in_memory(self._certificate) as certificate, _in_memory(self._key) as key:
            _identify(context, self._config, certificate, key)
        context.verify_mode = CLIENTS[self._config.client_auth_type]
        if self._authorities:
            with _in_memory(self._authorities) as path:
                _trust(context, self._config, path)
        return context


def speaks_tls(connection: socket.socket) -> bool:
    """Look at the client's first byte; to one that speaks plain HTTP its mistake is told."""
    first = connection.recv(1, socket.MSG_PEEK)
    if first and first != HANDSHAKE:
        connection.sendall(PLAIN)
    return first == HANDSHAKE


def _text(key: str, file: str) -> bytes:
    if not file:
        return b""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MOST_BYTES) or b"\n"
    except OSError as error:  # gone since it was looked for
        raise TlsError(key, f"what cannot be read ({error.strerror})", "a file") from None


def _choose(context: ssl.SSLContext, config: TlsServer) -> None:
    if config.cipher_suites:
        try:
            context.set_ciphers(":".join(CIPHERS[name] for name in config.cipher_suites))
        except ssl.SSLError:
            raise TlsError("cipher_suites", "none that this OpenSSL has", "others") from None
    if config.curve_preferences:
        try:
            context.set_ecdh_curve(CURVES[config.curve_preferences[0]])
        except (ValueError, ssl.SSLError):
            raise TlsError("curve_preferences", "one that this OpenSSL lacks", "another") from None


def _identify(context: ssl.SSLContext, config: TlsServer, certificate: str, key: str) -> None:
    of_certificate = "cert_file" if config.cert_file else "cert"
    of_key = "key_file" if config.key_file else "key"
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except _EncryptedError:
        raise TlsError(of_key, "a key with a passphrase", "one without, which only we can read") from None
    except ssl.SSLError as error:
        reason = error.reason or ""
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise TlsError(of_key, "the key of another certificate", f"that of {of_certificate}") from None
        if reason.endswith(("_TOO_SMALL", "_TOO_WEAK")):
            raise TlsError(
                of_certificate, "what this OpenSSL holds too weak", "a longer key, a newer hash"
            ) from None
        if not _is_certificate(certificate):
            raise TlsError(
                of_certificate, "what is no certificate in PEM", "one, the intermediate ones after it"
            ) from None
        raise TlsError(of_key, "what is no private key in PEM", "the certificate's") from None


def _trust(context: ssl.SSLContext, config: TlsServer, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        key = "client_ca_file" if config.client_ca_file else "client_ca"
        raise TlsError(key, "what is no certificate in PEM", "those of the clients' authorities") from None


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedError  # without a callback OpenSSL would ask the terminal


@contextlib.contextmanager
def _in_memory(text: bytes) -> Iterator[str]:
    """Give the text a path, which is all that ssl takes; it is on no disk."""
    number = os.memfd_create("pem")
    with os.fdopen(number, "wb") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{number}"


def _is_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError:
        return False
    return True


def _names(certificate: object) -> Iterable[str]:
    """Return the alternative names: of DNS, mail, URI and address."""
    assert isinstance(certificate, dict)
    return (_name(value) for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str))


def _name(text: str) -> str:
    """Return a name, an address in its one spelling: OpenSSL writes all zeros of IPv6 out."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text
