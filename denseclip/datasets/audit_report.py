"""What the look through a data set found, what it suggests, and how it reads as text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from denseclip.datasets.files import PictureSize
from denseclip.files.names import shown


@dataclass(frozen=True)
class Problem:
    """Something that training would stumble over.

    Attributes:
        kind: ``'missing'``, ``'unpaired'``, ``'unreadable'``, ``'size'``, ``'ids'``, ``'empty'`` or ``'repeated'``.
        message: One line that names the file.
        path: A file whose being there is the problem, for those that are written down.
    """

    kind: str
    message: str
    path: str = ''


def render_problems(problems: Sequence[Problem], max_problems: int) -> list[str]:
    """Lines that list problems kind by kind, at most ``max_problems`` of each."""
    lines = []
    for kind, count in Counter(problem.kind for problem in problems).items():
        lines += ['', f'PROBLEM {kind}: {count}']
        messages = [problem.message for problem in problems if problem.kind == kind]
        lines += [f'  {shown(message)}' for message in messages[:max_problems]]
        lines += [f'  ... and {count - max_problems} more'] if count > max_problems else []
    return lines


@dataclass
class TurnedPictures:
    """Pictures that carry an EXIF orientation, and whether sizes tell if what was made for them was turned with them.

    Attributes:
        decided: Pictures whose sides change places; annotations of the wrong size are a problem of their own.
        doubtful: Square ones and those turned by 180 degrees or mirrored: the size is the same either way.
        first: The first doubtful one.
    """

    decided: int = 0
    doubtful: int = 0
    first: str = ''

    def add(self, path: str, size: PictureSize) -> None:
        """Count a picture."""
        if size.orientation == 1:
            return
        if size.upright != size.stored:
            self.decided += 1
            return
        self.doubtful += 1
        self.first = self.first or path

    def hints(self) -> list[str]:
        """A line where no size of the set tells on which picture it was annotated."""
        if self.decided or not self.doubtful:
            return []
        return [
            f'{self.doubtful} picture(s) carry an EXIF orientation that their size does not show, the first is '
            f'{self.first}: training turns them, so look whether their annotations lie on the turned picture'
        ]


@dataclass
class AuditReport:
    """Findings of :func:`denseclip.datasets.audit.audit_dataset`.

    Attributes:
        classes: Names of the classes.
        reduce_zero_label: Whether the loader ignores id 0 and shifts the rest down by one.
        num_samples: Samples that the data set lists.
        problems: All problems, in the order of the files.
        class_pixels: Pixels of each class, shape (K,).
        class_files: Files that hold each class, shape (K,).
        ignored_pixels: Pixels that training ignores.
        wrong_pixels: Pixels of each id (as it stands in the files) that is out of range.
        file_ids: Pixels of each id as it stands in the files.
        sizes: How many pictures have each (height, width).
        turns: Pictures with an EXIF orientation.
    """

    classes: tuple[str, ...]
    reduce_zero_label: bool = False
    num_samples: int = 0
    problems: list[Problem] = field(default_factory=list)
    class_pixels: np.ndarray = field(init=False)
    class_files: np.ndarray = field(init=False)
    ignored_pixels: int = 0
    wrong_pixels: Counter[int] = field(default_factory=Counter)
    file_ids: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    turns: TurnedPictures = field(default_factory=TurnedPictures)

    def __post_init__(self) -> None:
        self.class_pixels = np.zeros(len(self.classes), dtype=np.int64)
        self.class_files = np.zeros(len(self.classes), dtype=np.int64)

    @property
    def ok(self) -> bool:
        """Whether training can start: there are samples and nothing is wrong with them."""
        return self.num_samples > 0 and not self.problems

    @property
    def num_pixels(self) -> int:
        """Pixels of all label maps that could be read."""
        return int(self.class_pixels.sum()) + self.ignored_pixels + sum(self.wrong_pixels.values())

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without a single pixel."""
        return tuple(name for name, pixels in zip(self.classes, self.class_pixels, strict=True) if pixels == 0)

    def suggestions(self) -> list[str]:
        """Likely causes of what was found and what to do, one line each."""
        found = []
        num_classes = len(self.classes)
        wrong = set(self.wrong_pixels)
        if wrong == {num_classes} and not self.reduce_zero_label:
            found.append(
                f'ids run from 0 to {num_classes}, one past the last class: if 0 means "no class" the ids are shifted '
                f'by one and the data set wants reduce_zero_label=True; if {num_classes} means "no class", map it to '
                '255'
            )
        elif wrong and max(wrong) > 255:
            found.append('ids above 255: the loader cuts them to one byte, so write the label maps anew with class ids')
        elif wrong:
            found.append(
                f'ids out of range: either the class list ({num_classes} names) is too short, or these ids should be '
                'mapped to 255 (ignored) when the data set is converted'
            )
        if self._looks_reduced_wrongly():
            found.append(
                f'reduce_zero_label ignores id 0 ({self._share(self.file_ids[0])} of the pixels) and the last class '
                f'{self.classes[-1]!r} never appears: if id 0 is the class {self.classes[0]!r}, set '
                'reduce_zero_label=False'
            )
        if any('channels' in problem.message for problem in self.problems if problem.kind == 'unreadable'):
            found.append('some label maps hold colours: convert them to one id a pixel, or check the folder names')
        if self.num_pixels and self.ignored_pixels > self.num_pixels / 2:
            found.append(f'{self._share(self.ignored_pixels)} of the pixels are ignored: is the class list complete?')
        if self.file_ids and min(self.file_ids) > 0 and self.classes[0] in self.absent:
            found.append(
                f'no label map holds the id 0, which is {self.classes[0]!r}: do the ids begin with '
                f'{min(self.file_ids)}? Then denseclip new-dataset with --ids and the id of each class'
            )
        if self.absent and self.num_pixels:
            shown = ', '.join(self.absent[:8]) + (f' and {len(self.absent) - 8} more' if len(self.absent) > 8 else '')
            found.append(f'no pixel of: {shown}; their IoU will be undefined (nan) or zero')
        return found + self.turns.hints()

    def render(self, *, max_problems: int = 20) -> str:
        """The report as text: table of classes, problems (at most ``max_problems`` lines of each kind), advice."""
        lines = [f'{self.num_samples} samples, {self.num_pixels} labelled pixels, sizes (h x w): {self._sizes()}', '']
        names = [shown(name) for name in self.classes]
        width = max(map(len, (*names, 'out of range')))
        lines.append(f'{"id":>4}  {"class":<{width}}  {"pixels":>9}  {"files":>7}')
        for index, name in enumerate(names):
            share = self._share(int(self.class_pixels[index]))
            lines.append(f'{index:>4}  {name:<{width}}  {share:>9}  {self.class_files[index]:>7}')
        lines.append(f'{"":>4}  {"ignored":<{width}}  {self._share(self.ignored_pixels):>9}')
        if self.wrong_pixels:
            lines.append(f'{"":>4}  {"out of range":<{width}}  {self._share(sum(self.wrong_pixels.values())):>9}')
            ids = ', '.join(f'{i} ({self._share(n)})' for i, n in sorted(self.wrong_pixels.items())[:20])
            lines.append(f'      ids of the files out of range: {ids}')
        lines += render_problems(self.problems, max_problems)
        lines += ['', *(f'HINT {shown(line)}' for line in self.suggestions())] if self.suggestions() else []
        lines += [
            '',
            'OK' if self.ok else f'{len(self.problems)} problem(s): training on this data set would fail or mislead',
        ]
        return '\n'.join(lines)

    def _looks_reduced_wrongly(self) -> bool:
        """Id 0 is dropped though the ids end one too early, which happens when 0 was a class."""
        if not self.reduce_zero_label or not self.file_ids or not self.file_ids[0]:
            return False
        return bool(self.class_pixels[-1] == 0 and self.class_pixels[:-1].all())

    def _share(self, pixels: int) -> str:
        return f'{100 * pixels / max(1, self.num_pixels):.3f} %'

    def _sizes(self) -> str:
        shown = ', '.join(f'{h} x {w} ({n})' for (h, w), n in self.sizes.most_common(3))
        more = len(self.sizes) - 3
        return f'{shown} and {more} more' if more > 0 else shown or 'none'
