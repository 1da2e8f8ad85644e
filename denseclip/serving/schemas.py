"""Answers as the schema of the server describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Mask(BaseModel):
    """A mask in COCO's compressed run lengths."""

    size: list[int] = Field(description='height, width')
    counts: str


class Thing(BaseModel):
    """Something that was found."""

    name: str = Field(alias='class')
    label: int
    title: str | None = Field(None, description='tells several of a class apart')
    box: list[float] = Field(description='x1, y1, x2, y2 in pixels')
    area: float = Field(description='pixels')
    score: float | None = Field(None, description='how sure the model is, 0..1')
    is_thing: bool | None = None
    mask: Mask | None = None


class Area(BaseModel):
    """How much of the picture a class covers."""

    name: str = Field(alias='class')
    label: int
    pixels: int
    share: float
    score: float | None
    by_chance: bool = Field(description='whether the picture shows it no more than unrelated words')


class Word(BaseModel):
    """A class as it was understood."""

    name: str
    synonyms: list[str]


class Found(BaseModel):
    """What was found in a picture."""

    kind: str
    width: int
    height: int
    classes: list[str]
    colors: list[str]
    objects: list[Thing]
    areas: list[Area] | None = None
    words: list[Word]
    notes: list[str] = Field(description='how words were read that could mean something else')
    score_kind: str | None = None
    score: float | None = Field(None, description='of the whole picture, for defects')
    model: str
    seconds: float


class Coco(BaseModel):
    """``?format=coco``: a data set of one picture."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


class Labelme(BaseModel):
    """``?format=labelme``: shapes to correct by hand, the picture inside."""

    version: str
    flags: dict[str, Any]
    shapes: list[dict[str, Any]]
    imagePath: str
    imageData: str
    imageHeight: int
    imageWidth: int


class Datumaro(BaseModel):
    """``?format=datumaro``: a subset of one picture."""

    dm_format_version: str
    media_type: int
    infos: dict[str, Any]
    categories: dict[str, Any]
    items: list[dict[str, Any]]


class LabelStudioTask(BaseModel):
    """``?format=label-studio``: a list of one task, the picture inside."""

    data: dict[str, Any]
    predictions: list[dict[str, Any]]


class Boxes(BaseModel):
    """``?format=objects``: boxes, masks and scores."""

    width: int
    height: int
    classes: list[str]
    objects: list[Thing]


Segments = list[dict[str, Any]]
"""``?format=segments``: COCO's list."""


class Health(BaseModel):
    """A sign of life."""

    status: str
    model: str
    waiting: int


class Model(BaseModel):
    """What is served."""

    name: str
    endpoints: list[str]
    kinds: list[str]
    free_words: bool
    words: list[Word]
    formats: dict[str, list[str]]
    limits: dict[str, Any]
    version: str
    beside: list[str]
