#!/usr/bin/env python
"""Measure AnoVL's image score over 22 views: batched, and one view after the other as the authors run it.

python tools/benchmark_anomaly_views.py [--model ViT-B-16-plus-240] [--repeats N] [--threads N]

Weights are random, since time does not depend on them. Both versions run in one process, in turn; the medians and
their ratio are printed, and the exit code is 1 if the two scores differ by more than 1e-5.
"""

import argparse
import sys

import torch

import denseclip  # noqa: F401  (registers the models)
from denseclip.clip.loading import load_clip
from denseclip.engine.benchmark.timing import in_turn
from denseclip.models.anomaly import AnoVL


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='ViT-B-16-plus-240', help='open_clip architecture (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='rounds that count (default: %(default)s)')
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    loaded = load_clip(args.model)
    # One short sentence per state: the text side is made once per object and is not what is measured here.
    prompts = dict(base='anovl', frames=['a photo of a {}'], domains=dict(photo=['a photo']), default_domain='photo')
    prompts.update(object_domains={})
    models = {
        name: AnoVL(loaded, prompts=prompts, object_name='part', pass_size=size).to(args.device).eval()
        for name, size in (('batched', 32), ('one by one', 1))
    }
    image = torch.randn(1, 3, *models['batched'].image_size, device=args.device)
    scores: dict[str, float] = {}

    def run(name: str) -> None:
        with torch.no_grad():
            model = models[name]
            pooled, _ = model.embed(image)
            scores[name] = float(model.view_scores(image, pooled, model.text_of('part')).mean())

    cases = {name: (lambda name=name: run(name)) for name in models}
    samples = in_turn(cases, repeats=args.repeats, device=args.device, label='views')
    for name, sample in samples.items():
        print(f'{name:12s} {sample.median * 1e3:9.1f} ms per picture (median of {args.repeats})')
    ratio = samples['one by one'].median / samples['batched'].median
    difference = abs(scores['batched'] - scores['one by one'])
    print(f'batched is {ratio:.2f}x as fast; scores differ by {difference:.1e}')
    return int(difference > 1e-5)


if __name__ == '__main__':
    sys.exit(main())
