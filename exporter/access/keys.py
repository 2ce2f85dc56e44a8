"""Every key of the web config file: the format that Prometheus and its exporters share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from exporter.access.ciphers import CIPHERS, CURVES
from exporter.secret import Secret
from exporter.settings import Leaf
from exporter.settings.derive import leaf_of, leaves_of

# Also what we cannot do, so that it can be said why and what to write instead: see `loading.py`.
ClientAuth = Annotated[
    Literal[
        "NoClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
    ],
    Meta(extra={"allowed": "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"}),
]
Version = Annotated[
    Literal["TLS12", "TLS13"], Meta(extra={"allowed": "TLS12 or TLS13, as older ones are broken"})
]
Text = Annotated[str, Meta(extra={"multiline": True, "private": True, "allowed": "text in PEM"})]
PemSecret = Annotated[Secret | None, Meta(extra={"multiline": True, "allowed": "text in PEM"})]
User = Annotated[str, Meta(pattern=r"^[^:]+$", extra={"allowed": "a user's name, which holds no colon"})]
# At a cost above 16 a first login takes longer than Prometheus waits.
Hash = Annotated[
    str,
    Meta(
        pattern=r"^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$",
        extra={
            "allowed": "a bcrypt hash of cost 4 to 16, as `htpasswd -nBC 10 USER` makes it",
            "private": True,
        },
    ),
]
HeaderValue = Annotated[str, Meta(pattern=r"^[ -~]*$", extra={"allowed": "a header's value in ASCII"})]
HEADERS = {
    "Content-Security-Policy": HeaderValue,
    "Strict-Transport-Security": HeaderValue,
    "X-Content-Type-Options": Annotated[Literal["nosniff", ""], Meta(extra={"allowed": "nosniff"})],
    "X-Frame-Options": Annotated[
        Literal["deny", "sameorigin", ""], Meta(extra={"allowed": "deny or sameorigin"})
    ],
    "X-XSS-Protection": HeaderValue,
}
HEADER = "http_server_config.headers."

# Literal takes what is a table elsewhere, and types do not.
any_cipher: Any = Literal[tuple(CIPHERS)]
any_curve: Any = Literal[tuple(CURVES)]
OF_TLS_12 = "suites of TLS 1.2, as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; those of TLS 1.3 are always on"
CHOSEN = {
    "tls_server_config.cipher_suites": tuple[Annotated[any_cipher, Meta(extra={"allowed": OF_TLS_12})], ...],
    "tls_server_config.curve_preferences": tuple[any_curve, ...],
}


class TlsServer(Struct, frozen=True, kw_only=True):
    """How TLS is spoken, and which clients are let in by their certificate."""

    cert: Text = ""
    key: PemSecret = None
    client_ca: Text = ""
    cert_file: str = ""
    key_file: str = ""
    client_auth_type: ClientAuth = "NoClientCert"
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()


class HttpServer(Struct, frozen=True, kw_only=True):
    """How HTTP is spoken; its headers are keys of their own."""

    http2: bool = False


class RateLimit(Struct, frozen=True, kw_only=True):
    """How many requests are answered, whoever asks."""

    interval: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            extra={"duration": True, "allowed": "a time, as 1s, 500ms or 1m30s; 0 for no limit"},
        ),
    ] = 0.0
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class WebConfig(Struct, frozen=True, kw_only=True):
    """The file as a whole."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    rate_limit: RateLimit = RateLimit()
    basic_auth_users: dict[User, Hash] = field(default_factory=dict)


def leaves() -> tuple[Leaf, ...]:
    """Return every key that takes a value."""
    plain = (leaf for leaf in leaves_of(WebConfig) if leaf.path not in CHOSEN)
    headers = {HEADER + name: annotation for name, annotation in HEADERS.items()}
    return (*plain, *(leaf_of(path, annotation) for path, annotation in (CHOSEN | headers).items()))
