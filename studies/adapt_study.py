"""Heads of a few labelled pictures against the words alone and against a linear probe, on pictures that nobody saw.

    python studies/adapt_study.py data/CamVid --classes camvid_synonyms --ignore 11
    python studies/adapt_study.py data/CamVid --classes camvid_synonyms --ignore 11 --ways gda rns

Every head is made as ``denseclip adapt`` makes it, of pictures drawn from the training split; all are measured on the
test split (``--every 3``: each third picture), in the pictures' own size. The probe is a logistic regression on the
same cells and the same features (L-BFGS, its penalty chosen on the same held-out parts); it knows no words.
Seconds of the CPU are those of making the head, and of what it adds to each picture that it labels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from denseclip.apis.adapt import gather, labelled_maps
from denseclip.apis.images import Picture
from denseclip.apis.loading import load_model
from denseclip.apis.new_dataset import typed_classes
from denseclip.core.placement import Windows, size_of
from denseclip.models.functional.open_vocab import unit_length
from denseclip.models.pixel_fit import Gathering, confusion, mean_iou
from denseclip.models.pixel_head import feature_space
from denseclip.models.pixel_head_file import AnyPixelHead
from denseclip.models.pixel_samples import Cells, passing
from denseclip.models.retrieval_head import PixelRNSHead, cells_inside

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
NAMES = {'gda': 'head', 'rns': 'head of regions', 'probe': 'linear probe'}


@dataclass
class Row:
    """One way to label, and how it did."""

    name: str
    label: Any
    seconds: float = 0.0
    labelling: float = 0.0
    said: str = ''
    table: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))


@dataclass(frozen=True)
class Window:
    """What passes a head in a window, and which of its cells show something of the picture, (h, w)."""

    seen: Any
    inside: Tensor

    @classmethod
    def of(cls, seen: Any, placement: Any, box: Any) -> Window:
        """From a recorder."""
        return cls(seen, cells_inside(placement, box, size_of(seen.features)))

    @property
    def logits(self) -> Tensor:
        """By the words, (1, K, h, w)."""
        return self.seen.logits

    @property
    def features(self) -> Tensor:
        """Embeddings of the cells, (1, D, h, w)."""
        return self.seen.features


def fit_probe(features: Tensor, labels: Tensor, classes: int, penalty: float, steps: int = 60) -> tuple[Tensor, Tensor]:
    """Logistic regression with an L2 penalty; weight (D, C) and bias (C,)."""
    weight = torch.zeros(features.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight + bias, labels) + penalty * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()


def probe(gathering: Gathering, classes: int, most: int = 20_000) -> tuple[tuple[Tensor, Tensor], float]:
    """A probe of all kept cells, its penalty chosen by mIoU on each part in turn."""
    parts = gathering.kept
    tables = {p: torch.zeros(classes, classes, dtype=torch.long) for p in PENALTIES}
    for number, held in enumerate(parts):
        rest = _some(Cells.together([p for k, p in enumerate(parts) if k != number]), most)
        for penalty in PENALTIES:
            weight, bias = fit_probe(rest.features, rest.labels, classes, penalty, 30)
            tables[penalty] += confusion((held.features @ weight + bias).argmax(1), held.labels, classes)
    best = max(PENALTIES, key=lambda p: mean_iou(tables[p]))
    cells = _some(Cells.together(parts), most)
    return fit_probe(cells.features, cells.labels, classes, best), best


def _some(cells: Cells, most: int) -> Cells:
    return cells[torch.randperm(len(cells.labels), generator=torch.Generator().manual_seed(0))[:most]]


def rows_of(
    inferencer: Any, data: Any, vocabulary: Any, counts: Sequence[int], draws: int, ways: Sequence[str]
) -> list[Row]:
    """The words alone, then each way for each number of pictures and each draw."""
    rows = [Row('words alone', lambda windows: [window.logits for window in windows])]
    space = feature_space(inferencer.model)
    for count in counts:
        for way, seed in product(ways, range(draws)):
            start = time.process_time()
            method = 'gda' if way == 'probe' else way
            gathering, cells = gather(inferencer, vocabulary, data, count, seed, method=method)
            if way == 'probe':
                (weight, bias), penalty = probe(gathering, len(vocabulary))
                apply, said = partial(_by_probe, weight=weight, bias=bias), f'penalty {penalty:g}'
            else:
                head, choice = gathering.head(space)
                without = sum(not n for n in cells.values())
                said = f'held out {choice.miou:.1f}, words {choice.text_miou:.1f}, {without} classes without samples'
                apply = partial(_by_head, head=head, vocabulary=vocabulary)
            rows.append(Row(f'{NAMES[way]}, {count} pictures', apply, time.process_time() - start, said=said))
            print(f'made: {rows[-1].name}, draw {seed}: {rows[-1].seconds:.1f} s, {said}', flush=True)
    return rows


def _by_head(windows: Sequence[Window], head: AnyPixelHead, vocabulary: Any) -> list[Tensor]:
    if isinstance(head, PixelRNSHead):  # one classifier for all windows of the picture
        linear = head.classifier_of(((w.seen, w.inside) for w in windows), vocabulary)
        return [linear(w.logits, w.features, vocabulary) for w in windows]
    return [head(w.logits, w.features, vocabulary) for w in windows]


def _by_probe(windows: Sequence[Window], weight: Tensor, bias: Tensor) -> list[Tensor]:
    return [
        torch.einsum('ndhw,dc->nchw', unit_length(w.features.float()), weight) + bias[:, None, None] for w in windows
    ]


def measure(inferencer: Any, data: Any, vocabulary: Any, rows: Sequence[Row], every: int) -> int:
    """Fill the tables of all rows from the test split; how many pictures that were."""
    truth = data.truth(len(vocabulary))
    pairs = data.splits.get('test', data.splits['train']).pairs[::every]
    for row in rows:
        row.table = torch.zeros(len(vocabulary), len(vocabulary), dtype=torch.long)
    for pair in pairs:
        labels = torch.from_numpy(truth(str(pair.picture)))
        known = labels >= 0
        with inferencer.prepared(Picture.of(pair.picture)) as (inputs, sample):
            placement, boxes, windows = passing(inferencer.model, inputs, sample)
            assert placement.padded is not None
            seen = [Window.of(found, placement, box) for found, box in zip(windows, boxes, strict=True)]
            for row in rows:
                start = time.process_time()
                maps = [found[0] for found in row.label(seen)]
                row.labelling += (time.process_time() - start) / len(pairs)
                whole = placement.finish(Windows(boxes, placement.padded).mean(maps))
                found = whole.argmax(dim=0)[: labels.shape[0], : labels.shape[1]]
                row.table += confusion(found[known], labels[known], len(vocabulary))
    return len(pairs)


def report(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Means and ranges over the draws, and the classes that gain and lose most."""
    lines = ['| | mIoU | lowest and highest draw | seconds to make | seconds a picture |', '|---|---:|---|---:|---:|']
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    for name, group in groups.items():
        scores = [mean_iou(row.table) for row in group]
        spread = f'{min(scores):.1f} to {max(scores):.1f}' if len(scores) > 1 else ''
        seconds, labelling = (
            statistics.mean(part) for part in zip(*((r.seconds, r.labelling) for r in group), strict=True)
        )
        lines.append(f'| {name} | {statistics.mean(scores):.1f} | {spread} | {seconds:.1f} | {labelling:.2f} |')
    lines += ['', f'| IoU | {" | ".join(groups)} |', '|---|' + '---:|' * len(groups)]
    for k, name in enumerate(names):
        found = [statistics.mean(class_iou(row.table, k) for row in group) for group in groups.values()]
        lines.append(f'| {name} | {" | ".join(f"{value:.1f}" for value in found)} |')
    return '\n'.join(lines)


def class_iou(table: Tensor, k: int) -> float:
    """Intersection over union of one class, in percent."""
    union = table[k].sum() + table[:, k].sum() - table[k, k]
    return float(table[k, k] / union.clamp_min(1) * 100)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--classes', required=True, help='words, as for denseclip adapt')
    parser.add_argument('--ignore', nargs='+', default=[])
    parser.add_argument('--counts', type=int, nargs='+', default=[1, 5, 10, 20])
    parser.add_argument('--draws', type=int, default=3)
    parser.add_argument('--ways', nargs='+', choices=list(NAMES), default=list(NAMES), help='what is compared')
    parser.add_argument('--every', type=int, default=3, help='each so-manieth picture of the test split')
    parser.add_argument('--model', help='name of a model (default: the bundled one)')
    parser.add_argument('--clip')
    args = parser.parse_args()
    words, _ = typed_classes(args.classes)
    with labelled_maps(args.folder, words, {'ignore': args.ignore}) as (data, vocabulary):
        inferencer = load_model(args.model, words=vocabulary, clip=args.clip, device='cpu')
        rows = rows_of(inferencer, data, vocabulary, args.counts, args.draws, args.ways)
        pictures = measure(inferencer, data, vocabulary, rows, args.every)
    print(f'\n{pictures} test pictures, {args.draws} draws\n\n{report(rows, vocabulary.names)}')


if __name__ == '__main__':
    main()
