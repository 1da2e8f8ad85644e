"""Bad arguments of the Python API: errors of ours, or ValueError, TypeError and OSError that our code raises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bad_cases import CAMVID, SMALL_CLIP, Case, Names


def api(names: Names) -> Iterator[Case]:
    """The Python API: errors of ours, or ValueError, TypeError and OSError that our code raises."""
    import denseclip
    from denseclip.clip.loading import load_clip

    good = np.zeros((48, 64, 3), np.uint8)
    pictures: dict[str, Any] = {
        'None': None,
        'a number': 7,
        'a list of numbers': [1, 2],
        'empty bytes': b'',
        'bytes that are no picture': b'hello',
        'no pixels': np.zeros((0, 0, 3), np.uint8),
        'one dimension': np.zeros(5, np.uint8),
        'five dimensions': np.zeros((1, 1, 2, 2, 3), np.uint8),
        'seven channels': np.zeros((8, 8, 7), np.uint8),
        'strings': np.array([['a', 'b']]),
        'objects': np.empty((4, 4, 3), object),
        'NaN': np.full((8, 8, 3), np.nan, np.float32),
        'floats above 1': np.full((8, 8, 3), 300.0, np.float32),
        'negative numbers': np.full((8, 8, 3), -1, np.int32),
        'complex numbers': np.zeros((8, 8, 3), complex),
        'a tensor of another shape': torch.zeros(7, 8, 8),
        'a meta tensor': torch.empty(3, 8, 8, device='meta'),
        'a dict': {'image': good},
    }
    for label, picture in pictures.items():
        yield Case('denseclip.segment', label, lambda w, p=picture: denseclip.segment(p, 'sky; road'))
    words: dict[str, Any] = {
        'empty text': '',
        'empty list': [],
        'numbers': [1, 2],
        'None in a list': ['sky', None],
        'a number': 5,
        'empty names': ['', 'sky'],
        'twice': ['sky', 'sky'],
        'bytes': b'sky; road',
        'a mapping to numbers': {'sky': 3},
        'a missing path': Path('gone.txt'),
    }
    for label, what in words.items():
        yield Case('denseclip.segment', f'words {label}', lambda w, x=what: denseclip.segment(good, x))
        yield Case('denseclip.Vocabulary', f'of {label}', lambda w, x=what: denseclip.Vocabulary.of(x))
    for label, options in {
        'preset unknown': dict(preset='maskclop'),
        'preset a number': dict(preset=3),
        'device': dict(device='abacus'),
        'config missing': dict(config='gone.py'),
        'config a number': dict(config=3),
        'weights missing': dict(weights='gone.pth'),
        'channel order': dict(channel_order='xyz'),
        'clip alone': dict(clip='ViT-B-16'),
    }.items():
        yield Case('denseclip.segment', label, lambda w, o=options: denseclip.segment(good, 'sky; road', **o))
    for name in names.weights:
        run = lambda w, n=name: denseclip.Inferencer(CAMVID, w / 'weights' / n)  # noqa: E731
        yield Case('denseclip.Inferencer', f'weights {name}', run)
        load = lambda w, n=name: load_clip('ViT-B-16', str(w / 'weights' / n))  # noqa: E731
        yield Case('denseclip.load_clip', f'weights {name}', load)
    for name in ('', 'RN5', 'local-dir:gone', 'hf-hub:', 'local-dir:', '../..'):
        yield Case('denseclip.load_clip', f'name {name!r}', lambda w, n=name: load_clip(n))
    for label, run in {
        'folder missing': lambda w: denseclip.anomaly(w / 'gone.png', 'nut', clip=SMALL_CLIP),
        'object empty': lambda w: denseclip.anomaly(good, '', clip=SMALL_CLIP),
        'object a number': lambda w: denseclip.anomaly(good, 3, clip=SMALL_CLIP),
        'picture None': lambda w: denseclip.anomaly(None, 'nut', clip=SMALL_CLIP),
    }.items():
        yield Case('denseclip.anomaly', label, run)
    for label, run in {
        'config missing': lambda w: denseclip.detect(good, 'gone.py', 'gone.pth'),
        'weights missing': lambda w: denseclip.detect(good, w / 'detector.py', 'gone.pth'),
        'picture None': lambda w: denseclip.detect(None, w / 'detector.py', w / 'detector.pth'),
        'score text': lambda w: denseclip.detect(good, w / 'detector.py', w / 'detector.pth', score='many'),
        'score nan': lambda w: denseclip.detect(good, w / 'detector.py', w / 'detector.pth', score=float('nan')),
    }.items():
        yield Case('denseclip.detect', label, run)
