#!/usr/bin/env python
"""Write the meta.json of AnoVL and APRIL-GAN for MVTec AD or VisA."""

import argparse
import sys
from pathlib import Path

from denseclip.apis.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dataset', choices=['mvtec', 'visa'], help='which layout')
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument('--out', metavar='FILE', help='file to write (default: meta.json in the folder)')
    parser.add_argument('--force', action='store_true', help='replace the file when it exists')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets import MVTecADDataset, VisADataset
    from denseclip.datasets.anomaly_layouts import SPLITS
    from denseclip.datasets.converters import write_anomaly_meta

    kind = {'mvtec': MVTecADDataset, 'visa': VisADataset}[args.dataset]
    splits = [kind(args.root, split=split, lazy_init=True) for split in SPLITS]
    target = args.out or Path(args.root) / 'meta.json'
    counts = write_anomaly_meta(splits, target, force=args.force)
    print(f'{target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
