"""What a process holds of a model between two steps of training, copied and spread.

    python studies/sharded_bytes.py configs/fcclip/fcclip_convnext-l_369k_ade20k-1333x800.py --processes 2 8

Parameters, gradients and Adam's moments are counted from shapes, on the meta device: nothing is computed or read. What
a pass needs besides (activations, regions that are put together for the moment) is not in it.
"""

from __future__ import annotations

import argparse
import sys

import torch
from mmengine.registry import MODELS, init_default_scope

from denseclip.engine.config import load_config
from denseclip.engine.sharding import held_bytes


def main() -> int:
    """Print a row for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--processes', type=int, nargs='+', default=[2, 8])
    args = parser.parse_args()
    config = load_config(args.config)
    init_default_scope(config.get('default_scope', 'mmengine'))
    with torch.device('meta'):
        model = MODELS.build(config.model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    print(f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {trained:.1f} M of them trained')
    print('| each process holds, MB | parameters | gradients | optimizer | all |\n|---|---:|---:|---:|---:|')
    for processes in (1, *args.processes):
        sizes = held_bytes(model, processes)
        cells = [size / 1e6 for size in (*sizes.values(), sum(sizes.values()))]
        name = 'copied' if processes == 1 else f'spread over {processes}'
        print(f'| {name} | ' + ' | '.join(f'{cell:.0f}' for cell in cells) + ' |')
    return 0


if __name__ == '__main__':
    sys.exit(main())
