"""Stopping a run from outside: the first signal asks, the second one does not."""

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks; batch systems send the last two ahead of a preemption or a time limit."""

received: list[str] = []
"""Names of the signals that have asked this process to stop, in their order."""


class StopSignal:
    """Turns signals into a request that the loop looks at between steps.

    Attributes:
        requested: Name of the signal that came, or "".
    """

    def __init__(self) -> None:
        self.requested = ""

    def __enter__(self) -> "StopSignal":
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self.previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        received.append(self.requested)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
