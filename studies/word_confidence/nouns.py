"""Choose the common nouns that words are compared with: few, spread over all that words mean.

    python -m studies.word_confidence.nouns --count 128 --out denseclip/clip/word_lists/common_nouns.txt

Starts with the noun nearest to the mean of all (``nouns.txt``) in the text space of the bundled model, then takes again
and again the one that is farthest from those taken. Each shorter list is the beginning of each longer one.
Calibrations belong to a list: after a change all have to be fitted again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.apis.inferencer import Inferencer

from .draws import word_list


def main() -> int:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=128, help='number of nouns')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    args = parser.parse_args()
    words = word_list('nouns')
    chosen = farthest_first(embeddings(words))[: args.count]
    args.out.write_text(''.join(f'{words[k]}\n' for k in chosen), encoding='utf-8')
    return 0


def embeddings(words: list[str]) -> Tensor:
    """Unit-length embeddings by the bundled model, (P, E)."""
    model = Inferencer(vocabulary=words).model
    with torch.inference_mode():
        return F.normalize(model.class_text(model.text_encoder, model.contexts)[0].float(), dim=-1)


def farthest_first(rows: Tensor) -> list[int]:
    """Numbers of the rows (P, E) of unit length, each the farthest from those before it."""
    alike = rows @ rows.T
    order = [int((rows @ F.normalize(rows.mean(dim=0), dim=0)).argmax())]
    nearest = alike[order[0]].clone()
    while len(order) < len(rows):
        nearest[order] = torch.inf
        order.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, alike[order[-1]])
    return order


if __name__ == '__main__':
    sys.exit(main())
