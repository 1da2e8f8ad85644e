"""Bad inputs of ``tools/`` and of ``denseclip convert``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bad_cases import SMALL_CLIP, Case, Names, case

MINING = f'--images i --clip {SMALL_CLIP} --out o --proposer'
CFG_OPTIONS = """
banana
=3
model
model.
.model=3
a=[1,(2]
a=[
trian_cfg.max_iters=3
model.a.b.c=3
param_scheduler.9.end=3
param_scheduler.x=3
log_level.x=3
train_cfg=3
model=None
train_dataloader=None
train_dataloader.batch_size=0
train_dataloader.batch_size=-1
train_dataloader.batch_size=x
train_dataloader.num_workers=-1
train_cfg.max_iters=0
train_cfg.max_iters=1.5
train_dataloader.dataset.data_root=gone
default_hooks.logger.interval=0
train_dataloader.dataset.data_prefix.img_path=gone
train_dataloader.dataset.img_suffix=.bmp
optim_wrapper.optimizer.lr=-1
optim_wrapper.optimizer.lr=fast
train_dataloader.sampler.type=No
env_cfg.mp_cfg.mp_start_method=no
visualizer.type=No
log_level=LOUD
val_evaluator.iou_metrics=[mIou]
"""
FAULTY_SETS = {
    'picture_empty': 'a picture is empty',
    'picture_cut': 'a picture is cut off',
    'labels_empty': 'a label map is empty',
    'labels_gone': 'a label map is missing',
    'labels_small': 'a label map is smaller than its picture',
    'labels_high': 'a label map holds an id that is no class',
    'labels_colours': 'a label map holds colours',
    'empty': 'no picture',
}
CONVERTERS = {
    'camvid': '{} out',
    'bccd': '{} out',
    'visa': '{} out',
    'magnetic_tile': '{} out',
    'cityscapes': '{} out',
    'cityscapes_panoptic': '{}',
    'ade20k_panoptic': '{}',
    'ade20k_full': '{} out',
    'coco_object': '{} out',
    'coco_stuff164k': '{} out',
    'pascal_context': '{} {} out',
    'pascal_context459': '{} {} out',
    'mvtec_meta': '{}',
    'visa_meta': '{}',
}


def train(names: Names) -> Iterator[Case]:
    """``tools/train.py``."""
    group, short = 'tools/train.py', 'train_cfg.max_iters=2 train_cfg.val_interval=2'
    for name in names.configs:
        yield case(group, f'config {name}', f'{{w}}/configs/{name}')
    for name in names.changed:
        yield case(group, f'config changed {name}', f'{{w}}/changed/{name}')
    yield case(group, 'config of no scope', '{w}/configs/scope.py')
    for name in names.weights:
        yield case(group, f'resume {name}', f'{{w}}/toy.py --resume {{w}}/weights/{name} --cfg-options {short}')
    for name in names.weights[:20]:
        yield case(
            group,
            f'load_from {name}',
            f'{{w}}/toy.py --cfg-options {short} load_from={{w}}/weights/{name}',
            refuse=name not in ('other.pth', 'bare.pth'),  # the bias of the head fits; the rest is said
        )
    for item in CFG_OPTIONS.split():
        yield case(group, f'--cfg-options {item}', f'{{w}}/toy.py --cfg-options {short}', item)
    for label, text in {
        'no config': '',
        'seed text': '{w}/toy.py --seed x',
        'seed negative': '{w}/toy.py --seed -1',
        'seed huge': '{w}/toy.py --seed 99999999999999999999',
        'work_dir is a file': '{w}/toy.py --work-dir {w}/pictures/good.png',
        'work_dir below a file': '{w}/toy.py --work-dir {w}/pictures/good.png/x',
        'work_dir in /proc': '{w}/toy.py --work-dir /proc/x',
        'launcher unknown': '{w}/toy.py --launcher horovod',
        'torchrun without torchrun': '{w}/toy.py --launcher pytorch',
        'slurm without slurm': '{w}/toy.py --launcher slurm',
        'scaling without a base': '{w}/detector.py --auto-scale-lr --cfg-options auto_scale_lr.base_batch_size=None',
        'unknown option': '{w}/toy.py --gpus 8',
        'no cfg-options': '{w}/toy.py --cfg-options',
    }.items():
        yield case(group, label, text)
    for name, fault in FAULTY_SETS.items():
        yield case(group, f'data {fault}', f'{{w}}/toy.py --cfg-options train_cfg.max_iters=9 '
                    f'train_dataloader.dataset.data_root={{w}}/faulty/{name}')  # fmt: skip


def test(names: Names) -> Iterator[Case]:
    """``tools/test.py``."""
    group, good = 'tools/test.py', '{w}/toy.py {w}/toy.pth'
    for name in names.configs:
        yield case(group, f'config {name}', f'{{w}}/configs/{name} {{w}}/toy.pth --out out', target='out')
    for name in (
        'evaluator.py',
        'pipeline.py',
        'loader_number.py',
        'head_unknown.py',
        'head_none.py',
        'classes_less.py',
    ):
        yield case(group, f'config {name}', f'{{w}}/changed/{name} {{w}}/toy.pth --out out', target='out')
    for name in names.weights:
        yield case(group, f'checkpoint {name}', f'{{w}}/toy.py {{w}}/weights/{name} --out out', target='out')
    for name in names.words:
        yield case(group, f'vocabulary {name}', f'{good} --vocabulary {{w}}/words/{name}')
    for label, text in {
        'no checkpoint': '{w}/toy.py',
        'out is a file': f'{good} --out {{w}}/pictures/good.png',
        'out holds files': f'{good} --out {{w}}/words',
        'out below a file': f'{good} --out {{w}}/pictures/good.png/x',
        'show_dir is a file': f'{good} --show-dir {{w}}/pictures/good.png',
        'task unknown': f'{good} --task depth',
        'task of other models': f'{good} --task panoptic',
        'words for a fixed model': f'{good} --vocabulary ade20k',
        'tta without tta': f'{good} --tta --cfg-options tta_model=None',
        'data missing': f'{good} --cfg-options test_dataloader.dataset.data_root=gone',
        'metric unknown': f'{good} --cfg-options test_evaluator.type=No',
        'wait negative': f'{good} --wait-time fast',
        'banana': f'{good} --cfg-options banana',
    }.items():
        yield case(group, label, text)


def audit(names: Names) -> Iterator[Case]:
    """``tools/check_dataset.py``: 2 for what cannot be read, 1 for findings."""
    group = 'tools/check_dataset.py'
    for name in names.configs:
        yield case(group, f'config {name}', f'{{w}}/configs/{name}')
    for name in ('loader_number.py', 'loader_text.py'):
        yield case(group, f'config changed {name}', f'{{w}}/changed/{name}')
    for name, fault in FAULTY_SETS.items():
        line = f'{{w}}/toy.py --split train --cfg-options train_dataloader.dataset.data_root={{w}}/faulty/{name}'
        yield case(group, f'data {fault}', line, code=1)
    for label, text, code in (
        ('data missing', '{w}/toy.py --split train --cfg-options train_dataloader.dataset.data_root=gone', 1),
        ('type unknown', '{w}/toy.py --cfg-options train_dataloader.dataset.type=No', 2),
        ('split unknown', '{w}/toy.py --split dev', 2),
        ('split missing', '{w}/toy.py --split val --cfg-options val_dataloader=None', 2),
        ('workers text', '{w}/toy.py --num-workers x', 2),
        ('banana', '{w}/toy.py --cfg-options banana', 2),
    ):
        yield case(group, label, text, code=code)


def weights(names: Names) -> Iterator[Case]:
    """Tools that read and write weights."""
    for name in names.weights:
        strange = name in ('other.pth', 'bare.pth', 'other.safetensors', 'nothing.safetensors', 'none.pth')
        path = f'{{w}}/weights/{name}'
        yield case(
            'tools/convert_checkpoint.py', name, f'{path} out.safetensors', target='out.safetensors', refuse=not strange
        )
        yield case(
            'tools/convert_checkpoint.py', f'{name} to .pth', f'{path} out.pth', target='out.pth', refuse=not strange
        )
        yield case(
            'tools/publish_model.py', name, f'{path} out.safetensors', target='out.safetensors', refuse=not strange
        )
        yield case('tools/export_pretrained.py', name, f'{{w}}/toy.py {path} out', target='out')
    good = '{w}/weights/other.pth'
    for tool, label, text in (
        ('convert_checkpoint', 'suffix', f'{good} out.bin'),
        ('convert_checkpoint', 'converter unknown', f'{good} out.pth --converter no'),
        ('convert_checkpoint', 'one direction', f'{good} out.pth --converter openai_clip --inverse'),
        ('convert_checkpoint', 'target is a folder', f'{good} {{w}}/weights/folder.pth --force'),
        ('convert_checkpoint', 'target below a file', f'{good} {{w}}/pictures/good.png/out.pth'),
        ('convert_checkpoint', 'target in /proc', f'{good} /proc/out.pth'),
        ('convert_checkpoint', 'target exists', f'{good} {good}'),
        ('publish_model', 'suffix', f'{good} out.bin'),
        ('publish_model', 'target below a file', f'{good} {{w}}/pictures/good.png/out.safetensors'),
        ('publish_model', 'note without =', f'{good} out.safetensors --note license'),
        ('publish_model', 'no target', good),
        ('export_pretrained', 'config broken', '{w}/configs/syntax.py {w}/toy.pth out'),
        ('export_pretrained', 'no pretraining', '{w}/toy.py {w}/toy.pth out'),
    ):
        yield case(f'tools/{tool}.py', label, text)


def converters(names: Names) -> Iterator[Case]:
    """``denseclip convert``."""
    for name, text in CONVERTERS.items():
        group, text = 'denseclip convert', f'convert {name} {text}'
        for source in ('{w}/gone', '{w}/pictures', '{w}/pictures/good.png', '{w}/pictures/empty_folder'):
            yield case(group, f'{name} source {Path(source).name}', text.format(*[source] * 2), target='out')
        yield case(group, f'{name} unknown option', f'{text.format(*["{w}/pictures"] * 2)} --quick', target='out')
    for target in (
        '{w}/data/CamVid',
        '{w}/data',
        '{w}/data/CamVid/out',
        '{w}/words',
        '{w}/pictures/good.png',
        '/proc/out',
    ):
        line = f'convert camvid {{w}}/data/CamVid {target} --force'
        yield case('denseclip convert', f'target {target}', line)


def studies(names: Names) -> Iterator[Case]:
    """Benchmarks and the other tools."""
    for tool in ('benchmark', 'benchmark_maft', 'benchmark_train_step', 'repeat'):
        for name in names.configs[:12] if tool != 'repeat' else ('gone.py', 'folder.py'):
            yield case(f'tools/{tool}.py', f'config {name}', f'{{w}}/configs/{name}')
    for tool, label, text in (
        ('benchmark', 'text model unknown', 'text --model RN5'),
        ('benchmark', 'words unknown', 'text --vocabulary no_such_list'),
        ('benchmark', 'prompts zero', 'text --prompts 0'),
        ('benchmark', 'classes negative', 'labelmap --classes -3'),
        ('benchmark', 'size zero', 'labelmap --size 0 0 --no-memory'),
        ('benchmark', 'repeats zero', 'labelmap --repeats 0 --classes 3 --size 8 8 --no-memory'),
        ('benchmark', 'device unknown', 'labelmap --device abacus'),
        ('benchmark', 'checkpoint damaged', '{w}/toy.py {w}/weights/cut.pth --no-memory'),
        ('benchmark', 'shape zero', '{w}/toy.py --shape 0 0 --no-memory'),
        ('benchmark', 'anomaly pictures zero', 'anomaly --pictures 0'),
        ('benchmark', 'vocabulary of a fixed model', 'vocabulary {w}/toy.py'),
        ('benchmark_open_vocab', 'no preset', ''),
        ('benchmark_open_vocab', 'preset unknown', '--presets maskclop'),
        ('benchmark_open_vocab', 'set unknown', '--presets maskclip --datasets mars'),
        ('benchmark_open_vocab', 'protocol unknown', '--presets maskclip --protocols mine'),
        ('benchmark_open_vocab', 'config without name', '--presets a --config {w}/toy.py'),
        ('benchmark_open_vocab', 'root without name', '--presets maskclip --data-root here'),
        ('benchmark_open_vocab', 'limit negative', '--presets maskclip --datasets voc20 --limit -1'),
        ('benchmark_ovseg', 'model unknown', '--model RN5'),
        ('benchmark_anomaly_views', 'model unknown', '--model RN5'),
        ('compare_mask_models', 'variant unknown', 'deeplab'),
        ('adapt_miniworld', 'clip missing', '--clip gone'),
        ('adapt_miniworld', 'options not JSON', '--proposer-options {'),
        ('mine_mask_pairs', 'no kind', ''),
        ('mine_mask_pairs', 'set unknown', 'labels NoSuchSet --maps m --images i --out o'),
        ('mine_mask_pairs', 'folders missing', 'labels ADE20KDataset --maps m --images i --out o'),
        ('mine_mask_pairs', 'captions missing', f'captions gone.json {MINING} type=SuperpixelMasks'),
        ('mine_mask_pairs', 'captions broken', f'captions {{w}}/words/broken.json {MINING} type=SuperpixelMasks'),
        ('mine_mask_pairs', 'proposer without =', f'captions gone.json {MINING} superpixels'),
        ('repeat', 'seeds text', '{w}/toy.py --seeds x'),
        ('repeat', 'seeds zero', '{w}/toy.py --seeds 0'),
        ('repeat', 'own option passed on', '{w}/toy.py --train --work-dir x'),
        ('demo', 'picture missing', '{w}/pictures/gone.png --classes a;b --out out'),
    ):  # fmt: skip
        yield case(f'tools/{tool}.py', label, text)
