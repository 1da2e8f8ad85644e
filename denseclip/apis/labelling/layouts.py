"""The table of layouts that labels are written in. A new layout is a few functions and a row here.

Files of a picture are made when it is finished; files of the whole set when all pictures are, from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from denseclip.apis.errors import UserError
from denseclip.apis.labelling import coco, shape_files, tables, tool_files
from denseclip.apis.labelling.store import Record, Run
from denseclip.files.names import shown

Files = Iterable[tuple[str, 'bytes | str']]
"""Names in the labelled folder, with slashes, and contents."""


@dataclass(frozen=True)
class Layout:
    """A way to write labels.

    Attributes:
        name: What ``--to`` calls it.
        place: Where a picture goes, by its file and its split.
        of_picture: Files of a picture.
        of_set: Files of the whole set.
        needs_masks: Whether boxes alone cannot be written so.
        refused: Names that its readers take for no class.
        follows_links: Whether its readers follow links that lead out of the folder.
    """

    name: str
    place: Callable[[str, str], str]
    of_picture: Callable[[Record, Run], Files]
    of_set: Callable[[Sequence[Record], Run], Files]
    needs_masks: bool = False
    refused: tuple[str, ...] = ()
    follows_links: bool = True

    def check(self, run: Run) -> None:
        """Refuse classes that the layout cannot hold.

        Raises:
            UserError: If there are such.
        """
        for name in run.names:
            if name.casefold() in self.refused:
                raise UserError(f"readers of {self.name} take '{name}' for no class; call the class otherwise.")
            if not name.isprintable():
                raise UserError(f"the class '{shown(name)}' has invisible characters; write it without.")
        count = len(tables.mask_names(run))
        if self.name == 'masks' and count > tables.MOST_CLASSES:
            more = ' with the background' if run.background else ''
            raise UserError(
                f'label maps of one byte hold {tables.MOST_CLASSES} classes, here are {count}{more}; take --to coco.'
            )


def _below(folder: str) -> Callable[[str, str], str]:
    return lambda file, split: folder + file


_IMAGES = _below('images/')

LAYOUTS: dict[str, Layout] = {
    row.name: row
    for row in (
        Layout('coco', _IMAGES, coco.of_picture, coco.of_set),
        Layout('yolo', _IMAGES, tables.yolo_picture, tables.yolo_set),
        Layout('voc', _below('JPEGImages/'), shape_files.voc_picture, tables.class_list),
        Layout(
            'masks',
            _IMAGES,
            tables.mask_picture,
            tables.mask_set,
            needs_masks=True,
            refused=('__ignore__',),
        ),
        Layout(
            'labelme',
            _below(''),
            shape_files.labelme_picture,
            tables.class_list,
            refused=('__ignore__', '_background_'),
        ),
        Layout('cvat', _IMAGES, tool_files.nothing, tool_files.cvat_set),
        Layout('datumaro', tool_files.datumaro_place, tool_files.nothing, tool_files.datumaro_set, follows_links=False),
        Layout('label-studio', _IMAGES, tool_files.nothing, tool_files.label_studio_set),
        Layout('fiftyone', tool_files.fiftyone_place, tool_files.nothing, tool_files.fiftyone_set),
    )
}
