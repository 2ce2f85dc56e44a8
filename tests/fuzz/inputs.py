"""Inputs that many properties take: any text or bytes, pieces put together, and real ones cut and changed."""

from __future__ import annotations

import string
from collections.abc import Sequence

from hypothesis import strategies as st

# Lone surrogates too: Python makes them of bytes that are not UTF-8.
anything = st.text(st.characters(exclude_categories=()), max_size=200)
printable = st.text(string.printable, max_size=80)


def joined(parts: Sequence[str], most: int) -> st.SearchStrategy[str]:
    """Return pieces of a language in any order, now and then with others between them."""
    piece = st.one_of(st.sampled_from(parts), st.sampled_from(parts), st.text(max_size=5))
    return st.lists(piece, max_size=most).map("".join)


@st.composite
def mutated(draw: st.DrawFn, texts: Sequence[str], parts: Sequence[str] = ("",)) -> str:
    """Return a real text, cut off, with pieces taken out, doubled, moved or put in."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
        piece = text[start : start + length]
        match draw(st.integers(0, 4)):
            case 0:
                text = text[:start]
            case 1:
                text = text[:start] + text[start + length :]
            case 2:
                text = text[:start] + piece * draw(st.integers(2, 40)) + text[start + length :]
            case 3:
                text = text[:start] + draw(st.sampled_from(parts)) + text[start:]
            case _:
                text = text[:start] + draw(st.text(max_size=8)) + text[start + length :]
    return text


@st.composite
def mutated_bytes(draw: st.DrawFn, texts: Sequence[bytes]) -> bytes:
    """Return the bytes of a real file, cut off, with bytes changed, taken out, doubled or put in."""
    text = draw(mutated([one.decode("latin-1") for one in texts], BYTES))
    return text.encode("latin-1", "replace")


BYTES = (
    *(
        "\0",
        "\n",
        " ",
        ":",
        "-",
        "0",
        "9" * 26,
        "9" * 400,
        "9" * 5_000,
        "\xff",
        "max",
        "(",
        ")",
        "\t",
        "²",
        "1_0",
        "+1",
    ),
)

# Letters that no message of ours has six of in a row, and whatever means something to YAML, URIs, libpq or a shell.
SECRET = "QZ57"
SIGNS = (
    *"Ж@:/?#%&='\" \\,{}[]+;!$*|<>~`-.^()_",
    *(", ", ": ", " #", "%40", "\\'", "://", "@h/", " x="),
)
secrets = st.lists(
    st.one_of(st.text(SECRET, min_size=1, max_size=4), st.sampled_from(SIGNS)), min_size=3, max_size=10
).map(lambda parts: f"QZ57{''.join(parts)}57Z")


def fragments(secret: str, text: str, size: int = 6) -> list[str]:
    """Return the pieces of a secret of that length, three of its letters in them, that a text shows."""
    pieces = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    return [one for one in pieces if sum(one.count(sign) for sign in SECRET) > 2 and one in text]
