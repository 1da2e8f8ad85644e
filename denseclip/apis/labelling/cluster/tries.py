"""Marks that outlive a process: how often a shard was begun, and which picture was looked at when its process died.

A process that dies tells nobody why. So a shard leaves a mark when it is begun, and takes it away when it is finished.
From the third beginning on it goes picture by picture, and each that is looked at alone is marked before: the mark that
a dead process leaves behind names the picture. That takes one death where halving the shard takes one per half, and a
death costs a model that is loaded again. A picture that two processes died at is not looked at any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from denseclip.apis.labelling.cluster.places import TRIES, Place

MOST = 2
"""Deaths at a picture, and beginnings of a shard at full speed."""


@dataclass
class _Mark:
    """What is written down.

    Attributes:
        begun: How often the shard was begun.
        looking: The picture that is looked at; None: many at a time.
        deaths: Processes that died at a picture, by its place in the shard (JSON has text for keys).
        looks: How often a picture was looked at that has no result yet, by its place.
    """

    begun: int = 0
    looking: int | None = None
    deaths: dict[str, int] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)


class Tries:
    """The marks of a shard, which begins now.

    Args:
        place: The output.
        shard: Number of the shard.
    """

    def __init__(self, place: Place, shard: int) -> None:
        self._place, self._name = place, f'{TRIES}/{shard:08d}.json'
        content = place.get(self._name)
        self._mark = _Mark() if content is None else _Mark(**json.loads(content))
        self._mark.begun += 1
        if self._mark.looking is not None:
            last = str(self._mark.looking)
            self._mark.deaths[last] = self._mark.deaths.get(last, 0) + 1
            self._mark.looking = None
        self._write()

    @property
    def careful(self) -> bool:
        """Whether processes die of this shard, so that pictures are looked at one by one."""
        return self._mark.begun > MOST

    def fatal(self, index: int) -> bool:
        """Whether a picture kills processes."""
        return self._mark.deaths.get(str(index), 0) >= MOST

    def count(self, indices: Iterable[int]) -> None:
        """Note that pictures are looked at, together."""
        for index in indices:
            self._mark.looks[str(index)] = self.looks(index) + 1

    def looks(self, index: int) -> int:
        """How often a picture without a result was looked at; of a process that died only what it has marked."""
        return self._mark.looks.get(str(index), 0)

    def found(self, index: int) -> None:
        """Note that a picture has a result."""
        self._mark.looks.pop(str(index), None)

    def look(self, index: int) -> None:
        """Note that a picture is looked at alone, and mark it."""
        self.count([index])
        self._mark.looking = index
        self._write()

    def rest(self) -> None:
        """Note that no picture is looked at."""
        if self._mark.looking is not None:
            self._mark.looking = None
            self._write()

    def alive(self) -> None:
        """An error ends this beginning and no death: no picture is to blame, whatever the marks could say by now."""
        self._mark.looking = None
        try:
            self._write()
        except Exception:  # no room, or no answer; a mark that is gone convicts nobody either
            with suppress(Exception):
                self.clear()

    def clear(self) -> None:
        """Take the mark away: the shard is finished."""
        self._place.remove(self._name)

    def _write(self) -> None:
        self._place.put(self._name, json.dumps(asdict(self._mark)).encode('ascii'))
