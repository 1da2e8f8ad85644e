"""XML files of annotation tools."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

_FAULTS = (OSError, ET.ParseError, ValueError, LookupError, RecursionError)  # LookupError: an unknown encoding


def read_xml(path: Path) -> ET.Element:
    """The root of a file.

    Args:
        path: The XML file.

    Raises:
        ValueError: It cannot be read; the message says why, and not which file.
    """
    try:
        return ET.parse(path).getroot()
    except _FAULTS as error:
        raise ValueError(str(error)) from error


def root_tag(path: Path) -> str | None:
    """What a file is about, by its first tag; None if it cannot be read.

    Args:
        path: The XML file.
    """
    try:
        return next((element.tag for _, element in ET.iterparse(path, events=('start',))), None)
    except _FAULTS:
        return None
