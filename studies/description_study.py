"""Are descriptions of classes worth anything? Names alone, descriptions, and descriptions that say nothing.

    python studies/description_study.py data/CamVid --classes camvid --ignore 11 --descriptions FILE

A file of pairs ("mug | bottle") is for models of masks, ``--model ovseg --masks superpixels --clip local-dir:FOLDER``:
the likeliest classes of each mask are compared again, also by sentences that are exchanged between the two classes.

Source: the control of "Does VLM Classification Benefit from LLM Description Semantics?" (AAAI 2025): a gain over names
that shuffled descriptions (another class's) or random words of the same number give, too, comes from averaging
sentences, not from what they say.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from denseclip.apis.adapt import labelled_maps
from denseclip.apis.loading import load_model
from denseclip.apis.new_dataset import typed_classes
from denseclip.clip.descriptions import random_descriptors, read_descriptions
from denseclip.clip.differences import (
    Difference,
    exchanged,
    file_of_pairs,
    random_differences,
    read_differences,
)
from denseclip.clip.unrelated import unrelated_words
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.pixel_fit import confusion, mean_iou


def shuffled(descriptions: Mapping[str, Sequence[str]], seed: int) -> dict[str, Sequence[str]]:
    """Every class gets the descriptions of another one."""
    names = list(descriptions)
    order = names[:]
    random.Random(seed).shuffle(order)
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return {name: descriptions[following[name]] for name in names}


def variants(
    vocabulary: Vocabulary, descriptions: Mapping[str, Sequence[str]], seeds: int
) -> dict[str, list[Vocabulary]]:
    """Vocabularies to compare, by what they are; several draws of those that say nothing."""
    draws = range(seeds)
    nothing = [random_descriptors(descriptions, unrelated_words(), seed) for seed in draws]
    return {
        'names alone': [vocabulary],
        'descriptions': [vocabulary.with_descriptions(descriptions)],
        "another class's": [vocabulary.with_descriptions(shuffled(descriptions, seed)) for seed in draws],
        'random words': [vocabulary.with_descriptions(found) for found in nothing],
    }


def pair_variants(vocabulary: Vocabulary, differences: Sequence[Difference], seeds: int) -> dict[str, list[Vocabulary]]:
    """The same for sentences that tell pairs of classes apart."""
    nothing = [random_differences(differences, unrelated_words(), seed) for seed in range(seeds)]
    return {
        'names alone': [vocabulary],
        'descriptions': [vocabulary.with_differences(differences)],
        'exchanged': [vocabulary.with_differences(exchanged(differences))],
        'random words': [vocabulary.with_differences(found) for found in nothing],
    }


def measure(inferencer: Any, data: Any, words: Vocabulary, pictures: Sequence[Path]) -> float:
    """Mean IoU of some words on some pictures."""
    truth = data.truth(len(words))
    table = torch.zeros(len(words), len(words), dtype=torch.long)
    for path in pictures:
        labels = torch.from_numpy(truth(str(path)))
        found = torch.from_numpy(inferencer.segment(path, words, scores=False).label_map).long()
        table += confusion(found[labels >= 0], labels[labels >= 0], len(words))
    return mean_iou(table)


def report(scores: Mapping[str, Sequence[float]]) -> str:
    """A row for each kind of words, and how far descriptions are from those that say nothing."""
    lines = ['| | mIoU | spread |', '|---|---:|---:|']
    for name, found in scores.items():
        spread = f'{statistics.stdev(found):.1f}' if len(found) > 1 else ''
        lines.append(f'| {name} | {statistics.mean(found):.1f} | {spread} |')
    real, nothing = scores['descriptions'][0], scores['random words']
    lead, width = real - statistics.mean(nothing), statistics.stdev(nothing) if len(nothing) > 1 else 0.0
    verdict = 'more than' if lead > 2 * width else 'no more than'
    lines.append(f'\ndescriptions say {verdict} random words: {lead:+.1f} mIoU, spread of the draws {width:.1f}')
    return '\n'.join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--classes', required=True, help='words, as for denseclip adapt')
    parser.add_argument('--descriptions', required=True, help='JSON, as for denseclip segment')
    parser.add_argument('--ignore', nargs='+', default=[])
    parser.add_argument('--seeds', type=int, default=5, help='draws of those that say nothing')
    parser.add_argument('--every', type=int, default=12, help='each so-manieth picture of the test split')
    parser.add_argument('--model', help='name of a model (default: the bundled one)')
    parser.add_argument('--clip')
    parser.add_argument('--masks', help='of ovseg, such as superpixels')
    parser.add_argument('--whole', action='store_true', help='pictures stay in their own size (small CLIPs)')
    args = parser.parse_args()
    words, _ = typed_classes(args.classes)
    with labelled_maps(args.folder, words, {'ignore': args.ignore}) as (data, vocabulary):
        own = {'masks': args.masks, 'selection': 'all'} if args.masks else {}
        inferencer: Any = load_model(args.model, words=vocabulary, clip=args.clip, device='cpu', **own)
        if args.whole:
            inferencer = type(inferencer).from_model(inferencer.model, [{'type': 'PackSegInputs'}])
        splits = data.splits
        pairs = splits.get('test', splits.get('val', splits['train'])).pairs[:: args.every]
        pictures = [pair.picture for pair in pairs]
        if file_of_pairs(args.descriptions):
            kinds = pair_variants(vocabulary, read_differences(args.descriptions, vocabulary.names), args.seeds)
        else:
            kinds = variants(vocabulary, read_descriptions(args.descriptions), args.seeds)
        scores = {name: [measure(inferencer, data, each, pictures) for each in many] for name, many in kinds.items()}
    print(f'{len(pictures)} pictures, {args.seeds} draws\n\n{report(scores)}')


if __name__ == '__main__':
    main()
