#!/usr/bin/env python
"""Write the meta.json of AnoVL and APRIL-GAN for MVTec AD or VisA."""

import argparse
import sys
from pathlib import Path

from denseclip.datasets import MVTecADDataset, VisADataset
from denseclip.datasets.anomaly_layouts import SPLITS
from denseclip.datasets.converters import ConversionError, write_anomaly_meta

DATASETS = {'mvtec': MVTecADDataset, 'visa': VisADataset}


def main() -> int:
    """Run the converter; exit code 1 when the data set has problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dataset', choices=sorted(DATASETS), help='which layout')
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument('--out', metavar='FILE', help='file to write (default: meta.json in the folder)')
    parser.add_argument('--force', action='store_true', help='replace the file when it exists')
    args = parser.parse_args()
    splits = [DATASETS[args.dataset](args.root, split=split, lazy_init=True) for split in SPLITS]
    target = args.out or Path(args.root) / 'meta.json'
    try:
        counts = write_anomaly_meta(splits, target, force=args.force)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
