"""Which models may be tested without a checkpoint: those whose config names all their weights."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_config import CONFIGS, all_configs, cut_anomaly, cut_depth, forget_weights, is_anomaly, trains
from tiny_pmp_hosts import FCCLIP
from torch import nn

from denseclip.engine.checkpoints import not_saved_prefixes
from denseclip.engine.config import OptionError
from denseclip.engine.launch import test as run_test
from denseclip.engine.own_weights import names_its_weights, require_checkpoint
from denseclip.models.builder import build_module


def without_source(model: nn.Module) -> list[str]:
    """Parameters that no source but a checkpoint can bring."""
    named = list(not_saved_prefixes(model))
    for place, module in model.named_modules():
        named += [f'{place}.{one}' if place else one for one in getattr(module, 'sourced_prefixes', ())]
    return [name for name, _ in model.named_parameters() if not name.startswith(tuple(named))]


def evaluated() -> dict[str, Config]:
    """One config of each kind of model that some config only tests."""
    found = {}
    for path in all_configs():
        config = Config.fromfile(CONFIGS / path)
        if not trains(config):
            found.setdefault(str(config.model.type), config)
    return found


@pytest.mark.slow
def test_models_are_tested_without_a_checkpoint_where_all_weights_have_a_source() -> None:
    answers: dict[str, Any] = {}
    for kind, config in evaluated().items():
        init_default_scope(config.get('default_scope') or 'mmseg')
        answers[kind] = names_its_weights(config)
        forget_weights(config)
        cut_depth(config.model)
        if is_anomaly(config):
            cut_anomaly(config)
        assert answers[kind] == (not without_source(build_module(config.model))), kind
    assert len(set(answers.values())) == 2 and answers['OpenVocabularySegmentor'] and not answers['SAM3Segmentor']


def test_what_would_be_random_is_refused_in_one_sentence() -> None:
    with pytest.raises(OptionError, match='SAM3Segmentor has no weights but those of a checkpoint.*name the checkp'):
        run_test(CONFIGS / 'sam3/sam3_vit-l14_zs_voc20-1008x1008.py')
    for model, said in (
        (FCCLIP, 'name the checkpoint to test$'),
        (dict(type='AprilGAN', clip=dict(model='x')), r'or give model\.heads$'),
        (dict(type='mmseg.EncoderDecoder'), 'random ones'),
    ):
        with pytest.raises(OptionError, match=said):
            require_checkpoint(None, Config(dict(model=model, default_scope='mmseg')))
    pretrained = dict(type='EncoderDecoder', init_cfg=dict(type='Pretrained', checkpoint='x.pth'))
    require_checkpoint(None, Config(dict(model=pretrained, default_scope='mmseg')))


def test_an_empty_name_is_no_checkpoint() -> None:
    with pytest.raises(OptionError, match='empty name'):
        require_checkpoint('', Config(dict(model=dict(type='mmseg.EncoderDecoder'))))
