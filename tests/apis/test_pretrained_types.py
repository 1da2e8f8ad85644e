"""A shared config gets the parts that the published ones use, and no others that happen to be registered."""

from __future__ import annotations

import importlib

import pytest
from mmengine import registry as registries
from mmengine.config import Config
from tiny_config import CONFIGS

from denseclip.apis import UserError
from denseclip.apis.config import inference_config
from denseclip.apis.pretrained import _pipeline
from denseclip.apis.pretrained_config import _mappings, check
from denseclip.apis.pretrained_types import HOST_TYPES, OWN, UNREGISTERED, children, found_types
from denseclip.apis.zoo import ours, zoo_models


def shared(path):
    """What would be shared of a config."""
    cfg = inference_config(Config.fromfile(path))
    pipeline = cfg.get('test_pipeline') or _pipeline(cfg)
    return {'default_scope': cfg.get('default_scope', 'mmseg'), 'model': cfg.model, 'test_pipeline': pipeline}


def used_types(content):
    for place, part in _mappings(content, ''):
        if 'type' in part and 'init_cfg' not in place and part['type'] not in UNREGISTERED:
            scope, _, name = part['type'].rpartition('.')
            yield from found_types(name, scope or content['default_scope'])


@pytest.fixture(scope='module', autouse=True)
def hosts():
    for name in ('mmdet.datasets', 'mmdet.models', 'mmseg.datasets', 'mmseg.models'):
        importlib.import_module(name)


def test_the_models_of_the_zoo_pass():
    models = [model for model in zoo_models().values() if model.config]
    assert len(models) > 3
    for model in models:
        check(shared(ours(model.config)), model.config)


@pytest.mark.slow
def test_the_list_is_what_the_published_configs_use():
    used = set()
    for path in sorted(CONFIGS.glob('[!_]*/*.py')):
        content = shared(path)
        check(content, path.name)
        used.update(used_types(content))
    assert {part for part in used if not part.startswith(f'{OWN}.')} == HOST_TYPES


def test_all_other_registered_parts_are_refused():
    refused = 0
    for root in (registries.MODELS, registries.TRANSFORMS, registries.TASK_UTILS):
        for registry in (root, *children(root)):
            for name, part in registry.module_dict.items():
                package = part.__module__.partition('.')[0]
                if package == OWN or f'{package}.{name}' in HOST_TYPES:
                    continue
                with pytest.raises(UserError, match='refused'):
                    check({'default_scope': registry.scope, 'model': {'neck': {'type': name}}}, 'c.json')
                refused += 1
    assert refused > 300


def test_the_refusal_says_what_to_do():
    with pytest.raises(UserError, match=r"'mmdet.CSPNeXt' of mmdet as 'model/type'.*config='config.json'"):
        check({'model': {'type': 'mmdet.CSPNeXt'}}, 'c.json')


@pytest.mark.parametrize('kind', ['CrossEntropyLoss', 'mmdet.CrossEntropyLoss', 'nothing'])
def test_class_weights_are_numbers(kind):
    loss = {'type': 'CrossEntropyLoss', 'class_weight': [1.0, 0.5]}
    check({'model': {'loss_decode': [loss]}}, 'c.json')
    with pytest.raises(UserError, match="'class_weight' in '/model/loss_decode/0' as text.*refused"):
        check({'model': {'loss_decode': [{**loss, 'type': kind, 'class_weight': 'weights.txt'}]}}, 'c.json')
