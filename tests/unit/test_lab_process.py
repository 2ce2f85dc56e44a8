"""What the lab's servers stand on, without a server."""

from __future__ import annotations

import signal

import pytest

from tests.lab.process import undisturbed

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_all_is_tidied_up(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    tidied = False
    try:
        with pytest.raises(KeyboardInterrupt), undisturbed():
            signal.raise_signal(number)
            signal.raise_signal(number)
            tidied = True
        assert tidied
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
