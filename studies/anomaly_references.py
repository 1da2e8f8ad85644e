"""Good pictures, a batch, or words: which finds defects best on the same pictures with the same trunk.

    python studies/anomaly_references.py data/magnetic_tile --good 150 --bad 150
    python studies/anomaly_references.py data/miniworld_parts/*/ --trunks dino clip

A folder is one product, in any layout that ``denseclip anomaly`` reads. References are drawn from good pictures that
are not measured; where there are several folders, the mean over them is printed. A line of JSON for each row.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from denseclip.apis.anomaly import AnomalyInferencer, default_config
from denseclip.apis.anomaly_folder import Item, items_in
from denseclip.apis.anomaly_methods import comparing_config, trunk_config
from denseclip.apis.config import inference_config
from denseclip.datasets.anomaly_masks import read_mask
from denseclip.evaluation.anomaly import BinnedPixels, check_pair, image_measures, pixel_measures

CLIP = 'local-dir:checkpoints/miniworld_clip'
NAMES = ('image_AUROC', 'pixel_AP', 'AUPRO', 'AUPRO_0.05')


def measured(model: AnomalyInferencer, items: Sequence[Item]) -> dict[str, float]:
    """Measures of one product."""
    scores, pixels = [], BinnedPixels()
    for item in items:
        found, score, _ = model.predict(item.path)
        nothing = np.zeros(found.shape, dtype=bool)
        mask = read_mask(item.mask, item.threshold) if item.mask is not None else nothing
        pixels.add(*check_pair(found, mask, str(item.path)))
        scores.append(score)
    labels = np.array([bool(item.label) for item in items])
    of_pixels = pixel_measures(pixels)
    found_values = {**image_measures(np.array(scores), labels), **of_pixels}
    found_values['AUPRO_0.05'] = pixel_measures(pixels, limit=0.05)['AUPRO']
    return {name: 100 * found_values[name] for name in NAMES}


def drawn(folder: Path, good: int, bad: int, seed: int) -> tuple[list[Item], list[Path]]:
    """Pictures to measure, the same for every row, and good ones that are left."""
    items = items_in(folder)
    dice = np.random.default_rng(seed)
    normal = [item for item in items if item.label is False]
    defective = [item for item in items if item.label]
    normal = [normal[k] for k in dice.permutation(len(normal))]
    defective = [defective[k] for k in dice.permutation(len(defective))][:bad]
    return normal[:good] + defective, [item.path for item in normal[good:]]


def row(name: str, values: Sequence[dict[str, float]], start: float, pictures: int) -> None:
    """Print mean and spread of several draws."""
    said = {key: [round(float(f([v[key] for v in values])), 1) for f in (np.mean, np.std)] for key in NAMES}
    seconds = (time.process_time() - start) / max(1, pictures * len(values))
    print(json.dumps({'row': name, **said, 'cpu_seconds_per_picture': round(seconds, 3)}), flush=True)


def mean_of(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over products."""
    return {key: float(np.mean([value[key] for value in values])) for key in NAMES}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', type=Path)
    parser.add_argument('--good', type=int, default=8, help='good pictures of a product that are measured')
    parser.add_argument('--bad', type=int, default=10_000, help='defective ones')
    parser.add_argument('--trunks', nargs='+', default=['imagenet', 'bundled', 'dino', 'clip'])
    parser.add_argument('--references', nargs='+', type=int, default=[1, 4, 16])
    parser.add_argument('--draws', type=int, default=3)
    parser.add_argument('--object', default='tile')
    parser.add_argument('--image-size', type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = [drawn(folder, args.good, args.bad, 0) for folder in args.folders]
    most = max(args.references)
    short = [str(folder) for folder, (_, left) in zip(args.folders, parts, strict=True) if len(left) < most]
    if short:
        parser.error(f'fewer than {most} good pictures are left in {", ".join(short)}: lower --good or --references')
    count = sum(len(items) for items, _ in parts)
    print(json.dumps({'pictures': count, 'good_left': [len(left) for _, left in parts]}), flush=True)
    start, words = time.process_time(), AnomalyInferencer(anovl_config(), device='cpu')
    words.set_object(args.object)
    row('anovl clip', [mean_of([measured(words, items) for items, _ in parts])], start, count)
    for trunk in args.trunks:
        config = trunk_config(trunk, CLIP if trunk == 'clip' else None)
        for shots in args.references:
            start = time.process_time()
            judge = AnomalyInferencer(comparing_config('references', config, image_size=args.image_size), device='cpu')
            values = []
            for draw in range(args.draws):
                found = []
                for items, left in parts:
                    chosen = np.random.default_rng([draw, shots]).permutation(len(left))[:shots]
                    judge.set_references([left[k] for k in chosen])
                    found.append(measured(judge, items))
                values.append(mean_of(found))
            row(f'references {shots} {trunk}', values, start, count)
        for guard in (True, False):
            start = time.process_time()
            settings = dict(image_size=args.image_size, guard=guard)
            judge = AnomalyInferencer(comparing_config('batch', config, **settings), device='cpu')
            found = []
            for items, _ in parts:
                judge.set_references([item.path for item in items])
                found.append(measured(judge, items))
            row(f'batch {"guarded" if guard else "plain"} {trunk}', [mean_of(found)], start, count)


def anovl_config() -> object:
    """AnoVL with the CLIP that comes along, as on miniworld."""
    config = inference_config(default_config())
    config.model.clip = dict(model=CLIP, pretrained=None)
    config.model.views = False
    return config


if __name__ == '__main__':
    main()
