"""Pictures with captions in shards: tars of WebDataset, or Parquet files.

Both are data sets of numbered samples here, not streams: sample order, the share of each process and the place at which
a run goes on are then those of any other data set, exactly.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Sampler

from ..files.pixels import open_safely, rgb_pixels
from ..files.webdataset import spelled_out
from .caption_index import ParquetShard, Shard, ShardError, TarShard, UnreadableSampleError

_NAMED = 5
"""Bad samples of a shard that are named; the others are counted."""


@DATASETS.register_module()
class CaptionShards:
    """Captioned pictures of many shards; a sample is a picture with its caption, or its captions.

    Each sample has ``img`` (BGR, upright), ``img_path`` (shard and name), ``gt_caption``, ``img_id`` (its number), for
    a pipeline that ends with ``PackCaption``. Samples without a picture or caption are left out and named in the log;
    what cannot be decoded is a damaged sample as in any data set, see ``train_cfg.on_damaged``.

    Args:
        shards: Files, patterns (``*.tar``) or ranges (``{00000..00099}.tar``), ``.tar`` or ``.parquet``.
        data_root: Folder that they lie in.
        pipeline: Transforms.
        image: Endings of pictures in a tar.
        caption: Ending of captions in a tar: ``txt``, or ``json`` for the entry ``field`` of one.
        field: See there.
        columns: Columns of pictures and captions in Parquet.

    Raises:
        ShardError: If there is no shard, one cannot be used, or there is no sample.
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        data_root: str = '',
        pipeline: Sequence[Any] = (),
        image: Sequence[str] = ('jpg', 'jpeg', 'png', 'webp'),
        caption: str = 'txt',
        field: str = 'caption',
        columns: Sequence[str] = ('image', 'caption'),
    ) -> None:
        self.metainfo: dict[str, Any] = {}
        self.pipeline: Callable[[dict[str, Any]], Any] = Compose(pipeline)
        paths = shard_paths(shards, data_root)
        self.shards: list[Shard] = []
        for path in paths:
            if path.suffix == '.parquet':
                self.shards.append(ParquetShard(path, columns[0], columns[1]))
            else:
                self.shards.append(TarShard(path, image, caption, field))
            self._tell(self.shards[-1])
        self._starts = np.cumsum([0, *(sum(shard.lengths) for shard in self.shards)])
        if len(self) == 0:
            wanted = f'a picture ({", ".join(image)}) and a caption ({caption}) of one name'
            raise ShardError(f"no sample in {len(paths)} shards, the first is '{paths[0]}': a tar takes {wanted}")

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """First sample and end of what lies together."""
        ends = np.cumsum([0, *(length for shard in self.shards for length in shard.lengths)])
        return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))

    def __len__(self) -> int:
        """Number of samples."""
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Any:
        """A sample, through the pipeline; see :meth:`load`."""
        return self.pipeline(self.load(int(index)))

    def load(self, place: int) -> dict[str, Any]:
        """A sample before the pipeline.

        Raises:
            UnreadableSampleError: It cannot be decoded.
        """
        number = int(np.searchsorted(self._starts, place, side='right')) - 1
        shard = self.shards[number]
        encoded, caption, name = shard.read(place - int(self._starts[number]))
        if not caption or not (isinstance(caption, str) or all(isinstance(text, str) for text in caption)):
            raise UnreadableSampleError(f"'{shard.path}', {name}: its caption is empty, or no text")
        try:
            with open_safely(io.BytesIO(encoded)) as picture:
                rgb = rgb_pixels(picture)
        except MemoryError:
            raise
        except Exception as error:  # decoders of rarer formats raise anything
            raise UnreadableSampleError(f"'{shard.path}', {name}: its picture cannot be read ({error})") from error
        return {
            'img': np.ascontiguousarray(rgb[..., ::-1]),
            'img_path': f'{shard.path}/{name}',
            'img_id': place,
            'img_shape': rgb.shape[:2],
            'ori_shape': rgb.shape[:2],
            'gt_caption': caption,
        }

    @staticmethod
    def _tell(shard: Shard) -> None:
        if shard.bad:
            named = '; '.join(shard.bad[:_NAMED]) + (' ...' if len(shard.bad) > _NAMED else '')
            print_log(f"'{shard.path}': {len(shard.bad)} left out: {named}", logger='current', level=logging.WARNING)


def shard_paths(shards: str | Sequence[str], data_root: str = '') -> list[Path]:
    """Files that patterns and ranges stand for, in order, each once.

    Raises:
        ShardError: If there is none, or one of a range or a name is missing.
    """
    found: dict[Path, None] = {}
    for pattern in [shards] if isinstance(shards, str) else shards:
        if any(sign in pattern for sign in '*?['):
            found.update(dict.fromkeys(sorted(Path(data_root).glob(pattern))))
            continue
        for name in spelled_out(pattern):
            path = Path(data_root) / name
            if not path.is_file():
                raise ShardError(f"shard '{path}' does not exist; check data_root and shards")
            found[path] = None
    if not found:
        raise ShardError(f"no shard fits {shards!r} in '{data_root}'; check data_root and shards")
    return list(found)


@DATA_SAMPLERS.register_module()
class BlockSampler(Sampler[int]):
    """Endless order of a data set with ``blocks``, shuffled so that what is read together comes together.

    In each pass, blocks are shuffled, and then the samples of every ``window`` blocks among each other: a run reads a
    few places of the disk at a time, and a group of rows once by each worker of each process, which keeps four of them
    (a ``window`` above four has it read them again). Samples are dealt to the processes in turn: in a pass, each is
    seen once, by one process.

    Args:
        dataset: Has ``blocks``, such as :class:`CaptionShards`.
        window: Blocks that are mixed; all of them give an ordinary shuffle.
        shuffle: Off: the order of the files.
        seed: The same in all processes; drawn if None.

    Raises:
        TypeError: If the data set has no blocks.
    """

    def __init__(self, dataset: Any, window: int = 4, shuffle: bool = True, seed: int | None = None) -> None:
        if not hasattr(dataset, 'blocks'):
            raise TypeError(f'BlockSampler is for data sets of shards; {type(dataset).__name__} has no blocks')
        self.blocks, self.size = dataset.blocks, len(dataset)
        self.window, self.shuffle = window, shuffle
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed

    def _stream(self) -> Iterator[int]:
        epoch = 0
        while True:
            rng = np.random.default_rng((self.seed, epoch))
            order = rng.permutation(len(self.blocks)) if self.shuffle else np.arange(len(self.blocks))
            for start in range(0, len(order), self.window):
                samples = np.concatenate([np.arange(*self.blocks[k]) for k in order[start : start + self.window]])
                if self.shuffle:
                    rng.shuffle(samples)
                yield from samples.tolist()
            epoch += 1

    def __iter__(self) -> Iterator[int]:
        """Numbers of samples for this process."""
        return islice(self._stream(), self.rank, None, self.world_size)

    def __len__(self) -> int:
        """Samples of one pass, over all processes."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the order is endless."""
