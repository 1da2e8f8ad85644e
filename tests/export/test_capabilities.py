"""Every model of the suite says whether it can be exported, and why not."""

from __future__ import annotations

import pytest
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from tiny_open_vocab import READY, tiny_open_vocab

from denseclip.apis.catalogue import find_card, list_models
from denseclip.apis.config import inference_config
from denseclip.cli.main import main
from denseclip.export import ExportError, capability, export
from denseclip.export.capabilities import WAYS
from denseclip.export.reasons import PARTS, REASONS, why_not
from denseclip.files.shipped import config_file


def own_models():
    MODELS.import_from_location()
    kinds = [kind for kind in MODELS.module_dict.values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return sorted({kind for kind in kinds if kind.__module__.startswith('denseclip.')}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize('kind', own_models(), ids=lambda kind: kind.__name__)
def test_every_model_says_whether_it_can_be_exported(kind):
    found = capability(kind)
    assert (kind.__name__ in WAYS) != (kind.__name__ in REASONS)
    assert found.reason == why_not(kind.__name__)
    assert found.exportable != bool(found.reason)


@pytest.mark.parametrize('kind', [k for k in own_models() if not capability(k).exportable], ids=lambda k: k.__name__)
def test_a_model_that_cannot_be_exported_is_refused_with_the_reason(kind, tmp_path, inferencer_of):
    out = tmp_path / 'out'
    with pytest.raises(ExportError) as caught:
        export(inferencer_of(kind), out)
    assert str(caught.value) == f'{kind.__name__} cannot be exported: {capability(kind).reason}'
    assert not out.exists()


def test_rows_are_of_models_that_exist():
    hosts = {'EncoderDecoder', 'RetinaNet', 'MaskRCNN', 'FasterRCNN'}
    assert set(WAYS) | set(REASONS) == {kind.__name__ for kind in own_models()} | hosts


def test_the_list_of_models_says_it_of_what_the_config_builds():
    """A table instead of two dozen configs, which would take a second or two to read."""
    for card in list_models():
        if card.config is not None:
            model = inference_config(str(config_file(card.config))).model
            assert model.type == card.model
            parts = [PARTS[part] for part in PARTS if model.get(part) is not None]
            assert card.reason == (why_not(card.model) or ''.join(parts[:1])), card.name
        assert card.to_dict()['reason'] == card.reason
    assert not find_card('anovl-tta').exportable and find_card('anovl').exportable


@pytest.mark.parametrize('name', READY)
def test_the_list_of_models_says_of_a_preset_what_its_model_says(name):
    """A CLIP with transformer blocks of every preset's depth, random weights."""
    card = find_card(name)
    assert card.reason == capability(tiny_open_vocab(name)).reason


def test_a_stranger_is_refused():
    found = capability(BaseModel)
    assert not found.exportable
    assert found.reason


@pytest.mark.parametrize(
    ('config', 'says'),
    [
        ('resclip', 'ResCLIPSegmentor cannot be exported: its walks'),
        ('pearl', 'its scores are refined'),
        ('anovl-tta', 'it fits a layer to every picture'),
        ('pmp_mask2former_r50_20k_ade20k-512x512', 'PMPMask2Former cannot be exported: '),
        ('nowhere', "no model is called 'nowhere'"),
        ('nowhere.py', "'nowhere.py'"),
    ],
)
def test_the_command_says_so_before_it_loads_a_model(config, says, tmp_path, capsys):
    out = tmp_path / 'out'
    for named in ([config], ['--model', config], ['--config', config]):
        assert main(['export', *named, '--out', str(out)]) == 2
        assert says in capsys.readouterr().err
        assert not out.exists()


def test_a_model_is_named_once(tmp_path, capsys):
    assert main(['export', 'sclip', '--model', 'naclip', '--out', str(tmp_path / 'out')]) == 2
    assert 'MODEL sclip and --model naclip are two models' in capsys.readouterr().err


def test_weights_of_no_model_are_refused(tmp_path, capsys):
    assert main(['export', '--weights', 'x.pt', '--out', str(tmp_path / 'out')]) == 2
    assert 'denseclip export MODEL --weights' in capsys.readouterr().err
