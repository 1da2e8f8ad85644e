"""Layout of mask-noun pairs for :func:`generated.write_dataset`."""

import numpy as np
from PIL import Image

from denseclip.datasets.pair_store import MaskNounPair, PairStore
from generated.writing import Request, register_layout

NOUNS = ('tree', 'house', 'boat', 'flower', 'bottle', 'box', 'grass', 'sand', 'water', 'sky')
"""Words that are classes of ADE20K and of miniworld, so that regions have a label in either vocabulary."""
FOLDERS = {
    'train': ('train2017', 'mask_pairs/train2017'),
    'val': ('images/validation', 'mask_pairs/validation'),
}
"""Pictures and pairs of each split."""


@register_layout('mask_pairs', dataset_types=('MaskNounPairs',), num_classes=len(NOUNS), size=(75, 100))
def _write_mask_pairs(request: Request) -> None:
    """Pictures, and a folder of pairs for each split: a region for every class of every picture."""
    for split, count in (('train', request.num_train), ('val', request.num_val)):
        images, pairs = FOLDERS[split]
        store = PairStore(request.root / pairs)
        store.begin({'source': 'generated', 'seed': request.seed}, count, chunk_size=1)
        for index, scene in enumerate(request.scenes(split, count)):
            path = request.root / images / f'{index:012d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(path, quality=95)
            present = [k for k in np.unique(scene.labels).tolist() if k < len(NOUNS)]
            store.write(
                index,
                (
                    MaskNounPair.of(path.name, scene.labels == k, NOUNS[k], f'a photo of a {NOUNS[k]} in the scene')
                    for k in present
                ),
            )
