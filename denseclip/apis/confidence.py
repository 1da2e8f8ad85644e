"""Confidence of words: where a model's calibration lies, and what a call may ask for."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError, check_share
from denseclip.clip.unrelated import unrelated_words
from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.shipped import here_or_shipped
from denseclip.structures.word_scores import FEATURES, Calibration, CalibrationError, ScoreRequest, digest

SUFFIX = '.confidence.json'
TRAINED = 'model'
"""Name of the calibration of a model that has a config; those of presets have the presets' names."""


def calibration_file(weights: str | Path) -> Path | None:
    """Where the calibration of weights lies, whether or not there is one; None for weights that are no file or folder.

    Args:
        weights: A file, a folder, or ``local-dir:FOLDER``: ``x.safetensors`` has ``x.confidence.json`` beside it, a
            folder has one inside, named like it.
    """
    place = here_or_shipped(str(weights).removeprefix('local-dir:'))
    if place.is_dir():
        return place / f'{place.resolve().name}{SUFFIX}'
    return place.with_name(place.stem + SUFFIX) if place.is_file() else None


def weights_digest(weights: str | Path) -> str:
    """SHA-256 of a file of weights, or of those in a folder."""
    place = here_or_shipped(str(weights).removeprefix('local-dir:'))
    files = [place] if place.is_file() else sorted(p for p in place.iterdir() if p.suffix in ('.safetensors', '.bin'))
    found = hashlib.sha256()
    for file in files:
        with file.open('rb') as stream:
            while part := stream.read(2**20):
                found.update(part)
    return found.hexdigest()


def find_calibration(weights: str | Path | None, name: str = TRAINED) -> Calibration | None:
    """The calibration that lies beside weights.

    One that cannot be used is warned of and counts as none: labels do not depend on it.

    Args:
        weights: See :func:`calibration_file`; None: no file.
        name: :data:`TRAINED` or the name of a preset.
    """
    file = None if weights is None else calibration_file(weights)
    if file is None or not file.is_file():
        return None
    assert weights is not None
    try:
        data = json.loads(file.read_text(encoding='utf-8'))
        calibrations = data['calibrations']
        if name not in calibrations:
            return None
        if data['weights_sha256'] != weights_digest(weights):
            raise CalibrationError('it was fitted for other weights; fit it again')
        return Calibration.from_json(calibrations[name], FEATURES, digest(unrelated_words()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f'no key {error}' if isinstance(error, KeyError) else error
        warnings.warn(f"'{file}' is not used, scores are not calibrated: {reason}", stacklevel=2)
        return None


def save_calibrations(weights: str | Path, calibrations: dict[str, Calibration]) -> Path:
    """Write calibrations where :func:`find_calibration` finds them.

    Args:
        weights: See :func:`calibration_file`.
        calibrations: By name; others in the file are kept if they are of the same weights.

    Raises:
        UserError: If there are no such weights.
    """
    from denseclip.apis.files import write_file

    file = calibration_file(weights)
    if file is None:
        raise UserError(f"'{weights}' is no file or folder of weights: a calibration belongs beside one.")
    sha = weights_digest(weights)
    kept: dict[str, Any] = {}
    if file.is_file():
        old = json.loads(file.read_text(encoding='utf-8'))
        kept = old['calibrations'] if old.get('weights_sha256') == sha else {}
    kept.update({name: calibration.to_json() for name, calibration in calibrations.items()})
    text = json.dumps({'weights_sha256': sha, 'calibrations': kept}, indent=1, ensure_ascii=False)
    return write_file(file, text + '\n')


@dataclass(frozen=True)
class Wishes:
    """What a call wants besides labels; see :meth:`Inferencer.segment`.

    Raises:
        UserError: If a share is not in 0..1, or something needs the scores that are not wanted.
    """

    min_confidence: float | None = None
    min_area: float | None = None
    pixel_scores: bool = False
    scores: bool = True

    def __post_init__(self) -> None:
        check_share('min_confidence (--min-confidence)', self.min_confidence)
        check_share('min_area (--min-area)', self.min_area)
        if not self.scores and (self.pixel_scores or self.min_confidence is not None or self.min_area is not None):
            raise UserError('min_confidence, min_area and pixel_scores need scores: leave scores=False out, or them.')

    def request(self, calibration: Calibration | None, vocabulary: Vocabulary) -> ScoreRequest | None:
        """The same for a model, and a vocabulary as it has understood it; None: labels are all."""
        if not self.scores:
            return None
        background = len(vocabulary) if vocabulary.background_names else None
        return ScoreRequest(calibration, self.min_confidence, self.min_area, self.pixel_scores, background)
