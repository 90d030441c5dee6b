"""Stopping a run from outside: the first signal asks, the second one does not."""

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Turns SIGINT and SIGTERM into a request that the loop looks at between steps.

    Attributes:
        requested: Name of the signal that came, or "".
    """

    def __init__(self) -> None:
        self.requested = ""

    def __enter__(self) -> "StopSignal":
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
