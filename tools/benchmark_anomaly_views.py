#!/usr/bin/env python
"""Measure AnoVL's image score over 22 views: batched, one view after the other, and as the authors run it.

python tools/benchmark_anomaly_views.py [--model ViT-B-16-plus-240] [--repeats N] [--threads N]

The authors pass the picture once for the map and all 22 views, itself among them, one by one for the score: 23 passes,
each with both attentions in every block, written out as matrices, and with the embeddings of all patches. Here views
pass in batches, the picture itself passes once, views have the ordinary attention alone, and their last block runs for
the class token alone.

Weights are random, since time does not depend on them. All versions run in one process, in turn; the medians and their
ratios are printed, and the exit code is 1 if two scores differ by more than 1e-5.
"""

import argparse
import sys
from contextlib import nullcontext

import torch

import denseclip  # noqa: F401  (registers the models)
from denseclip.cli.programs import add_debug_option, at_least, program
from denseclip.clip.loading import load_clip
from denseclip.engine.benchmark.machine import set_up
from denseclip.engine.benchmark.plain_anomaly import plain_views
from denseclip.engine.benchmark.timing import in_turn
from denseclip.models.anomaly import AnoVL

BATCHED, AUTHORS = 'batched', "authors' order"


@program
def main(argv: list[str]) -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='ViT-B-16-plus-240', help='open_clip architecture (default: %(default)s)')
    parser.add_argument('--repeats', type=at_least(1), default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    add_debug_option(parser)
    args = parser.parse_args(argv)
    set_up(args.device, args.threads)
    loaded = load_clip(args.model)
    # One short sentence per state: the text side is made once per object and is not what is measured here.
    prompts = dict(base='anovl', frames=['a photo of a {}'], domains=dict(photo=['a photo']), default_domain='photo')
    prompts.update(object_domains={})
    model = AnoVL(loaded, prompts=prompts, object_name='part').to(args.device).eval()
    image = torch.randn(1, 3, *model.image_size, device=args.device)
    pass_sizes = {BATCHED: model.pass_size, 'one by one': 1, AUTHORS: 1}
    scores: dict[str, float] = {}

    def run(name: str) -> None:
        model.pass_size = pass_sizes[name]
        with torch.no_grad(), plain_views(model) if name == AUTHORS else nullcontext():
            scores[name] = float(model.score_picture(image, 'part').score)

    cases = {name: (lambda name=name: run(name)) for name in pass_sizes}
    samples = in_turn(cases, repeats=args.repeats, device=args.device, label='views')
    for name, sample in samples.items():
        print(f'{name:15s} {sample.median * 1e3:9.1f} ms per picture (median of {args.repeats})')
    for name in list(samples)[1:]:
        ratio = samples[name].median / samples[BATCHED].median
        print(f'batched is {ratio:.2f}x as fast as {name}; scores differ by {abs(scores[BATCHED] - scores[name]):.1e}')
    return int(max(scores.values()) - min(scores.values()) > 1e-5)


if __name__ == '__main__':
    sys.exit(main())
