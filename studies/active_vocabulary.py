#!/usr/bin/env python
"""What choosing the classes of a picture is worth: mIoU on miniworld, and time with 32 and 847 classes.

The weights of ``mixed`` and the patches of ``dense`` were chosen on pictures of seed 0; the command reports on seed 1.

Example:
    denseclip miniworld data/miniworld_seed1 --layout ade20k --count 2 --val-count 160 --size 128x128 --seed 1
    python studies/active_vocabulary.py data/miniworld_seed1 --count 80
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from denseclip.clip.vocabulary import Vocabulary
from denseclip.structures.active_vocabulary import SCORERS
from studies.open_vocab_grid.cells import CellOptions, make_cells
from studies.open_vocab_grid.evaluate import _areas, _ready_model

PRESETS = ('clip', 'maskclip', 'sclip', 'clearclip', 'naclip', 'pearl')
CROP_SIDE = 48
"""Pixels of a crop's side: 3/8 of the pictures' 128, the size that the small CLIP sees of one."""
MANY = 'ade20k_full'


def settings_of(scorer: str | None) -> dict[str, Any] | None:
    """Settings of a column."""
    return None if scorer is None else {'scorer': scorer, **({'side': CROP_SIDE} if scorer == 'crops' else {})}


def short_names(names: Sequence[str]) -> list[str]:
    """The first of the names that a class lists, numbered where another class has it: only time is taken with them."""
    found: dict[str, None] = {}
    for number, name in enumerate(names):
        first = name.split(',')[0]
        found[f'{first} {number}' if first in found else first] = None
    return list(found)


def accuracy(model: Any, dataset: Any, count: int, oracle: bool = False) -> float:
    """MIoU over the first pictures, in percent."""
    classes = list(dataset.metainfo['classes'])
    areas = np.zeros((4, len(classes)))
    for n in range(count):
        areas += _areas(model, pseudo_collate([dataset[n]]), len(classes), 'classes' if oracle else None)[0]
    model.offered = None
    return float((areas[0] / areas[1])[areas[1] > 0].mean() * 100)


def seconds(model: Any, pictures: Sequence[Any], columns: Sequence[str | None], rounds: int) -> dict[str | None, float]:
    """CPU seconds per picture of each column, the median of rounds in which the columns take turns."""
    found: dict[str | None, list[float]] = {column: [] for column in columns}
    for turn in range(rounds + 1):
        for column in columns:
            model.active_vocabulary = settings_of(column)
            start = time.process_time()
            for picture in pictures:
                with torch.inference_mode():
                    model.test_step(pseudo_collate([picture]))
            if turn:  # the first round warms up
                found[column].append((time.process_time() - start) / len(pictures))
    return {column: statistics.median(values) for column, values in found.items()}


def rows(args: argparse.Namespace) -> Iterator[Mapping[str, str]]:
    """A row of the table for each preset."""
    init_default_scope('mmseg')
    options = CellOptions(data_roots={'miniworld': args.data})
    columns = [None, *SCORERS]
    many = Vocabulary.from_names(short_names(Vocabulary.of(args.many).names))
    for name in args.presets:
        cell = make_cells([name], ['miniworld'], ['own'], options)[0][0]
        dataset = DATASETS.build(dict(cell.config['test_dataloader']['dataset']))
        model = _ready_model(cell, dataset, 'cpu')
        few = model.vocabulary
        count = min(args.count, len(dataset))
        pictures = [dataset[n] for n in range(args.timed)]
        row = {'preset': name}
        for column in columns:
            model.active_vocabulary = settings_of(column)
            row[column or 'without'] = f'{accuracy(model, dataset, count):.1f}'
        model.active_vocabulary = None
        row['true classes'] = f'{accuracy(model, dataset, count, oracle=True):.1f}'
        for words in (few, many):
            model.set_vocabulary(words)
            model.class_embeddings()
            spent = seconds(model, pictures, columns, args.rounds)
            row[f'ms, K = {len(words)}'] = f'{spent[None] * 1000:.0f}'
            for column in columns[1:]:
                row[f'{column}, K = {len(words)}'] = f'{spent[column] / spent[None]:.2f}'
        yield row


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder that denseclip miniworld wrote in the layout ade20k')
    parser.add_argument('--presets', nargs='+', default=list(PRESETS))
    parser.add_argument('--count', type=int, default=160, help='pictures that are scored (default: %(default)s)')
    parser.add_argument('--timed', type=int, default=3, help='pictures that are timed (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='rounds of timing (default: %(default)s)')
    parser.add_argument('--many', default=MANY, help='name of the long list of classes (default: %(default)s)')
    args = parser.parse_args()
    torch.set_num_threads(1)
    for number, row in enumerate(rows(args)):
        if not number:
            print('| ' + ' | '.join(row) + ' |\n|' + '---|' * len(row), flush=True)
        print('| ' + ' | '.join(row.values()) + ' |', flush=True)


if __name__ == '__main__':
    main()
