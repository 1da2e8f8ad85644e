"""Functions give the pipelines that configs spell out, and configs may only import what MMEngine reads as text."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from denseclip import recipes

CONFIGS = Path(__file__).parents[2] / 'configs'
ADE = Config.fromfile(CONFIGS / '_base_/datasets/ade20k_512x512.py')
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def resize(scale: tuple[int, int]) -> dict:
    return dict(type='Resize', scale=scale, keep_ratio=True)


def kinds(steps: list[dict]) -> list[str]:
    return [step['type'] for step in steps]


def test_the_papers_pipelines_as_they_are_spelled_out() -> None:
    assert recipes.crop_train_steps(150, ADE.img_scale, ADE.crop_size) == ADE.train_pipeline
    assert recipes.eval_steps(resize(ADE.img_scale), num_classes=150) == ADE.test_pipeline
    assert recipes.tta_steps(ADE.img_scale, RATIOS) == ADE.tta_pipeline


@pytest.mark.parametrize('name', ['cityscapes', 'cocostuff', 'context59', 'voc20'])
def test_evaluation_as_it_is_spelled_out(name: str) -> None:
    written = Config.fromfile(CONFIGS / f'_base_/datasets/{name}_448x448.py')
    classes = next(step.num_classes for step in written.test_pipeline if 'num_classes' in step)
    assert recipes.eval_steps(resize((2048, 448)), num_classes=classes) == written.test_pipeline


@pytest.mark.parametrize(('num_classes', 'label'), [(2, 255), (255, 255), (256, 65535), (847, 65535)])
def test_no_class_has_the_label_of_ignored_pixels(num_classes: int, label: int) -> None:
    assert recipes.ignored_label(num_classes) == label >= num_classes


def test_large_scale_jitter_as_it_is_spelled_out() -> None:
    written = Config.fromfile(CONFIGS / '_base_/datasets/coco-panoptic-lsj_1024x1024.py')
    assert recipes.lsj_steps((1024, 1024)) == written.train_pipeline


def test_boxes_as_they_are_spelled_out() -> None:
    coco = Config.fromfile(CONFIGS / '_base_/datasets/coco_detection_1333x800.py')
    assert recipes.box_eval_steps(coco.img_scale) == coco.test_pipeline
    with_masks = [{**step, 'with_mask': True} if 'with_bbox' in step else step for step in coco.train_pipeline]
    assert recipes.box_train_steps(coco.img_scale) == with_masks
    masks = [step.get('with_mask') for step in recipes.box_eval_steps((64, 64), masks=True) if 'with_bbox' in step]
    assert masks == [True]


@pytest.mark.parametrize('wide', [False, True])
def test_labels_are_read_after_the_pictures_size_has_changed_and_before_they_are_checked(wide: bool) -> None:
    steps = recipes.eval_steps(resize((64, 64)), num_classes=847, wide=wide)
    order = kinds(steps)
    load = 'LoadWideAnnotations' if wide else 'LoadAnnotations'
    assert order.index('Resize') < order.index(load) < order.index('CheckLabelRange')
    assert steps[order.index('CheckLabelRange')].get('ignore_index') == (65535 if wide else None)
    assert 'CheckLabelRange' not in kinds(recipes.eval_steps(resize((64, 64)), num_classes=None))


def test_hidden_labels_are_checked_first() -> None:
    hide = dict(type='SuppressLabels', labels=[3])
    steps = recipes.crop_train_steps(20, (96, 64), (64, 64), labels=[hide])
    order = kinds(steps)
    assert order.index('CheckLabelRange') + 1 == order.index('SuppressLabels') and hide in steps
    assert [step for step in steps if step is not hide] == recipes.crop_train_steps(20, (96, 64), (64, 64))


def test_anomaly_masks_keep_their_size_unless_told() -> None:
    kept, squashed = recipes.anomaly_steps(240, mask=False, threshold=127), recipes.anomaly_steps((240, 240))
    assert [step['mask'] for steps in (kept, squashed) for step in steps if 'mask' in step] == [False, True]
    assert [step['threshold'] for steps in (kept, squashed) for step in steps if 'threshold' in step] == [127]


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=lambda p: p.stem)
def test_configs_import_functions_of_this_package_alone_and_below_their_base(path: Path) -> None:
    """MMEngine takes a config for one of its lazy kind if it meets an import before ``_base_``."""
    body = ast.parse(path.read_text(encoding='utf-8')).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.ImportFrom) and node.module == 'denseclip.recipes' for node in imports)
    used = {name.id for name in ast.walk(ast.Module(body, [])) if isinstance(name, ast.Name)}
    assert {alias.name for node in imports for alias in node.names} <= used & {*recipes.__all__}
    if imports:
        bases = [node for node in body if isinstance(node, ast.Assign) and node.targets[0].id == '_base_']
        assert bases[0].lineno < imports[0].lineno


def test_nothing_heavy_is_imported_for_a_config() -> None:
    code = 'import sys, denseclip.recipes; print(sorted({"torch", "mmengine", "numpy"} & {*sys.modules}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
