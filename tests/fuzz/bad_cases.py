"""What ``bad_inputs.py`` tries: one bad input each, and what the world of files holds for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL_CLIP = f'local-dir:{ROOT / "checkpoints/miniworld_clip"}'
CAMVID = f'{ROOT}/configs/denseclip/denseclip_fpn_efficientnet-lite0_camvid-320x400.py'


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        group: Command, tool or function.
        label: What is bad about it.
        run: Arguments with ``{w}`` for the world's folder; or a call that takes that folder.
        refuse: Whether it must be refused; otherwise both answers are right.
        target: File or folder, relative to where the command runs, that a refusal must not leave.
        code: The exit code of a refusal.
    """

    group: str
    label: str
    run: tuple[str, ...] | Callable[[Path], Any]
    refuse: bool = True
    target: str = ''
    code: int = 2


@dataclass(frozen=True)
class Names:
    """What the world holds that is damaged: names of files and folders, each with one that does not exist."""

    pictures: tuple[str, ...]
    weights: tuple[str, ...]
    words: tuple[str, ...]
    configs: tuple[str, ...]
    changed: tuple[str, ...]
    boxes: tuple[str, ...]
    maps: tuple[str, ...]

    @classmethod
    def of(cls, world: Path) -> Names:
        """The names, from what is there."""
        harmless = 'good.png good.jpg cut.jpg flipped.png dot.png empty_folder'
        readable = 'good.txt latin.txt utf16.txt controls.txt ragged.csv long.txt nested.json'
        sound = 'good voc_good names_outside names_absolute annotation_ids_twice segmentation_text segmentation_odd'
        return cls(
            pictures=_listed(world / 'pictures', harmless, 'gone.png'),
            weights=_listed(world / 'weights', '', 'gone.pth'),
            words=_listed(world / 'words', readable, 'gone.txt'),
            configs=_listed(world / 'configs', 'scope.py', 'gone.py'),
            changed=_listed(world / 'changed', ''),
            boxes=_listed(world / 'boxes', sound),
            maps=_listed(world / 'maps', 'good'),
        )


def _listed(folder: Path, without: str, *more: str) -> tuple[str, ...]:
    return (*(name for name in sorted(p.name for p in folder.iterdir()) if name not in without.split()), *more)


def case(group: str, label: str, line: str, *more: str, **options: Any) -> Case:
    """A case from a line of arguments without blanks in them, and more arguments."""
    return Case(group, label, (*line.split(), *more), **options)


def counted(cases: Iterable[Case]) -> list[Case]:
    """The cases as a list; two of one name would hide each other in the report."""
    found = list(cases)
    double = [name for name, count in Counter((one.group, one.label) for one in found).items() if count > 1]
    if double:
        raise ValueError(f'cases of one name: {double}')
    return found
