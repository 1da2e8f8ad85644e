"""Write mask-noun pairs: mined from captions, or read off label maps.

``python tools/mine_mask_pairs.py captions CAPTIONS.json --images FOLDER --clip MODEL --proposer type=... --out FOLDER``
``python tools/mine_mask_pairs.py labels DATASET --data-root FOLDER --images FOLDER --maps FOLDER --out FOLDER``

Under torchrun every process writes its share. The same command goes on where a killed one stopped.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS, DefaultScope

import denseclip  # noqa: F401
from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.programs import add_debug_option, at_least, program
from denseclip.cli.progress import counting
from denseclip.clip.loading import load_clip
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.captions import CaptionedImages
from denseclip.datasets.sources import how_to_get, missing_path
from denseclip.engine.config import OptionError
from denseclip.files.progress import after_each

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.mining import (
    CaptionPairs,
    LabelMapPairs,
    PairSource,
    PictureProposals,
    RegionEncoder,
    mine,
    noun_extractor,
    shard,
)
from studies.mining.sources import TITLE


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    kinds = parser.add_subparsers(dest='kind', required=True)
    captions = kinds.add_parser('captions', help='nouns of captions, each with the proposal that CLIP likes best')
    captions.add_argument('annotations', help="COCO's captions_*.json")
    captions.add_argument('--clip', required=True, help='open_clip architecture, local-dir:FOLDER or hf-hub:NAME')
    captions.add_argument('--pretrained', help="tag or file of the architecture's weights")
    add_cfg_options(captions, '--proposer', required=True, help='its type and arguments')
    captions.add_argument('--nouns', default='nltk', help="'nltk', a list of the suite, a text file, or 'dog; cat'")
    captions.add_argument('--modifiers', nargs='*', default=(), help='words kept before a noun of a word list')
    captions.add_argument('--captions', type=at_least(1), help='read only so many captions of a picture (default: all)')
    captions.add_argument('--templates', default='vild', help='sentences for matching (default: vild)')
    captions.add_argument('--min-score', type=float, default=-1.0, help='smallest cosine (default: take all)')
    captions.add_argument('--mutual', action='store_true', help="keep pairs that are each other's best only")
    captions.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    labels = kinds.add_parser('labels', help='the true region of every class of a label map')
    labels.add_argument('dataset', help='data set class, for example ADE20KDataset')
    labels.add_argument('--data-root', default='')
    labels.add_argument('--maps', required=True, help='folder of the label maps')
    labels.add_argument('--ann-file', default='', help='list of names, if the set has one')
    labels.add_argument('--vocabulary', help="names for the classes (default: the data set's)")
    for kind in (captions, labels):
        add_debug_option(kind)
        kind.add_argument('--images', required=True, help='folder of the pictures')
        kind.add_argument('--out', required=True, help='folder to write into')
        kind.add_argument('--title', default=TITLE, help='sentence of a pair, with {} for the noun')
        kind.add_argument('--min-area', type=float, default=0.001, help='of the picture (default: 0.001)')
        kind.add_argument('--chunk-size', type=at_least(1), default=64, help='pictures per file (default: 64)')
    return parser.parse_args(argv)


def caption_source(args: argparse.Namespace) -> PairSource:
    """Pairs from captions."""
    device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if args.device == 'cuda' else args.device
    return CaptionPairs(
        CaptionedImages(ann_file=args.annotations, data_prefix=dict(img_path=args.images)),
        PictureProposals(args.proposer, device),
        RegionEncoder(load_clip(args.clip, args.pretrained), templates=args.templates, device=device),
        noun_extractor(args.nouns, args.modifiers),
        captions=args.captions,
        title=args.title,
        min_area=args.min_area,
        min_score=args.min_score,
        mutual=args.mutual,
        about={'proposer': {key: str(value) for key, value in args.proposer.items()}},
    )


def label_source(args: argparse.Namespace) -> PairSource:
    """Pairs from label maps."""
    config: dict[str, Any] = dict(
        type=args.dataset,
        data_root=args.data_root,
        data_prefix=dict(img_path=args.images, seg_map_path=args.maps),
        pipeline=[],
    )
    if args.ann_file:
        config['ann_file'] = args.ann_file
    with DefaultScope.overwrite_default_scope('mmseg'):
        missing = missing_path(config)
        if missing is not None:
            raise OptionError(f"'{missing}' does not exist. {how_to_get(config)}".strip())
        words = Vocabulary.typed(args.vocabulary) if args.vocabulary else None
        return LabelMapPairs(DATASETS.build(config), words, title=args.title, min_area=args.min_area)


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    args = parse_args(argv)
    rank, world = shard()
    source = caption_source(args) if args.kind == 'captions' else label_source(args)
    with counting('mining') if rank == 0 else nullcontext() as show:
        mined = mine(
            source,
            args.out,
            rank=rank,
            world=world,
            chunk_size=args.chunk_size,
            progress=after_each(show, len(source) // world),
        )
    left = f'; {mined.missing} files of other processes are not written yet' if mined.missing else ''
    print(f'{args.out}: {mined.pairs} pairs of {mined.pictures} pictures, {len(mined.unreadable)} unreadable{left}')


if __name__ == '__main__':
    sys.exit(main())
