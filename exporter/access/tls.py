"""TLS by Python's ssl module, from the web config file's keys."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.access.ciphers import CIPHERS, CURVES
from exporter.access.keys import TlsServer

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
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


@dataclass(frozen=True, slots=True)
class Tls:
    """A context for the handshakes, and the names of which a client's certificate must have one."""

    context: ssl.SSLContext
    names: frozenset[str]

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the socket that will speak TLS; nothing is read or sent yet."""
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def shake_hands(self, connection: ssl.SSLSocket) -> None:
        """Raise OSError where the client does not speak TLS, or is not let in."""
        connection.do_handshake()
        if self.names and not self.names & set(_names(connection.getpeercert() or {})):
            raise RefusedClientError("the client's certificate has none of client_allowed_sans")


def speaks_tls(connection: socket.socket) -> bool:
    """Look at the client's first byte; to one that speaks plain HTTP its mistake is told."""
    first = connection.recv(1, socket.MSG_PEEK)
    if first and first != HANDSHAKE:
        connection.sendall(PLAIN)
    return first == HANDSHAKE


def tls(config: TlsServer) -> Tls:
    """Return what the handshakes need; raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[config.min_version]
    context.maximum_version = VERSIONS[config.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Each scrape is a connection of its own with a full handshake: no session outlives the certificates.
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _choose(context, config)
    _identify(context, config)
    _trust(context, config)
    return Tls(context, frozenset(map(_name, config.client_allowed_sans)))


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


def _identify(context: ssl.SSLContext, config: TlsServer) -> None:
    certificate = "cert_file" if config.cert_file else "cert"
    key = "key_file" if config.key_file else "key"
    with contextlib.ExitStack() as stack:
        certificate_path, key_path = (
            config.cert_file or stack.enter_context(_in_memory(config.cert)),
            config.key_file or stack.enter_context(_in_memory(config.key.reveal() if config.key else "")),
        )
        try:
            context.load_cert_chain(certificate_path, key_path, _no_password)
        except _EncryptedError:
            raise TlsError(key, "a key with a passphrase", "one without, which only we can read") from None
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
                raise TlsError(key, "the key of another certificate", f"that of {certificate}") from None
            if not _is_certificate(certificate_path):
                raise TlsError(
                    certificate, "what is no certificate in PEM", "one, the intermediate ones after it"
                ) from None
            if error.reason and error.reason.endswith(("_TOO_SMALL", "_TOO_WEAK")):
                raise TlsError(
                    certificate, "what this OpenSSL holds too weak", "a longer key, a newer hash"
                ) from None
            raise TlsError(key, "what is no private key in PEM", "the certificate's") from None
        except OSError as error:  # gone since the file was looked for
            raise TlsError(certificate, f"what cannot be read ({error.strerror})", "a file") from None


def _trust(context: ssl.SSLContext, config: TlsServer) -> None:
    context.verify_mode = CLIENTS[config.client_auth_type]
    if context.verify_mode is ssl.CERT_NONE:
        return
    try:
        context.load_verify_locations(config.client_ca_file or None, cadata=config.client_ca or None)
    except OSError:  # ssl's errors among them
        key = "client_ca_file" if config.client_ca_file else "client_ca"
        raise TlsError(key, "what is no certificate in PEM", "those of the clients' authorities") from None


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedError  # without a callback OpenSSL would ask the terminal


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Give the text a path, which is all that ssl takes; it is on no disk."""
    number = os.memfd_create("pem")
    with os.fdopen(number, "w") as file:
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
