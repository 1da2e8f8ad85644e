"""Is it there? How well the scores of words tell words that a picture shows from words that it does not.

    python -m studies.word_confidence camvid data/CamVid
    python -m studies.word_confidence miniworld data/miniworld --presets maskclip naclip
    python -m studies.word_confidence own my_config.py --weights my_weights.safetensors --write
    python -m studies.word_confidence own my_config.py --presets sclip --clip local-dir:my_clip --write

The calibration is fitted on training and validation pictures with words of its own, and measured on test pictures with
others. ``own`` fits on every other test picture of a config and measures on the rest; there only pictures and far words
differ. ``--write`` keeps it beside the weights, where ``denseclip segment`` finds it. ``--keep FOLDER`` keeps what was
seen, so that a second call goes on where the first was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.confidence import TRAINED, save_calibrations
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.presets import DEFAULT_CLIP
from denseclip.apis.zoo import default_model
from denseclip.clip.vocabulary import Vocabulary
from denseclip.structures.word_scores import CALIBRATED, CHANCES, RANK, Calibration

from . import pictures
from .draws import Words, camvid_words, word_list
from .measure import Found, confidences, fit, look, quality

CLIP = 'local-dir:checkpoints/miniworld_clip'
FIT_SEED, TEST_SEEDS = 100, (0, 1, 2)


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('set', choices=('camvid', 'miniworld', 'own'))
    parser.add_argument('data', type=Path, help='folder of the set; for own: a config that names pictures and labels')
    parser.add_argument(
        '--presets', nargs='+', help='training-free methods; for miniworld (default: maskclip naclip) and own'
    )
    parser.add_argument('--clip', default=DEFAULT_CLIP, help='for own with presets: CLIP, as in denseclip segment')
    parser.add_argument('--weights', help='for own: weights of the model, or of the CLIP')
    parser.add_argument('--every', type=int, default=1, help='take every so-manieth picture')
    parser.add_argument('--keep', type=Path, metavar='FOLDER', help='keep what was seen')
    parser.add_argument('--write', action='store_true', help='keep the calibrations beside the weights')
    args = parser.parse_args()
    if args.set == 'camvid':
        calibration = study_camvid(args)
        if args.write:
            print(save_calibrations(default_model()[1], {TRAINED: calibration}))
        return 0
    if args.set == 'own':
        return study_own(args)
    found = {preset: study_miniworld(args, preset) for preset in args.presets or ('maskclip', 'naclip')}
    if args.write:
        print(save_calibrations(CLIP, found))
    return 0


def study_camvid(args: argparse.Namespace) -> Calibration:
    """The bundled model on CamVid."""
    inferencer = Inferencer()
    inferencer.calibration = None
    words, rng = camvid_words('fit'), np.random.default_rng(FIT_SEED)
    seen = Found()
    for split, every, cut, counts in (
        ('train', 3, False, (5, 5)),
        ('train', 3, True, None),
        ('val', 2, True, None),
    ):
        batch = pictures.camvid(args.data, split, every * args.every, rng if cut else None)
        seen += kept(args, f'camvid_{split}_{cut}', lambda b=batch, c=counts: look(inferencer, b, words, rng, c))
    calibration = fit(seen, {'data': 'CamVid, train and val', 'words': len(seen.kinds)})
    tests = []
    for seed in TEST_SEEDS:
        batch = pictures.camvid(args.data, 'test', args.every)
        rng = np.random.default_rng(seed)
        tests.append(
            kept(args, f'camvid_test_{seed}', lambda b=batch, r=rng: look(inferencer, b, camvid_words('test'), r))
        )
    return report('CamVid, bundled model', calibration, tests)


def study_miniworld(args: argparse.Namespace, preset: str) -> Calibration:
    """A preset of miniworld's CLIP: validation pictures wear colours that its captions never named with a noun."""
    names = [entry.names for entry in Vocabulary.named('miniworld').classes]
    inferencer = Inferencer.from_preset(preset, [n[0] for n in names], CLIP)
    inferencer.calibration = None
    parts = {part: Words(names, [], word_list(f'far_{part}')) for part in ('fit', 'test')}
    batch = pictures.miniworld(args.data, 'training', args.every)
    rng = np.random.default_rng(FIT_SEED)
    seen = kept(args, f'{preset}_fit', lambda: look(inferencer, batch, parts['fit'], rng))
    calibration = fit(seen, {'data': 'miniworld, training', 'words': len(seen.kinds)})
    tests = []
    for seed in TEST_SEEDS:
        some, rng = pictures.miniworld(args.data, 'validation', args.every), np.random.default_rng(seed)
        tests.append(kept(args, f'{preset}_test_{seed}', lambda b=some, r=rng: look(inferencer, b, parts['test'], r)))
    return report(f'miniworld, {preset}', calibration, tests)


def study_own(args: argparse.Namespace) -> int:
    """A model, or presets of a CLIP, on the pictures of a config."""
    found = {}
    for preset in args.presets or (None,):
        if preset is None:
            inferencer = Inferencer(args.data, args.weights)
        else:
            inferencer = Inferencer.from_preset(preset, 'something', args.clip, args.weights)
        inferencer.calibration = None
        seen = []
        for part, seed in (('fit', FIT_SEED), ('test', TEST_SEEDS[0])):
            names, batch = pictures.of_config(args.data, len(seen) * args.every, 2 * args.every)
            known = {entry.name: entry.names for entry in inferencer.own_vocabulary.classes}
            words = Words([known.get(name, (name,)) for name in names], [], word_list(f'far_{part}'))
            rng = np.random.default_rng(seed)
            tag = f'{args.data.stem}_{preset or TRAINED}_{part}'
            seen.append(kept(args, tag, lambda i=inferencer, b=batch, w=words, r=rng: look(i, b, w, r)))
        calibration = fit(seen[0], {'data': f'{args.data.name}, every other picture', 'words': len(seen[0].kinds)})
        found[preset or TRAINED] = report(f'{args.data.name}, {preset or "the model"}', calibration, seen[1:])
    if args.write:
        print(save_calibrations(args.weights or args.clip, found))
    return 0


def kept(args: argparse.Namespace, name: str, make: Callable[[], Found]) -> Found:
    """What was seen, from an earlier run if it was kept."""
    file = None if args.keep is None else args.keep / f'{name}.json'
    if file is not None and file.is_file():
        data = json.loads(file.read_text())
        return Found(**{**data, 'evidence': [np.array(row, dtype=np.float32) for row in data['evidence']]})
    found = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**vars(found), 'evidence': [row.tolist() for row in found.evidence]}))
    return found


def report(title: str, calibration: Calibration, tests: list[Found]) -> Calibration:
    """Print mean and spread over the draws; the calibration comes back with what was measured."""
    print(f'\n{title}: {sum(len(t.kinds) for t in tests)} words, {len(tests)} draws')
    print(f'weights {dict(zip(calibration.features, calibration.weights, strict=True))} bias {calibration.bias}')
    about: dict[str, Any] = dict(calibration.about)
    for kind, how in ((CALIBRATED, calibration), (RANK, None)):
        rows = [quality(t, confidences(t, how), CHANCES[kind]) for t in tests]
        print(f'{kind}:')
        for key in rows[0]:
            values = [row[key] for row in rows if key in row]
            print(f'  {key:<24} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})')
        if how is not None:
            about['auroc'] = round(float(np.mean([row['pooled'] for row in rows])), 3)
    return Calibration(calibration.weights, calibration.bias, calibration.features, calibration.words, about)


if __name__ == '__main__':
    sys.exit(main())
