"""The commands that faults strike, and the small world that they read."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from harness import ROOT, Command
from leftovers import VOLATILE, digests_of_files

CLIP = 'local-dir:checkpoints/miniworld_clip'
WORDS = 'sky; road = street; star; bar'
_PRESET = ('--preset', 'maskclip', '--clip', CLIP)
_TOY = (
    '{world}/toy.py',
    '--work-dir',
    '{out}',
    '--resume',
    '--cfg-options',
    'train_cfg.max_iters=6',
    'train_cfg.val_interval=3',
    'default_hooks.checkpoint.interval=2',
)
CONFIG = """_base_ = '{base}'
train_dataloader = dict(dataset=dict(data_root='{data}'))
val_dataloader = dict(dataset=dict(data_root='{data}'))
test_dataloader = dict(dataset=dict(data_root='{data}'))
custom_imports = dict(imports=['denseclip', 'chaos_hooks'], allow_failed_imports=False, _delete_=True)
custom_hooks = [dict(type='PoisonHook')]
"""


def digests_of_training(out: Path) -> dict[str, str]:
    """Names of checkpoints, and every tensor of the last one: weights, optimizer, random states."""
    import hashlib

    import torch

    found = {path.name: 'there' for path in sorted(out.glob('*.pth'))}

    def walk(node: object, name: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f'{name}.{key}')
        elif isinstance(node, list | tuple):
            for key, value in enumerate(node):
                walk(value, f'{name}.{key}')
        elif hasattr(node, 'detach'):
            found[name] = hashlib.sha256(node.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]

    last = out / 'iter_6.pth'
    if last.is_file():
        content = torch.load(last, map_location='cpu', weights_only=True)
        for part in ('state_dict', 'optimizer', 'training_state'):
            walk(content.get(part, {}), part)
    return found


def digests_without_logs(out: Path) -> dict[str, str]:
    """Results of a test, without the work directory beside them."""
    return {name: digest for name, digest in digests_of_files(out).items() if not VOLATILE.search(name)}


_TRAIN_ENV = (('POISON', '{here}/poison'),)
COMMANDS = (
    Command('train', ('train', *_TOY), digests_of_training, _TRAIN_ENV),
    Command(
        'train, a worker',
        ('train', *_TOY, 'train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=True'),
        digests_of_training,
        _TRAIN_ENV,
    ),
    Command(
        'test',
        ('test', '{world}/toy.py', '{world}/toy.pth', '--work-dir', '{here}/logs', '--out', '{out}', '--force'),
        digests_without_logs,
        _TRAIN_ENV,
    ),
    Command('label', ('label', '{world}/shots', '--words', WORDS, '--out', '{out}', *_PRESET)),
    Command(
        'label --to masks',
        ('label', '{world}/shots', '--words', WORDS, '--out', '{out}', '--to', 'masks', '--pictures', 'copy', *_PRESET),
    ),
    Command('segment', ('segment', '{world}/shots', '--classes', WORDS, '--out', '{out}', '--force', *_PRESET)),
    Command(
        'anomaly',
        (
            'anomaly',
            '{world}/shots',
            '--object',
            'tile',
            '--clip',
            CLIP,
            '--method',
            'anovl',
            '--out',
            '{out}',
            '--force',
        ),
    ),
    Command('export', ('export', 'maskclip', '--clip', CLIP, '--out', '{out}', '--force')),
    Command('convert camvid', ('convert', 'camvid', '{world}/camvid', '{out}', '--force')),
    Command('convert cityscapes', ('convert', 'cityscapes', '{world}/cityscapes', '{out}', '--force')),
    Command('convert weights', ('convert', 'weights', '{world}/toy.pth', '{out}/ours.safetensors', '--force')),
    Command('miniworld', ('miniworld', '{out}', '--layout', 'ade20k', '--count', '4', '--val-count', '2')),
    Command(
        'new-dataset',
        (
            'new-dataset',
            '{world}/mine',
            '--out',
            '{out}/mine.py',
            '--converted',
            '{out}/maps',
            '--classes',
            WORDS,
            '--force',
        ),
    ),
    Command(
        'adapt',
        ('adapt', '{world}/mine', '--out', '{out}/head.safetensors', '--force', *_PRESET, '--classes', WORDS),
    ),
)
BY_NAME = {command.name: command for command in COMMANDS}


def build_world(world: Path) -> None:
    """Write the sources of all commands: drawn pictures, generated data sets, a config, a checkpoint."""
    sys.path.insert(0, str(ROOT / 'tests' / 'helpers'))
    from generated import write_dataset
    from PIL import Image

    write_dataset('camvid', world / 'camvid', num_train=6, num_val=2, size=(48, 64))
    write_dataset('cityscapes', world / 'cityscapes', num_train=4, num_val=2)
    from denseclip.datasets.converters.cityscapes import SCORED

    for path in (world / 'cityscapes').rglob('*_labelTrainIds.png'):  # what is published has other ids
        ids = [SCORED[value] if value < len(SCORED) else 0 for value in range(256)]
        Image.open(path).point(ids).save(path.with_name(path.name.replace('TrainIds', 'Ids')))
        path.unlink()
    for folder in ('shots', 'mine/images', 'mine/masks'):
        (world / folder).mkdir(parents=True)
    for number, path in enumerate(sorted((world / 'camvid' / 'train').glob('*.png'))):
        Image.open(path).save(world / 'shots' / f'{number}.jpg', quality=95)
        Image.open(path).save(world / 'mine' / 'images' / f'{number}.jpg', quality=95)
        labels = Image.open(world / 'camvid' / 'trainannot' / path.name)
        labels.point([value % 4 for value in range(256)]).save(world / 'mine' / 'masks' / f'{number}.png')
    toy = ROOT / 'tests' / 'engine' / 'toy_fpn.py'
    (world / 'toy.py').write_text(CONFIG.format(base=toy, data=world / 'camvid'))


def import_everything() -> None:
    """What forked commands find imported; nothing of it runs yet."""
    import denseclip.apis.loading
    import denseclip.datasets.converters
    import denseclip.engine.launch
    import denseclip.export.run  # noqa: F401

    for name in ('mmseg.apis', 'onnx', 'onnxruntime'):  # the package has made the hosts importable
        importlib.import_module(name)

    sys.path.insert(0, str(Path(__file__).parent))
    os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
