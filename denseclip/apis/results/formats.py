"""The table of files that results can be written to. A new format is a function and a row here.

Nothing heavy is imported at module level: ``--help`` shows the names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.results.sheets import Place, sheet_of

KINDS = ('semantic', 'panoptic', 'instance', 'anomaly')
Content = Callable[[Any, Place], 'bytes | str']


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: What ``--formats`` and ``formats=`` call it.
        kinds: Results that can be written so, see ``Result.kind``.
        ending: What the file's name has after the picture's.
        content: Takes the result and where the file is going to lie; returns the file's content.
        line: What it is, in a few words.
        usual: Whether it is written when nothing is chosen.
    """

    name: str
    kinds: tuple[str, ...]
    ending: str
    content: Content
    line: str
    usual: bool = False


def _overlay(result: Any, place: Place) -> bytes:
    del place
    return _png(result.overlay())


def _label_png(result: Any, place: Place) -> bytes:
    from denseclip.visualization.label_png import encode_label_png

    del place
    return encode_label_png(result.label_map, result.names, result.palette)


def _areas_csv(result: Any, place: Place) -> str:
    del place
    return result.areas_csv()


def _panoptic_png(result: Any, place: Place) -> bytes:
    from PIL import Image

    from denseclip.structures.panoptic import ids_to_rgb

    del place
    return _png(Image.fromarray(ids_to_rgb(result.ids)))


def _panoptic_json(result: Any, place: Place) -> str:
    del place
    return _json(result.segments_info())


def _boxes_json(result: Any, place: Place) -> str:
    del place
    height, width = result.image.shape[:2]
    return _json({'width': width, 'height': height, 'classes': list(result.names), 'objects': result.to_list()})


def _defect_mask(result: Any, place: Place) -> bytes:
    import numpy as np
    from PIL import Image

    del place
    return _png(Image.fromarray(result.mask().astype(np.uint8) * np.uint8(255)))


def _raw_map(result: Any, place: Place) -> bytes:
    from PIL import Image

    del place
    return _encoded(Image.fromarray(result.anomaly_map), 'TIFF')


def _result_json(result: Any, place: Place) -> str:
    del place
    return _json(result.to_dict())


def _coco_json(result: Any, place: Place) -> str:
    from denseclip.apis.results.exchange import coco_data

    return _json(coco_data(result, name=place.name))


def _labelme_json(result: Any, place: Place) -> str:
    from denseclip.apis.results.exchange import labelme_data

    return _json(labelme_data(result, place))


def _cvat_xml(result: Any, place: Place) -> bytes:
    from denseclip.apis.results.cvat import cvat_xml

    return cvat_xml([sheet_of(result, place)], result.names)


def _datumaro_json(result: Any, place: Place) -> str:
    from denseclip.apis.results.datumaro import datumaro_data

    return _json(datumaro_data([sheet_of(result, place)], result.names))


def _label_studio_json(result: Any, place: Place) -> str:
    from denseclip.apis.results.label_studio import tasks

    return _json(tasks([sheet_of(result, place)], result.names))


FORMATS: tuple[Format, ...] = (
    Format('overlay', ('semantic', 'panoptic'), '_overlay.png', _overlay, 'the picture, coloured', usual=True),
    Format('overlay', ('instance',), '_boxes.png', _overlay, 'the picture with boxes and masks', usual=True),
    Format('overlay', ('anomaly',), '_heat.png', _overlay, 'the picture with a heat map', usual=True),
    Format('labels', ('semantic',), '_labels.png', _label_png, 'a class number per pixel, names inside', usual=True),
    Format('areas', ('semantic',), '_areas.csv', _areas_csv, 'pixels and share of each class', usual=True),
    Format('labels', ('panoptic',), '_panoptic.png', _panoptic_png, "segment ids, COCO's panoptic PNG", usual=True),
    Format('segments', ('panoptic',), '_panoptic.json', _panoptic_json, "COCO's list of segments", usual=True),
    Format('objects', ('instance',), '_boxes.json', _boxes_json, 'boxes, masks and scores', usual=True),
    Format('mask', ('anomaly',), '_mask.png', _defect_mask, 'defects in white', usual=True),
    Format('map', ('anomaly',), '_map.tiff', _raw_map, 'raw score of each pixel, float32', usual=True),
    Format('json', KINDS, '_result.json', _result_json, 'everything, as Result.to_dict()'),
    Format('coco', KINDS, '_coco.json', _coco_json, 'a data set for pycocotools and annotation tools'),
    Format('labelme', KINDS, '_labelme.json', _labelme_json, 'shapes to correct in labelme'),
    Format('cvat', KINDS, '_cvat.xml', _cvat_xml, 'shapes to correct in CVAT'),
    Format('datumaro', KINDS, '_datumaro.json', _datumaro_json, "a subset of Datumaro's own format"),
    Format('label-studio', KINDS, '_label_studio.json', _label_studio_json, 'a task to correct in Label Studio'),
)


def formats_of(kind: str) -> dict[str, Format]:
    """Formats of a kind of result, by name."""
    return {row.name: row for row in FORMATS if kind in row.kinds}


def chosen_formats(kind: str, names: str | Sequence[str] | None = None) -> list[Format]:
    """Rows of the table.

    Args:
        kind: Of the result.
        names: Names, as a list or separated by ","; ``usual`` stands for what is written when nothing is chosen, which
            None means, too.

    Returns:
        Formats, each once, in the order of the table.

    Raises:
        UserError: If there is no such format for this kind, or none is named.
    """
    import difflib

    known = formats_of(kind)
    parts = ['usual'] if names is None else [names] if isinstance(names, str) else list(names)
    asked = [name.strip() for part in parts for name in str(part).split(',') if name.strip()]
    for name in asked:
        if name != 'usual' and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ''
            raise UserError(f"no format of {kind} results is called '{name}'; {hint}There are {', '.join(known)}.")
    if not asked:
        raise UserError(f'no format is named; give some of {", ".join(known)}, or leave --formats (formats=) out.')
    return [row for row in known.values() if row.name in asked or (row.usual and 'usual' in asked)]


def endings(kind: str, names: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Endings of the files that :meth:`Result.save` writes."""
    return tuple(row.ending for row in chosen_formats(kind, names))


def format_lines() -> str:
    """The table in words, for ``--help``: name and what it is."""
    found: dict[str, list[str]] = {}
    for row in FORMATS:
        found.setdefault(row.name, []).append(row.line)
    return '; '.join(f'{name} ({" / ".join(lines)})' for name, lines in found.items())


def _json(content: Any) -> str:
    import json

    return json.dumps(content, ensure_ascii=False, indent=1)


def _png(picture: Any) -> bytes:
    """OpenCV, where it is loaded anyway, packs a picture in half of Pillow's time."""
    cv2: Any = sys.modules.get('cv2')
    if cv2 is None or picture.mode != 'RGB':
        return _encoded(picture, 'PNG')
    import numpy as np

    return bytes(cv2.imencode('.png', np.asarray(picture)[:, :, ::-1])[1])


def _encoded(picture: Any, kind: str) -> bytes:
    import io

    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()
