"""From the web config file to who may come in; every fault with its line."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.access.bucket import Bucket
from exporter.access.gate import Gate
from exporter.access.keys import HEADER, WebConfig, leaves
from exporter.access.tls import Tls, TlsError
from exporter.settings import SettingsError
from exporter.settings.derive import build
from exporter.settings.file import read
from exporter.settings.leaf import OF_FILES, Given, fault
from exporter.settings.rules import unreadable

TLS = "tls_server_config."
VERIFIED = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
# What other exporters can and Python's ssl module cannot, and what to write instead.
INSTEAD = {
    "RequestClientCert": "NoClientCert, which lets the same clients in, or VerifyClientCertIfGiven",
    "RequireAnyClientCert": "RequireAndVerifyClientCert with client_ca_file",
    "RequireClientCert": "RequireAndVerifyClientCert with client_ca_file",
}


def load(path: Path) -> Gate:
    """Return what the file says; raises SettingsError with every fault."""
    reading = read(path, leaves())
    given, faults = dict(reading.given), [*reading.faults]
    if not faults and not given:
        # Else a file that is being written would open the door for a moment.
        faults.append(fault(str(path), "nothing", "tls_server_config, basic_auth_users or another section"))
    faults += _together(given)
    if faults:
        raise SettingsError(tuple(faults))
    config = build(WebConfig, {name: one.value for name, one in given.items() if not name.startswith(HEADER)})
    try:
        return Gate(
            tls=Tls(config.tls_server_config) if _of_tls(given) else None,
            users={name.encode(): hashed.encode() for name, hashed in config.basic_auth_users.items()},
            headers={
                name.removeprefix(HEADER): str(one.value)
                for name, one in given.items()
                if name.startswith(HEADER)
            },
            limit=Bucket(1 / config.rate_limit.interval, config.rate_limit.burst)
            if config.rate_limit.interval
            else None,
            files=(
                str(path),
                *(str(one.value) for name, one in given.items() if name.endswith(OF_FILES) and one.value),
            ),
            clients=config.tls_server_config.client_auth_type if _of_tls(given) else "",
        )
    except TlsError as error:
        where = given[TLS + error.key].where
        raise SettingsError((fault(where, error.found, error.allowed),)) from None


def _of_tls(given: Mapping[str, Given]) -> dict[str, Given]:
    return {name.removeprefix(TLS): one for name, one in given.items() if name.startswith(TLS)}


def _together(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield the faults that no key has alone; a key that was refused already makes none here."""
    if keys := _of_tls(given):
        yield from _identity(keys)
        yield from _clients(keys)
        yield from _of_ssl(keys)
    for name, one in given.items():
        if name.endswith(OF_FILES) and isinstance(one.value, str) and one.value:
            yield from unreadable(one.where, Path(one.value))
    if (http2 := given.get("http_server_config.http2")) and http2.value:
        yield fault(http2.where, "true", "false, or no such key: only HTTP/1 is spoken here")
    if (interval := given.get("rate_limit.interval")) and interval.value and "rate_limit.burst" not in given:
        yield fault(interval.where, "alone", "with rate_limit.burst")
    if (users := given.get("basic_auth_users")) and users.value and not importlib.util.find_spec("bcrypt"):
        yield fault(
            users.where,
            "users, without the package bcrypt",
            "users where it is",
            "pip install '.[auth]' where the exporter's sources are",
        )


def _identity(keys: Mapping[str, Given]) -> Iterator[str]:
    for name in ("cert", "key", "client_ca"):
        if name in keys and f"{name}_file" in keys:
            yield fault(keys[name].where, f"beside {name}_file", "one of the two")
    first = next(iter(keys.values()))
    for name, file in (("cert", "cert_file"), ("key", "key_file")):
        given = [keys[one] for one in (name, file) if one in keys]
        if not given:
            yield fault(first.where, f"TLS without {file}", f"{file} or {name} beside it")
        elif given[0].value == "":
            yield fault(given[0].where, "an empty string", "a file" if file in keys else "text in PEM")


def _clients(keys: Mapping[str, Given]) -> Iterator[str]:
    where, kind = keys.get("client_auth_type", Given("", "NoClientCert"))
    authority = next((keys[name] for name in ("client_ca_file", "client_ca") if name in keys), None)
    if str(kind) in INSTEAD:
        yield fault(where, f"{kind}, which Python's ssl module cannot do", INSTEAD[str(kind)])
        return
    if kind in VERIFIED and (authority is None or authority.value == ""):
        yield fault(where, f"{kind} without client_ca_file", "client_ca_file or client_ca beside it")
    if kind == "NoClientCert" and authority is not None:
        yield fault(
            authority.where,
            "an authority of clients that are not asked for a certificate",
            "client_auth_type: RequireAndVerifyClientCert beside it",
        )
    names = keys.get("client_allowed_sans")
    if names and names.value and kind not in (None, "RequireAndVerifyClientCert"):
        yield fault(
            names.where, f"names beside {kind}", "client_auth_type: RequireAndVerifyClientCert beside them"
        )
    if names and names.value == ():
        yield fault(names.where, "an empty list", "a list of names, or no such key")


def _of_ssl(keys: Mapping[str, Given]) -> Iterator[str]:
    least, most = (
        keys.get(name, Given("", default))
        for name, default in (("min_version", "TLS12"), ("max_version", "TLS13"))
    )
    if (least.value, most.value) == ("TLS13", "TLS12"):
        yield fault(
            least.where,
            "TLS13 as min_version and TLS12 as max_version",
            "a least version that is not above the greatest",
        )
    curves = keys.get("curve_preferences")
    if curves and isinstance(curves.value, tuple) and len(curves.value) > 1:
        yield fault(
            curves.where,
            f"{len(curves.value)} curves, of which Python's ssl module can prefer one",
            "the first alone, or no such key",
        )
    suites = keys.get("cipher_suites")
    if suites and suites.value and least.value == "TLS13":
        yield fault(
            suites.where,
            "suites of TLS 1.2 beside min_version TLS13",
            "no such key: those of TLS 1.3 are always on",
        )
