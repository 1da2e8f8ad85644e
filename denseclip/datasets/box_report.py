"""What the look through boxes found, what it suggests, and how it reads as text."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from denseclip.datasets.audit_report import Problem, TurnedPictures, render_problems
from denseclip.files.names import shown

SIZE_LIMITS = {'small': 32.0**2, 'medium': 96.0**2, 'large': math.inf}
"""Largest area in pixels of COCO's three sizes of object."""


@dataclass
class ClassCount:
    """Boxes of a class.

    Attributes:
        boxes: All that training uses.
        pictures: Pictures that hold at least one.
        crowd: Crowd regions, which training ignores.
        difficult: Those of them that VOC's files mark difficult.
        plain: Objects that are no crowd, those with a fault included.
        sizes: Boxes of each of COCO's sizes.
    """

    boxes: int = 0
    pictures: int = 0
    crowd: int = 0
    difficult: int = 0
    plain: int = 0
    sizes: Counter[str] = field(default_factory=Counter)


@dataclass
class BoxAuditReport:
    """Findings of :func:`denseclip.datasets.box_audit.audit_boxes`.

    Attributes:
        classes: By name, in the order of the data set.
        num_samples: Pictures that the annotation file lists.
        empty: Those without a box.
        most: Most boxes of one picture.
        unused: Boxes of categories that the data set does not have, by name.
        absent: Classes that are no category of the file.
        problems: All problems, in the order of the file.
        turns: Pictures with an EXIF orientation.
    """

    classes: dict[str, ClassCount]
    num_samples: int = 0
    empty: int = 0
    most: int = 0
    unused: Counter[str] = field(default_factory=Counter)
    absent: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    turns: TurnedPictures = field(default_factory=TurnedPictures)

    @property
    def ok(self) -> bool:
        """Whether training can start: there are boxes and nothing is wrong with them."""
        return any(count.boxes for count in self.classes.values()) and not self.problems

    def suggestions(self) -> list[str]:
        """Likely causes of what was found and what to do, one line each."""
        found = []
        if self.unused:
            listed = ', '.join(f'{name} ({count})' for name, count in self.unused.most_common(8))
            found.append(f'boxes of categories that the config does not name are left out: {listed}')
        without = [name for name, count in self.classes.items() if not count.boxes]
        if without and self.num_samples:
            found.append(f'no box of: {", ".join(without[:8])}; their AP is undefined and left out of the mean')
        if self.absent:
            found.append(f'no category of the file is called: {", ".join(self.absent[:8])}; is that so, or misspelt?')
        found += self._left_out()
        if self.num_samples and self.empty > self.num_samples / 2:
            found.append(f'{self.empty} of {self.num_samples} pictures have no box: is that so, or are files missing?')
        return found + self.turns.hints()

    def _left_out(self) -> list[str]:
        """Objects that are marked so that training and scores leave them out, by what marked them."""
        found = []
        difficult = sum(count.difficult for count in self.classes.values())
        crowds = sum(count.crowd for count in self.classes.values()) - difficult
        objects = difficult + crowds + sum(count.boxes for count in self.classes.values())
        if difficult:
            found.append(
                f'{difficult} of {objects} objects are marked difficult, which training and scores leave out, as '
                "MMDetection's reader of VOC does; --crowds objects takes them in"
            )
        for name, count in self.classes.items():
            if count.difficult and not count.plain:
                found.append(f'all objects of {name} are marked difficult, so nothing is learnt of it')
        if crowds:
            found.append(
                f'{crowds} of {objects} objects are marked iscrowd=1, which training and scores leave out; some tools '
                'mark every mask so (CVAT, Datumaro), or every mask with a hole (supervision): '
                '`denseclip new-dataset --crowds objects` takes the mark off'
            )
        return found

    def render(self, *, max_problems: int = 20) -> str:
        """The report as text: table of classes, problems (at most ``max_problems`` lines of each kind), advice."""
        lines = [
            f'{self.num_samples} pictures, {self.empty} of them without a box, at most {self.most} boxes in one',
            '',
        ]
        width = max(map(len, ('class', *map(shown, self.classes))))
        head = ''.join(f'{name:>8}' for name in SIZE_LIMITS)
        lines.append(f'{"class":<{width}}  {"boxes":>8}  {"pictures":>8}  {"crowd":>6}{head}')
        for name, count in self.classes.items():
            sizes = ''.join(f'{count.sizes[size]:>8}' for size in SIZE_LIMITS)
            lines.append(f'{shown(name):<{width}}  {count.boxes:>8}  {count.pictures:>8}  {count.crowd:>6}{sizes}')
        lines += render_problems(self.problems, max_problems)
        lines += ['', *(f'HINT {shown(line)}' for line in self.suggestions())] if self.suggestions() else []
        return '\n'.join([*lines, '', 'OK' if self.ok else 'NOT OK'])
