"""How many pictures run together: a number that was asked for, or one that is found while they run."""

from __future__ import annotations

from typing import Any

AUTO = 'auto'
_LARGEST = 64
_TRIES = 2  # batches of a size before it is judged
_GAIN = 0.95  # a size must take less than this part of the time of the one before
_ROOM = 0.25  # of the free memory that the next size may take


class BatchSize:
    """How many pictures of one shape run together.

    ``auto`` doubles the number as long as that makes a picture cheaper and memory suffices, and then stays. Where the
    device's memory does not take a batch, the number is halved.

    Args:
        asked: A number, or ``auto``.

    Attributes:
        now: How many at present.
    """

    def __init__(self, asked: int | str = 1) -> None:
        self.now = 1 if asked == AUTO else int(asked)
        self._searching = asked == AUTO
        self._best: float | None = None
        self._seen: list[float] = []
        self._warm = False

    def took(self, count: int, seconds: float) -> None:
        """Note that each of ``count`` pictures took so long."""
        if not self._searching or count != self.now:
            return
        if not self._warm:  # the first run of a model encodes text and fills caches
            self._warm = True
            return
        self._seen.append(seconds)
        if len(self._seen) < _TRIES:
            return
        fastest, self._seen = min(self._seen), []
        if self._best is not None and fastest > _GAIN * self._best:
            self.now, self._searching = max(1, self.now // 2), False
        elif self.now >= _LARGEST or not _has_room(self.now):
            self._searching = False
        else:
            self._best, self.now = fastest, 2 * self.now

    def shrinks(self, error: Exception, count: int) -> bool:
        """Whether an error says that memory did not take ``count`` pictures, and fewer are tried from now on."""
        import sys

        torch: Any = sys.modules.get('torch')
        if torch is None or count < 2 or not isinstance(error, torch.OutOfMemoryError):
            return False
        self.now, self._searching = count // 2, False
        torch.cuda.empty_cache()
        return True


def _has_room(size: int) -> bool:
    """Whether a batch twice as large may be tried: the process has not yet taken a large part of the memory."""
    try:
        with open('/proc/meminfo', encoding='ascii') as file:  # noqa: PTH123
            facts = dict(line.split(':', 1) for line in file)
        free = int(facts['MemAvailable'].split()[0]) * 1024
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    except (ImportError, OSError, KeyError, ValueError):  # no Linux: nobody knows, so small sizes only
        return size < 8
    return peak < _ROOM * free or size < 4
