"""Shards of pictures and captions: every sample once, in the same order after a resume, and bad ones by name."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from denseclip.datasets.caption_index import ShardError, UnreadableSampleError
from denseclip.datasets.caption_shards import BlockSampler, CaptionShards, shard_paths
from denseclip.engine.data import make_resumable
from denseclip.engine.data.seeded import DAMAGED, SeededDataset, SeededIndex
from denseclip.engine.launch import TrainOptions, train

PIPELINE = [dict(type='PackCaption')]


def picture(number: int, kind: str = 'PNG') -> bytes:
    """A picture of one colour that tells its number."""
    buffer = io.BytesIO()
    Image.new('RGB', (4, 4), (number, 0, 255 - number)).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, 'w') as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(first: int, count: int) -> dict[str, bytes]:
    return {
        f'{number:04d}.{ending}': content
        for number in range(first, first + count)
        for ending, content in (('png', picture(number)), ('txt', f'number {number}'.encode()), ('json', b'{}'))
    }


def tars(folder: Path) -> CaptionShards:
    for shard in range(3):
        write_tar(folder / f'{shard:02d}.tar', samples(10 * shard, 10))
    return CaptionShards('{00..02}.tar', str(folder), PIPELINE)


def parquet(folder: Path) -> CaptionShards:
    for shard in range(3):
        rows = range(10 * shard, 10 * shard + 10)
        images = [{'bytes': picture(row), 'path': None} for row in rows]
        table = pa.table({'image': images, 'caption': [f'number {row}' for row in rows]})
        pq.write_table(table, folder / f'{shard}.parquet', row_group_size=4)
    return CaptionShards('*.parquet', str(folder), PIPELINE)


KINDS = pytest.mark.parametrize('make', [tars, parquet])
Make = Callable[[Path], CaptionShards]


@KINDS
def test_picture_and_caption_of_a_sample_belong_together(make: Make, tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(make(tmp_path)))
    assert len(dataset) == 30
    for number in (29, 0, 13):
        sample = dataset[number]
        assert sample['inputs'][:, 0, 0].tolist() == [255 - number, 0, number]  # BGR
        assert sample['data_samples'].caption == f'number {number}'
        assert Path(sample['data_samples'].img_path).parent.is_file()


def captions(dataset: CaptionShards, start: int, batches: int, workers: int = 0) -> list[list[str]]:
    config: dict[str, Any] = dict(
        dataset=dataset,
        batch_size=4,
        num_workers=workers,
        sampler=dict(type='BlockSampler', window=2),
        collate_fn=dict(type='pseudo_collate'),
    )
    loader = make_resumable(Runner.build_dataloader(config, seed=5), seed=5)
    loader.places.seek(start)
    return [[s.caption for s in batch['data_samples']] for batch, _ in zip(loader, range(batches), strict=False)]


@KINDS
def test_a_run_goes_on_with_the_sample_where_it_stopped(make: Make, tmp_path: Path) -> None:
    dataset = make(tmp_path)
    whole = captions(dataset, 0, 16)
    assert captions(dataset, 5, 11) == whole[5:]
    assert captions(dataset, 9, 3, workers=2) == whole[9:12]  # in the second pass
    assert sorted(sum(whole, [])[:30]) == sorted(f'number {k}' for k in range(30))
    assert sum(whole, [])[:30] != sum(whole, [])[30:60]


@KINDS
def test_processes_share_each_pass_without_a_sample_twice(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, shares = make(tmp_path), []
    for rank in range(2):
        monkeypatch.setattr('denseclip.datasets.caption_shards.get_dist_info', lambda rank=rank: (rank, 2))
        stream = iter(BlockSampler(dataset, seed=1))
        shares.append([next(stream) for _ in range(45)])
    for begin in (0, 15, 30):
        parts = [share[begin : begin + 15] for share in shares]
        assert sorted(sum(parts, [])) == list(range(30))


def test_samples_that_lie_together_come_together(tmp_path: Path) -> None:
    """Four rows a group, windows of two groups: eight samples in a row are of two groups."""
    dataset = parquet(tmp_path)
    first = [number for number, _ in zip(iter(BlockSampler(dataset, window=2, seed=0)), range(4), strict=False)]
    blocks = {next(k for k, (low, high) in enumerate(dataset.blocks) if low <= number < high) for number in first}
    assert len(blocks) <= 2
    plain = BlockSampler(dataset, shuffle=False)
    assert [number for number, _ in zip(iter(plain), range(31), strict=False)] == [*range(30), 0]


def test_open_files_do_not_grow_with_the_number_of_tars(tmp_path: Path) -> None:
    dataset = tars(tmp_path)
    before = len(os.listdir('/dev/fd'))
    assert [dataset[place]['data_samples'].caption for place in (0, 10, 20)] == ['number 0', 'number 10', 'number 20']
    assert len(os.listdir('/dev/fd')) == before


def test_rows_in_memory_do_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    rows = [np.random.default_rng(number).bytes(300_000) for number in range(8)]
    for number, content in enumerate(rows):
        pq.write_table(pa.table({'image': [content], 'caption': [str(number)]}), tmp_path / f'{number}.parquet')
    shards = CaptionShards('*.parquet', str(tmp_path)).shards
    before = pa.total_allocated_bytes()
    assert [shard.read(0)[0] for shard in shards] == rows
    assert pa.total_allocated_bytes() - before < 5 * 300_000
    pq.write_table(pa.table({'image': [b'new'], 'caption': ['new']}), tmp_path / '7.parquet')
    assert CaptionShards('7.parquet', str(tmp_path)).shards[0].read(0)[0] == b'new'


def test_bad_members_are_named_and_counted(tmp_path: Path) -> None:
    members = samples(0, 4)
    del members['0001.txt']
    members |= {'alone.txt': b'words', '0002.png': b'no picture', '0003.txt': b'\xff\xfe'}
    path = write_tar(tmp_path / 'a.tar', members)
    dataset = CaptionShards('a.tar', str(tmp_path), PIPELINE)
    assert dataset.shards[0].bad == ['0001: no caption', 'alone: no picture']
    with pytest.raises(UnreadableSampleError, match=rf"'{path}', 0002: its picture"):
        dataset[1]
    with pytest.raises(UnreadableSampleError, match="sample '0003': its caption"):
        dataset[2]
    stand_in = SeededDataset(dataset, seed=0, on_damaged='skip')[SeededIndex(1, (0, 1))]['data_samples']
    assert stand_in.caption == 'number 0' and '0002: its picture' in stand_in.get(DAMAGED)[0]


def test_dots_in_names_lose_no_sample_in_silence(tmp_path: Path) -> None:
    """Numbers between dots belong to the name; a picture that is of no sample for another dot is named."""
    names = ('IMG.0001', 'IMG.0002', 'a', 'J. Smith')
    members = {
        f'{name}.{ending}': content for name in names for ending, content in (('png', picture(0)), ('txt', b'x'))
    }
    write_tar(tmp_path / 'a.tar', members | {'a.seg.png': b'its mask'})
    [shard] = CaptionShards('a.tar', str(tmp_path), PIPELINE).shards
    assert shard.names == ['IMG.0001', 'IMG.0002', 'a']
    assert [line.partition(':')[0] for line in shard.bad] == ['J. Smith.png'] and "first dot, 'J'" in shard.bad[0]


def test_a_damaged_tar_says_that_samples_are_lost(tmp_path: Path) -> None:
    """Cut in a header or in what follows it, without an end, a header that was changed, one that was wiped out."""
    path = write_tar(tmp_path / 'b.tar', samples(0, 4))
    raw, place = path.read_bytes(), path.read_bytes().index(b'0003.txt')
    end = raw.rindex(b'{}') + 512
    damages = {
        'truncated header': raw[: place + 100],
        'unexpected end of data': raw[: place + 513],
        'it has no end': raw[:end],
        'bad checksum': raw[:place] + b'9' + raw[place + 1 :],
        'it goes on behind its end': raw[:place] + bytes(512) + raw[place + 512 :],
    }
    for reason, damaged in damages.items():
        path.write_bytes(damaged)
        shard = CaptionShards('b.tar', str(tmp_path), PIPELINE).shards[0]
        whole = reason == 'it has no end'
        assert sum(shard.lengths) == (4 if whole else 3)
        assert shard.bad[0].startswith("all behind '0003.") and f'({reason})' in shard.bad[0]
        assert shard.bad[1:] == ([] if whole else ['0003: no caption'])
    path.write_bytes(raw[: end + 512])
    assert CaptionShards('b.tar', str(tmp_path), PIPELINE).shards[0].bad == []


@pytest.mark.parametrize('ending', ['tar', 'parquet'])
def test_a_disk_that_fails_is_no_damage(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when a shard is opened nor when a sample is read; the error names the file."""
    dataset = (tars if ending == 'tar' else parquet)(tmp_path)
    error = OSError(errno.EIO, 'Input/output error')

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(*error.args)

    with monkeypatch.context() as patch:
        patch.setattr('os.pread' if ending == 'tar' else 'pyarrow.parquet.ParquetFile.read_row_group', fail)
        with pytest.raises(OSError, match=rf'Input/output.*\.{ending}') as found:
            dataset[0]
        assert found.value.errno == errno.EIO
    monkeypatch.setattr('tarfile.TarFile.next' if ending == 'tar' else 'pyarrow.parquet.ParquetFile.__init__', fail)
    with pytest.raises(OSError, match=rf'Input/output.*\.{ending}'):
        CaptionShards(f'*.{ending}', str(tmp_path))


def test_a_small_clip_learns_from_shards_and_goes_on_exactly(tmp_path: Path) -> None:
    tars(tmp_path)
    dataset = dict(type='CaptionShards', data_root=str(tmp_path), shards='*.tar', pipeline=PIPELINE)
    loader = dict(
        batch_size=4, num_workers=0, collate_fn=dict(type='pseudo_collate'), sampler=dict(type='BlockSampler')
    )
    architecture = dict(
        embed_dim=8,
        vision_cfg=dict(image_size=4, patch_size=2, width=8, layers=1, head_width=4),
        text_cfg=dict(context_length=8, width=8, heads=2, layers=1),
    )
    config = dict(
        model=dict(
            type='ContrastiveCLIP',
            words='miniworld',
            architecture=architecture,
            data_preprocessor=dict(type='ImgDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3),
        ),
        train_dataloader=dict(loader, dataset=dataset),
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=100),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=-1)),
        log_level='ERROR',
    )
    path = tmp_path / 'clip.json'
    path.write_text(json.dumps(config))
    for name, resume in (('whole', None), ('resumed', str(tmp_path / 'whole/iter_2.pth'))):
        options = {'experiment_name': f'shards_{name}'}
        train(path, TrainOptions(work_dir=str(tmp_path / name), resume=resume, seed=0, overrides=options))
    files = [torch.load(tmp_path / name / 'iter_4.pth', weights_only=True) for name in ('whole', 'resumed')]
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(files[0][part], files[1][part], rtol=0, atol=0)


def test_captions_in_json_and_lists(tmp_path: Path) -> None:
    write_tar(tmp_path / 'a.tar', {'x.JPG': picture(1, 'JPEG'), 'x.json': json.dumps({'text': ['one']}).encode()})
    dataset = CaptionShards('a.tar', str(tmp_path), PIPELINE, caption='json', field='text')
    assert dataset[0]['data_samples'].caption == 'one'


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / 'a.tar').write_bytes(b'no tar' * 1000)
    (tmp_path / 'a.parquet').write_bytes(b'no rows')
    write_tar(tmp_path / 'b.tar', {'x.txt': b'words'})
    pq.write_table(pa.table({'text': ['a']}), tmp_path / 'b.parquet')
    for name, words in (
        ('a.tar', 'no tar that can be read'),
        ('a.parquet', 'no Parquet file'),
        ('b.tar', 'no sample in 1 shards'),
        ('b.parquet', "no column 'image'; there are text"),
        ('c*.tar', 'no shard fits'),
        ('{0..1}.tar', r"'.*/0.tar' does not exist"),
    ):
        with pytest.raises(ShardError, match=words):
            CaptionShards(name, str(tmp_path))
    (tmp_path / '7').mkdir()
    assert shard_paths(['b.tar', '*.tar'], str(tmp_path)) == [tmp_path / 'b.tar', tmp_path / 'a.tar']
    with pytest.raises(TypeError, match='no blocks'):
        BlockSampler(np.arange(3), seed=0)
