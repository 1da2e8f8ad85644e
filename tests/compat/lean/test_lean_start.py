"""A command that looks at pictures imports what its model needs; all else is found when somebody asks for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
HEAVY = (
    'huggingface_hub',
    'matplotlib',
    'mmdet.models.detectors',
    'mmengine.optim.optimizer.zero_optimizer',
    'mmseg.models.backbones.resnet',
    'open_clip.model',
    'scipy.ndimage',
    'scipy.optimize',
    'sklearn',
    'sympy',
    'torch._dynamo',
    'torchvision.datasets.voc',
    'transformers',
)
SEGMENT = """
import json, sys
from denseclip.cli.main import main
sys.argv[1:] = ['segment', {picture!r}, '--classes', 'sky; road', '--out', {out!r}, '-q']
assert main() == 0
"""
BUNDLED = f"""
answers = {{}}
answers['bundled'] = [len(sys.modules), sorted(set({HEAVY!r}) & set(sys.modules))]
"""
CLIP = """
sys.argv[1:] = ['anomaly', {shots!r}, '--method', 'anovl', '--object', 'nut', '-q']
sys.argv += ['--clip', 'local-dir:checkpoints/miniworld_clip', '--out', {out!r}]
assert main() == 0
heavy = sorted({{'transformers', 'huggingface_hub', 'sklearn'}} & set(sys.modules))
import open_clip.model
waiting = type(open_clip.model.HFTextEncoder).__name__
open_clip.model.HFTextEncoder.forward
from open_clip.hf_model import HFTextEncoder
same = open_clip.model.HFTextEncoder is HFTextEncoder
answers['clip'] = [heavy, waiting, same, 'transformers' in sys.modules]
"""
ASKED = """
from mmseg.registry import MODELS as SEG
from denseclip.cli.sentences import one_line
try:
    SEG.build(dict(type='PSPHaed'))
except KeyError as error:
    misspelt = one_line(error)
import mmdet.utils.split_batch
import mmseg.models
from mmdet.utils import split_batch
from mmdet.models import MaskRCNN
from mmengine.registry import HOOKS, MODELS, OPTIMIZERS
from mmseg.models import EncoderDecoder, build_segmentor
from mmseg.models.decode_heads import *
import open_clip, timm, torchvision

@SEG.register_module(force=True)
class FCNHead(SEG.get('PSPHead')):
    pass

answers['asked'] = {
    'misspelt': misspelt,
    'functions': [callable(split_batch), callable(build_segmentor), callable(open_clip.create_model)],
    'registries': [
        SEG.get('EncoderDecoder') is EncoderDecoder,
        MODELS.get('mmdet.MaskRCNN') is MaskRCNN,
        SEG.get('PSPHead') is PSPHead,
        SEG.get('FCNHead') is FCNHead,
        HOOKS.get('CheckpointHook') is not None,
        OPTIMIZERS.get('SGD') is not None,
    ],
    'timm': len(timm.list_models()) > 500 and timm.is_model('resnet18') and not timm.is_model('resnet18000'),
    'built': type(MODELS.build(dict(type='mmdet.FocalLoss'))).__module__,
    'data': torchvision.datasets.FakeData(1)[0][1] is not None and 'MNIST' in dir(torchvision.datasets),
    'everything': hasattr(mmseg.models, 'VisionTransformer') and not hasattr(mmseg.models, 'NoSuchModel'),
}
print(json.dumps(answers))
"""


def run(code):
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
    """Of one process that looks at a picture with the bundled model, then with a CLIP, then asks for other things."""
    folder = tmp_path_factory.mktemp('lean')
    picture = folder / 'shots' / 'picture.png'
    picture.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), 'uint8')).save(picture)
    first = SEGMENT.format(picture=str(picture), out=str(folder / 'segmented'))
    second = CLIP.format(shots=str(picture.parent), out=str(folder / 'inspected'))
    return run(first + BUNDLED + second + ASKED)


@pytest.mark.slow
def test_the_bundled_model_needs_no_other(answers):
    count, heavy = answers['bundled']
    assert heavy == []
    assert count < 2500


@pytest.mark.slow
def test_a_clip_needs_no_transformers_until_its_text_tower_is_one_of_theirs(answers):
    assert answers['clip'] == [[], 'Deferred', True, True]


@pytest.mark.slow
def test_what_was_not_imported_is_there_when_it_is_asked_for(answers):
    found = answers['asked']
    assert "'PSPHaed' is no known model; did you mean PSPHead" in found['misspelt']
    assert all(found['functions'])
    assert all(found['registries'])
    assert found['timm'] is True
    assert found['built'] == 'mmdet.models.losses.focal_loss'
    assert found['data'] is True
    assert found['everything'] is True


@pytest.mark.parametrize('lean', [True, False])
def test_children_of_a_lean_process_start_lean(lean):
    code = f"""
import subprocess, sys
from denseclip.compat.lean import start_lean
if {lean}:
    start_lean()
child = 'import denseclip, json; from denseclip.compat.lean import is_lean; print(json.dumps(is_lean()))'
shell = ['sh', '-c', '"$@"; exit', 'sh']  # whose children are none of ours
for between in ([], shell):
    print(subprocess.run([*between, sys.executable, '-c', child], capture_output=True, text=True).stdout)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(lean).lower(), 'false']


LIST = """
import json, sys
import denseclip
from mmengine import registry as roots
from mmengine.registry import Registry

def all_registries():
    for name, root in sorted(vars(roots).items()):
        if isinstance(root, Registry):
            for registry in (root, *root.children.values()):
                yield f'{name} {registry.scope}', registry

def home(kind):
    return f'{kind.__module__}.{kind.__qualname__}'

import mmseg.registry, mmdet.registry
"""


@pytest.mark.slow
def test_every_registered_name_is_found_as_ever():
    code = f"""{LIST}
import denseclip.models
for _, registry in all_registries():
    registry.import_from_location()
names = {{}}
for place, registry in all_registries():
    chain = [registry] if registry.parent is None else [registry.parent, registry]
    names[place] = {{key: home(kind) for part in chain for key, kind in part.module_dict.items()}}
print(json.dumps(names))
"""
    names = run(code)
    assert sum(map(len, names.values())) > 1000
    code = f"""
import random
from denseclip.compat.lean import start_lean
start_lean()
{LIST}
names = json.loads({json.dumps(names)!r})
places = list(all_registries())
random.Random(0).shuffle(places)
wrong = []
for place, registry in places:
    keys = sorted(names[place])
    random.Random(1).shuffle(keys)
    wrong += [[place, key] for key in keys if home(registry.get(key)) != names[place][key]]
print(json.dumps(wrong))
"""
    assert run(code) == []
