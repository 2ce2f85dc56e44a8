"""The annotations have the form by which the templates take them apart."""

from __future__ import annotations

import re

import pytest

from tests.contract.rules import Rule, alerts

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("one", alerts(), ids=str)
def test_a_fix_says_what_to_do_now_and_what_for_good(one: Rule) -> None:
    text = " ".join(one.annotations["fix"].split())
    assert re.match(r"Now( and for good)?\b[:,]", text)
    assert len(re.findall(r"\bfor good\b", text, re.IGNORECASE)) == 1
    assert re.search(r"^Now and for good\b|\sFor good\b[:,]", text)


@pytest.mark.parametrize("one", alerts(), ids=str)
def test_texts_are_sentences_that_may_be_wrapped_anew(one: Rule) -> None:
    for name in ("summary", "description", "diagnosis", "fix"):
        text = one.annotations[name]
        assert not re.search(r"\n\s*\n|\n\s*([-*]|\d+\.)\s", text), f"{name} has a list or paragraphs"
