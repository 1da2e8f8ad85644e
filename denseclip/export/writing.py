"""Parts of an export on their way into a folder."""

from __future__ import annotations

import io
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip.apis.config import inference_steps
from denseclip.clip.anomaly_prompts import prompt_set
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.checks import check_image_graph, check_text_graph
from denseclip.export.errors import ExportError
from denseclip.export.formats import FORMATS, Format
from denseclip.export.graphs import OPSET, write_image_graph, write_text_graph
from denseclip.export.pictures import anomaly_steps, detector_steps, picture_steps
from denseclip.export.precision import Lowered, calibration_feeds
from denseclip.export.substitutes import ready_for_export
from denseclip.export.words import unrelated_file
from denseclip.files.provenance import provenance
from denseclip.runtime.kinds import Boxes, Masks, States
from denseclip.runtime.manifest import Manifest, Picture, file_sum
from denseclip.version import __version__

if TYPE_CHECKING:
    from denseclip.export.capabilities import Way


class Writing(ABC):
    """One export on its way.

    Args:
        inferencer: The model with its pipeline and words.
        way: How it is exported.
        folder: Where to write.
        fixed: Words to put into the export; None keeps them free.
        own_words: See :func:`denseclip.export.export`.
        form: The format.

    Raises:
        ExportError: If the model is not on the CPU, or cannot take fixed words.
    """

    form: Format = FORMATS['onnx']

    def __init__(
        self,
        inferencer: Any,
        way: Way,
        folder: Path,
        fixed: Vocabulary | None = None,
        own_words: bool = True,
        form: Format = FORMATS['onnx'],
    ) -> None:
        self.inferencer, self.way, self.folder, self.form = inferencer, way, folder, form
        self.model: Any = inferencer.model
        if any(p.device.type != 'cpu' for p in self.model.parameters()):
            raise ExportError("models are exported from the CPU; load it with device='cpu'.")
        if hasattr(self.model, 'need_weights'):
            self.model.need_weights()
        self.fixed, self.own_words = fixed, own_words or fixed is not None
        self.side = way.words(self.model)
        self.words = self.side.words()
        self.parts: list[str] = []
        self.checked: dict[str, Any] = {}
        self.lowered: dict[str, Any] | None = None

    @abstractmethod
    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """Write all parts; returns the manifest that goes with them."""

    def manifest(self, picture: Picture, **more: Any) -> Manifest:
        """What is said of the parts that were written."""
        weights = ('image_weights', 'regions_weights', 'text_weights')
        beside = [part for part in weights if (self.folder / self.form.names[part]).exists()]
        parts = [*self.parts, *beside]
        return Manifest(
            model=type(self.model).__name__,
            picture=picture,
            words=self.words,
            files={part: self.form.names[part] for part in parts},
            sha256={part: file_sum(self.folder / self.form.names[part]) for part in parts},
            versions=_versions(self.form),
            provenance=self._provenance(),
            checked=self.checked,
            lowered=self.lowered,
            **more,
        )

    def _provenance(self) -> dict[str, str]:
        origin = getattr(self.inferencer, 'origin', None)
        if origin is None:
            return provenance()
        return provenance(origin.weights, getattr(origin.config, 'filename', None))

    def part(self, name: str) -> Path:
        """Where a part is written."""
        self.parts.append(name)
        return self.folder / self.form.names[name]

    def save(self, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays."""
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        self.part(part).write_bytes(content.getvalue())

    def image(self, precision: str, calibrate: str | Path | None, picture: Picture, rows: np.ndarray | None) -> None:
        """Write the picture side, compare it, and lower its precision."""
        path, graph = self.part('image'), self.way.graph
        size = (None, None) if self.words is None else (self.words.embed_dim, self.words.classes)
        made = path.with_suffix(self.form.made)
        write_image_graph(graph(ready_for_export(self.model)), made, *size)
        own = graph(self.model).eval()
        lowered = None
        if calibrate is not None:
            lowered = Lowered(made, precision, calibration_feeds(calibrate, picture, rows, own))
        self.checked['image'] = check_image_graph(self.form.finish(made), own, *size)
        if lowered is not None:
            self.lowered = lowered.replace(path, self.form, own)

    def text(self) -> None:
        """Write the text side, and compare it."""
        self.side.write_tokenizer(self.part('tokenizer'))
        path, tower = self.part('text'), self.side.tower
        example = tower.tokenize(['a photo of a cat.', 'a photo of a traffic light.'])
        made = path.with_suffix(self.form.made)
        write_text_graph(self.side.graph(ready_for_export(tower)), made, example)
        self.form.finish(made)
        assert self.words is not None
        prompts = self.side.prompts(self.words.most_tokens)
        self.checked['text'] = check_text_graph(path, self.side.graph(tower).eval(), prompts)


class SegmentorWriting(Writing):
    """Export of a model that segments by words."""

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """See :class:`Writing`."""
        picture = picture_steps(self.inferencer.steps, self.model)
        if self.fixed is not None and self.words is None:
            raise ExportError('the classes of this model are part of its weights; leave the classes out.')
        if self.fixed is not None:
            self.inferencer.set_vocabulary(self.fixed)
        rows, own = self.side.rows(), self.inferencer._words
        unrelated = self.side.unrelated()
        if self.fixed is None and self.own_words and own.vocabulary.sentences:
            raise ExportError(
                'the model has words with descriptions, which an export with free words cannot encode; give them as '
                'classes, so that their embeddings go along, or leave the descriptions out.'
            )
        if self.fixed is not None:
            assert rows is not None
            self.save('embeddings', {'embeddings': rows})
        elif self.words is not None:
            self.text()
        if unrelated is not None:
            self.save('unrelated', unrelated_file(unrelated))
        self.image(precision, calibrate, picture, rows)
        calibration = self.inferencer.calibration
        return self.manifest(
            picture,
            vocabulary=own.vocabulary.to_dict() if self.own_words else None,
            palette=_colours(own.palette) if self.own_words else (),
            scores=replace(self.way.scores, calibration=None if calibration is None else calibration.to_json()),
        )


class MaskWriting(SegmentorWriting):
    """Export of a query-based model."""

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """See :class:`Writing`."""
        manifest, model, tasks = super().write(precision, calibrate), self.model, self.model.tasks
        own = self.inferencer.own_vocabulary if self.fixed is None else self.fixed
        flags = model.is_thing if model.vocabulary == own else None
        pairs = None if flags is None else zip(own.names, flags, strict=True)
        masks = Masks(
            combine='ensemble' if model.ensemble else 'clip',
            alpha=float(model.alpha),
            beta=float(model.beta),
            seen=() if model.train_vocabulary is None else tuple(model.train_vocabulary.prompts),
            valid='valid' in self.way.graph(model).outputs,
            task=next(task for task in (*tasks.tasks, 'semantic') if task != 'proposals'),
            things=None if pairs is None else tuple(name for name, is_thing in pairs if is_thing),
            score_threshold=float(tasks.score_threshold),
            overlap_threshold=float(tasks.overlap_threshold),
            topk=int(tasks.topk),
            merge_first=tasks.merge_first is None or bool(tasks.merge_first),
            void_trust=float(model.void_trust),
            guided=hasattr(model, 'prompt_guide'),
        )
        return replace(manifest, rule=masks)


class BoxWriting(Writing):
    """Export of a detector."""

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """See :class:`Writing`."""
        if self.fixed is not None:
            raise ExportError('a detector tells apart the classes of its training; leave the classes out.')
        rows, graph = self.side.rows(), self.way.graph(self.model)
        if rows is not None:
            self.save('embeddings', {'embeddings': rows})
        picture = detector_steps(inference_steps(self.inferencer.origin.config), self.model)
        self.image(precision, calibrate, picture, rows)
        config = self.model.test_cfg
        config = config.get('rcnn', config)
        boxes = Boxes(
            score=float(config.get('score_thr', 0)),
            most=int(config.max_per_img),
            mask=float(config.mask_thr_binary) if 'masks' in graph.outputs else None,
            least_score=float(self.inferencer.score),
        )
        own, palette = Vocabulary.from_names(self.inferencer.names).to_dict(), _colours(self.inferencer._palette)
        return self.manifest(picture, vocabulary=own, palette=palette, rule=boxes)


class AnomalyWriting(Writing):
    """Export of a model that finds defects of a named object."""

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """See :class:`Writing`."""
        if self.fixed is not None:
            raise ExportError('an anomaly model is asked for an object with every call; leave the classes out.')
        picture = anomaly_steps(self.model)
        name, domain, defects = self.inferencer.subject
        self.text()
        self.image(precision, calibrate, picture, self.side.rows())
        parts = prompt_set(self.model.prompts)
        states = States(
            {field.name: getattr(parts, field.name) for field in fields(parts)},
            name,
            domain,
            defects if defects is None or isinstance(defects, str) else tuple(defects),
            self.model.tile_side if getattr(self.model, 'tiles', False) else None,
        )
        return self.manifest(picture, vocabulary=None, palette=(), rule=states)


def _colours(palette: Any) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(r), int(g), int(b)) for r, g, b in palette)


def _versions(form: Format) -> dict[str, str]:
    found = {name: metadata.version(name) for name in ('torch', 'numpy', *form.packages)}
    opset = {'opset': str(OPSET)} if form.packages else {}  # of ONNX
    return {'denseclip': __version__, 'python': platform.python_version(), **opset, **found}
