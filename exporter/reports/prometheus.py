"""Asks a Prometheus, or what answers as one (Thanos, Mimir, VictoriaMetrics), in bounded time."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import requests
from requests import PreparedRequest, Response

from exporter import __version__
from exporter.collector import Reason, SourceError
from exporter.reports.terminal import printable
from exporter.settings import Prometheus as Settings

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
# The rules of a large site are some megabytes.
LARGEST = 64 << 20
LOGIN = "Set prometheus.username with prometheus.password_file, or prometheus.token_file."


class Series(NamedTuple):
    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Answers queries as of one moment; each failure is a SourceError that says what to set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url = settings.url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"mlflow-exporter/{__version__}"

    def close(self) -> None:
        self._session.close()

    def vector(self, query: str, at: float) -> list[Series]:
        """Return the elements of an instant vector."""
        data = self._get("query", {"query": query, "time": f"{at:.3f}", "timeout": f"{ANSWER_SECONDS:g}s"})
        try:
            return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]
        except (KeyError, TypeError, ValueError, IndexError):
            raise self._stranger() from None

    def alerting_rules(self) -> list[Mapping[str, Any]]:
        """Return the alerts that are loaded, of all files; some that answer as a Prometheus know none."""
        groups = self._get("rules", {"type": "alert"}).get("groups")
        if not isinstance(groups, list):
            raise self._stranger()
        rules = (rule for group in groups if isinstance(group, dict) for rule in group.get("rules") or ())
        return [rule for rule in rules if isinstance(rule, dict) and isinstance(rule.get("query"), str)]

    def _get(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        deadline = time.monotonic() + CONNECT_SECONDS + ANSWER_SECONDS
        try:
            with self._session.get(
                f"{self.url}/api/v1/{path}",
                params=asked,
                auth=self.sign,
                # Here, as the session's gives way to REQUESTS_CA_BUNDLE.
                verify=self._settings.ca_file or True,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as answer:
                return self._data(answer, _body(answer, deadline))
        except requests.Timeout:
            raise SourceError(Reason.TIMEOUT, f"{self.url} did not answer in time") from None
        except requests.exceptions.SSLError as error:
            remedy = "Set prometheus.ca_file to the CA that has signed its certificate."
            raise SourceError(Reason.UNREACHABLE, f"{self.url}: TLS: {_cause(error)}", remedy) from None
        except (requests.RequestException, OSError) as error:
            raise SourceError(
                Reason.UNREACHABLE, f"{self.url}: {_cause(error)}", "Give --prometheus its base URL."
            ) from None

    def sign(self, request: PreparedRequest) -> PreparedRequest:
        """Sign in with what is set, and with nothing from ~/.netrc."""
        settings = self._settings
        if token := _credential("prometheus.token", settings.token, settings.token_file):
            if not (token.isascii() and token.isprintable()):  # `requests` quotes a header that it refuses
                raise SourceError(
                    Reason.UNSUPPORTED, "prometheus.token has characters that no header can carry"
                )
            request.headers["Authorization"] = f"Bearer {token}"
        elif settings.username:
            password = _credential("prometheus.password", settings.password, settings.password_file)
            pair = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
            request.headers["Authorization"] = f"Basic {pair}"
        return request

    def _data(self, answer: Response, body: bytes) -> dict[str, Any]:
        if answer.status_code in (401, 403):
            detail = f"{self.url} asks for a login, or refuses the one that is set: {answer.status_code}"
            raise SourceError(Reason.PERMISSION, detail, LOGIN)
        if answer.is_redirect:
            target = urlsplit(answer.headers["location"])
            place = f"{target.scheme}://{target.netloc}" if target.netloc else target.path
            raise self._stranger(f"leads to {printable(place, 80)}, which may be a page to sign in")
        try:
            said = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise self._stranger(f"answers {answer.status_code} with no JSON") from None
        if isinstance(said, dict) and said.get("status") == "error":
            raise SourceError(
                Reason.BAD_ANSWER, f"{self.url} refuses a query: {printable(said.get('error'), 300)}"
            )
        if not isinstance(said, dict) or not isinstance(data := said.get("data"), dict):
            raise self._stranger(f"answers {answer.status_code} without data")
        return data

    def _stranger(self, why: str = "answers otherwise") -> SourceError:
        return SourceError(
            Reason.BAD_ANSWER,
            f"{self.url} is no Prometheus, or not at this path: it {why}",
            "Give --prometheus the URL below which /api/v1/query is: Mimir's ends with /prometheus.",
        )


def matching(name: str, labels: Mapping[str, str]) -> str:
    """Return a selector for these labels, as PromQL."""
    return f"{name}{{{', '.join(f'{key}={quoted(value)}' for key, value in labels.items())}}}"


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def either(values: Iterable[str]) -> str:
    """Return what stands between the quotes of =~ for exactly these values."""
    exact = "|".join(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value) for value in values)
    return quoted(exact)[1:-1]


def _body(answer: Response, deadline: float) -> bytes:
    """Read it whole; `requests` bounds each read only."""
    read = bytearray()
    for chunk in answer.iter_content(1 << 16):
        read += chunk
        if time.monotonic() > deadline or len(read) > LARGEST:
            raise requests.Timeout
    return bytes(read)


def _credential(name: str, given: Any, file: str) -> str:
    text = given.reveal() if given else ""
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(Reason.PERMISSION, f"{name}_file: {type(error).__name__}") from None
    return text


def _cause(error: BaseException) -> str:
    """Return the system's own words, from within what two libraries have wrapped around them."""
    found: BaseException | None = error
    while found is not None:
        with suppress(AttributeError, IndexError):
            if isinstance(found, OSError) and found.strerror:
                return found.strerror
        inner = [one for one in found.args if isinstance(one, BaseException)]
        reason = getattr(found, "reason", None)
        inner += [reason] if isinstance(reason, BaseException) else []
        found = inner[0] if inner else found.__cause__ or found.__context__
    return type(error).__name__
