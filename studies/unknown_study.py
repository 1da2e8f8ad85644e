"""What finds pixels of no class? Background policies and other scores side by side, with classes held out.

    python studies/unknown_study.py data/CamVid --classes camvid --ignore 11

Every fourth class is left out of the words (and out of the labels that heads and thresholds are made of); its pixels in
the test pictures are unknown. The next fold leaves out the next classes. Scores are read in the pictures' own size:
AUROC is that of unknown against known pixels. Policies that need a number get it from a few training pictures, all by
one rule: ``--share`` of their known pixels is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from denseclip.apis.adapt import gather, labelled_maps
from denseclip.apis.images import Picture
from denseclip.apis.loading import load_model
from denseclip.apis.new_dataset import typed_classes
from denseclip.cli.segment import DEFAULT_BACKGROUND_NAMES
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Windows
from denseclip.datasets.own_data import LabelMapData
from denseclip.evaluation.anomaly.curve import auroc, curve_of
from denseclip.models.functional.word_evidence import reference_scores
from denseclip.models.pixel_fit import confusion
from denseclip.models.pixel_head import PixelGDAHead, Recorder, feature_space
from denseclip.models.pixel_samples import head_of
from denseclip.models.pixel_trail import frame
from denseclip.structures.word_scores import ScoreRequest

SEEN = 2_000
"""Pixels of a picture that AUROC and thresholds look at."""


@dataclass(frozen=True)
class Fold:
    """The classes that are asked for, and those that are held out.

    Attributes:
        words: The former.
        numbers: Label of each class of the data: its number among the words, or how many words there are; void last.
    """

    words: Vocabulary
    numbers: np.ndarray

    @classmethod
    def of(cls, vocabulary: Vocabulary, number: int, folds: int) -> Fold:
        """Every so-manieth class is held out."""
        kept = [k for k in range(len(vocabulary)) if k % folds != number]
        numbers = np.full(len(vocabulary) + 1, len(kept), np.int64)
        numbers[kept], numbers[-1] = np.arange(len(kept)), -1
        return cls(replace(vocabulary, classes=tuple(vocabulary.classes[k] for k in kept)), numbers)


@dataclass(frozen=True)
class FoldData:
    """Label maps of a fold, as :func:`denseclip.apis.adapt.gather` takes them.

    Attributes:
        data: Label maps of all classes.
        fold: The fold.
        unknown: Label of the classes that are held out.
    """

    data: Any
    fold: Fold
    unknown: int

    @property
    def splits(self) -> Any:
        """The pictures."""
        return self.data.splits

    def truth(self, count: int) -> Callable[[str], np.ndarray]:
        """Reads the labels of a picture."""
        read, numbers = self.data.truth(len(self.fold.numbers) - 1), self.fold.numbers.copy()
        numbers[:-1][numbers[:-1] == count] = self.unknown
        return lambda path: numbers[read(path)]


@dataclass(frozen=True)
class Views:
    """What the pixels of a picture say, in its own size.

    Attributes:
        unknown: By method, how little a pixel is any of the words; of any unit, rising, (H, W).
        labels: By method, its label where no threshold takes it away, (H, W).
    """

    unknown: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]


def looks(inferencer: Any, picture: Picture, nouns: bool = False) -> tuple[Callable[..., Tensor], list[Any]]:
    """One run of a model on a picture.

    Args:
        inferencer: The model with its words.
        picture: The picture.
        nouns: Whether unrelated nouns are scored, too.

    Returns:
        What brings maps of windows into the picture's size, and of each window the planes of the model (K, h, w), the
        scores of the words (1, K, h, w), embeddings (1, D, h, w), and the level of nouns (h, w) or None.
    """
    with inferencer.prepared(picture) as (inputs, sample):
        model, found = inferencer.model, []
        placement, boxes, padded = frame(model, inputs, sample)
        model.score_request = ScoreRequest(None, None, None, False, None) if nouns else None
        try:
            for top, bottom, left, right in boxes:
                with head_of(model, Recorder()):
                    planes, comparison = model.head_scores(padded[:, :, top:bottom, left:right])
                    seen = model.pixel_head
                level = comparison and reference_scores(comparison.compare, comparison.features, None, False).level
                found.append((planes[0], seen.logits, seen.features, level))
        finally:
            model.score_request = None
    size = picture.rgb.shape[:2]

    def whole(maps: Sequence[Tensor]) -> Tensor:
        assert placement.padded is not None
        return placement.finish(Windows(boxes, placement.padded).mean(maps))[..., : size[0], : size[1]]

    return whole, found


@dataclass
class Tally:
    """What a method did on the test pictures of one fold.

    Attributes:
        table: Truth by label, the unknown last.
        scores: Some pixels' of each picture.
    """

    table: Tensor
    scores: list[np.ndarray] = field(default_factory=list)


class Judge:
    """All methods on the pictures of a fold.

    Args:
        load: Loads a model that tells apart some words; further arguments are those of ``load_model``.
        fold: The fold.
        clipn: CLIPs with a second text tower.
    """

    def __init__(self, load: Callable[..., Any], fold: Fold, clipn: Sequence[str]) -> None:
        self.plain = load(words=fold.words)
        prompts = replace(fold.words, background='prompts', background_names=DEFAULT_BACKGROUND_NAMES)
        self.prompts = load(words=prompts)
        words = replace(fold.words, background='clipn')
        self.clipn = {
            f'clipn {rule}, {Path(clip).name}': load(words=words, clip=clip, post={'unknown_rule': rule})
            for clip in clipn
            for rule in ('agree', 'compete')
        }
        self.words = fold.words
        self.head: PixelGDAHead | None = None

    def fit(self, data: FoldData, count: int, seed: int) -> None:
        """Make the head of some training pictures."""
        self.head = gather(self.plain, self.words, cast(LabelMapData, data), count, seed)[0].head(
            feature_space(self.plain.model)
        )[0]

    def views(self, picture: Picture) -> Views:
        """What all methods say of a picture."""
        whole, seen = looks(self.plain, picture, nouns=True)
        logits = whole([w[1][0] for w in seen])
        unknown = dict(score_maps(logits))
        labels = dict.fromkeys(unknown, logits.argmax(dim=0))
        if seen[0][3] is not None:
            level = whole([w[3][None] for w in seen])[0]
            unknown['confidence against nouns'] = self._doubt(logits, level)
            labels['confidence against nouns'] = labels['probability (threshold)']
        assert self.head is not None
        headed = whole([self.head(w[1], w[2], self.words)[0] for w in seen]).argmax(dim=0)
        unknown['gda'] = whole([self.head.strangeness(w[2])[0] for w in seen])[0]
        unknown['gda, labels by words alone'] = unknown['gda']
        labels |= {'gda': headed, 'gda, labels by words alone': logits.argmax(dim=0)}
        whole, seen = looks(self.prompts, picture)
        planes = whole([w[1][0] for w in seen])
        unknown['prompts'] = planes.softmax(dim=0)[-1]
        # The background has several names, of which a model takes the best after it has resized them.
        said = self.prompts.segment(picture.rgb, channel_order='rgb', scores=False).label_map
        labels['prompts'] = torch.from_numpy(said.astype(np.int64)).to(planes.device)
        for name, inferencer in self.clipn.items():
            whole, seen = looks(inferencer, picture)
            planes = whole([w[0] for w in seen])
            unknown[name], labels[name] = planes[-1] / planes[:-1].amax(dim=0), planes.argmax(dim=0)
        return Views(unknown, labels)

    def _doubt(self, logits: Tensor, level: Tensor) -> Tensor:
        """One minus the confidence that a picture would get of the pixel's best word if it showed the pixel alone."""
        best = logits.amax(dim=0)
        rival = best - torch.logaddexp(level, logits.logsumexp(dim=0))
        calibration = self.plain.calibration
        weights = (1.0, 1.0) if calibration is None else calibration.weights
        return -(weights[0] * (best - level) + weights[1] * rival)


def score_maps(logits: Tensor) -> Iterator[tuple[str, Tensor]]:
    """How little pixels are any of the words, by the scores of the words alone.

    Shape:
        - logits: :math:`(K, H, W)`, in units of a softmax; results: :math:`(H, W)`
    """
    shares = logits.softmax(dim=0)
    yield 'probability (threshold)', -shares.amax(dim=0)
    yield 'entropy', -(shares * shares.clamp_min(1e-12).log()).sum(dim=0)
    yield 'largest score', -logits.amax(dim=0)
    yield 'energy', -logits.logsumexp(dim=0)


def run_fold(
    judge: Judge, data: FoldData, test: Sequence[Path], settings: argparse.Namespace
) -> dict[str, list[float]]:
    """AUROC, then :func:`ious`, of every method; in percent."""
    count = len(judge.words)
    judge.fit(replace(data, unknown=-1), settings.count, settings.seed)
    limits = thresholds(judge, data, settings)
    tallies: dict[str, Tally] = {}
    random = np.random.default_rng(settings.seed)
    truth = []
    read = data.truth(count)
    for path in test:
        labels = torch.from_numpy(read(str(path)))
        views = judge.views(Picture.of(path))
        known = labels >= 0
        some = random.permutation(int(known.sum()))[:SEEN]
        truth.append((labels[known][some] == count).numpy())
        plain = views.labels['probability (threshold)']
        tables = {'no background': plain, 'no background, head': views.labels['gda']}
        for name, unknown in views.unknown.items():
            tallies.setdefault(name, Tally(torch.zeros(count + 1, count + 1, dtype=torch.long)))
            tallies[name].scores.append(unknown[known][some].double().numpy())
            tables[name] = (
                views.labels[name]
                if name not in limits
                else views.labels[name].masked_fill(unknown > limits[name], count)
            )
        for name, found in tables.items():
            tally = tallies.setdefault(name, Tally(torch.zeros(count + 1, count + 1, dtype=torch.long)))
            tally.table += confusion(found[known], labels[known], count + 1)
    there = np.concatenate(truth)
    return {name: [area(tally.scores, there), *ious(tally.table)] for name, tally in tallies.items()}


def thresholds(judge: Judge, data: FoldData, settings: argparse.Namespace) -> dict[str, float]:
    """By method, the score that the wanted share of known training pixels stays below."""
    pairs = data.splits['train'].pairs
    kept: dict[str, list[Tensor]] = {}
    read = data.truth(len(judge.words))
    for pair in pairs[:: max(1, len(pairs) // settings.count)][: settings.count]:
        labels = torch.from_numpy(read(str(pair.picture)))
        known = (labels >= 0) & (labels < len(judge.words))
        some = torch.randperm(int(known.sum()), generator=torch.Generator().manual_seed(0))[:SEEN]
        for name, unknown in judge.views(Picture.of(pair.picture)).unknown.items():
            kept.setdefault(name, []).append(unknown[known][some])
    found = {name: float(torch.cat(parts).double().quantile(settings.share)) for name, parts in kept.items()}
    found |= dict.fromkeys((name for name in found if name.startswith('gda')), settings.share)  # its own rule
    return {name: limit for name, limit in found.items() if not name.startswith(('clipn', 'prompts'))}


def area(scores: Sequence[np.ndarray], there: np.ndarray) -> float:
    """AUROC in percent; NaN without scores."""
    return 100 * auroc(curve_of(np.concatenate(scores), there)) if scores else float('nan')


def ious(table: Tensor) -> tuple[float, float, float]:
    """Of known pixels the mean IoU of the known classes; of all pixels that of the unknown, and the mean of all."""
    hits = table.diag().double()
    some = table.clone()
    some[-1] = 0  # pixels of unknown classes are not looked at
    known = hits / (some.sum(dim=0) + some.sum(dim=1) - some.diag()).clamp_min(1)
    every = hits / (table.sum(dim=0) + table.sum(dim=1) - table.diag()).clamp_min(1)
    there = table.sum(dim=1) > 0
    mean = known[:-1][there[:-1]].mean()
    return float(mean) * 100, float(every[-1]) * 100, float(every[there].mean()) * 100


def report(folds: Sequence[Mapping[str, Sequence[float]]]) -> str:
    """Means over the folds, with the standard deviation of AUROC."""
    lines = ['| | AUROC of unknown pixels | mIoU of the known | IoU of the unknown | mIoU of both |']
    lines.append('|---|---:|---:|---:|---:|')
    rows = []
    for name in folds[0]:
        found = [statistics.mean(fold[name][k] for fold in folds) for k in range(4)]
        several = len(folds) > 1 and found[0] == found[0]  # rows without scores have no AUROC
        spread = f' ± {statistics.stdev(fold[name][0] for fold in folds):.1f}' if several else ''
        first = f'{found[0]:.1f}{spread}' if found[0] == found[0] else ''
        rows.append((found[3], f'| {name} | {first} | {found[1]:.1f} | {found[2]:.1f} | {found[3]:.1f} |'))
    return '\n'.join(lines + [line for _, line in sorted(rows, reverse=True)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--classes', required=True, help='words, as for denseclip adapt')
    parser.add_argument('--ignore', nargs='+', default=[])
    parser.add_argument('--model', help='name of a model (default: the bundled one)')
    parser.add_argument('--clip')
    parser.add_argument('--whole', action='store_true', help='a preset sees whole pictures in their size (small CLIPs)')
    parser.add_argument('--clipn', nargs='+', default=[], help='CLIPs with a second text tower, for the preset')
    parser.add_argument('--folds', type=int, nargs='+', default=[0, 1, 2, 3], help='which of four (default: all)')
    parser.add_argument('--count', type=int, default=20, help='training pictures for heads and thresholds')
    parser.add_argument('--share', type=float, default=0.95, help='of known training pixels that thresholds keep')
    parser.add_argument('--every', type=int, default=1, help='each so-manieth picture of the test split')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    words, _ = typed_classes(args.classes)

    def load(**options: Any) -> Any:
        whole = {'test_cfg': {'mode': 'whole'}} if args.whole else {}
        made: Any = load_model(args.model, device='cpu', **{'clip': args.clip, **whole, **options})
        if not args.whole:
            return made
        plain = type(made).from_model(made.model, [{'type': 'PackSegInputs'}])
        plain.calibration = made.calibration
        return plain

    with labelled_maps(args.folder, words, {'ignore': args.ignore}) as (data, vocabulary):
        splits = data.splits
        test = [p.picture for p in splits.get('test', splits.get('val', splits['train'])).pairs[:: args.every]]
        found = []
        for number in args.folds:
            fold = Fold.of(vocabulary, number, 4)
            judge = Judge(load, fold, args.clipn)
            found.append(run_fold(judge, FoldData(data, fold, len(fold.words)), test, args))
            print(f'fold {number} done: {json.dumps(found[-1])}', file=sys.stderr, flush=True)
    print(f'{len(test)} pictures, {len(found)} folds, {args.count} training pictures\n\n{report(found)}')


if __name__ == '__main__':
    main()
