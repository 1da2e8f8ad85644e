"""Options that ask for another model than the exported one are refused, not forgotten."""

import argparse
from types import SimpleNamespace

import pytest

from denseclip.apis.errors import UserError
from denseclip.cli import segment
from denseclip.cli.runtime_option import check_others

OTHERS = {
    '--model': 'sclip',
    '--config': 'mine.py',
    '--weights': 'mine.pth',
    '--preset': 'sclip',
    '--clip': 'ViT-B-16',
    '--pretrained': 'openai',
    '--dino': 'dino.pth',
    '--method': 'ovseg',
    '--masks': 'superpixels',
    '--stage': 'both',
    '--device': 'cpu',
    '--unknown': '0.9',
    '--layout': 'contiguous',
    '--precision': 'fp16',
}


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    segment.add_options(parser)
    return parser.parse_args(['street.jpg', '--runtime', 'exported', *words])


@pytest.mark.parametrize('option', OTHERS)
def test_options_of_other_models_are_refused_by_name(option):
    with pytest.raises(UserError, match=f'knows no {option};'):
        check_others(parsed(option, OTHERS[option]), SimpleNamespace(needs_trust=False))


def test_trust_is_for_programs_alone():
    check_others(parsed(), SimpleNamespace(needs_trust=False))
    check_others(parsed('--trust', '--precision', 'bf16'), SimpleNamespace(needs_trust=True))
    with pytest.raises(UserError, match='knows no --trust;'):
        check_others(parsed('--trust'), SimpleNamespace(needs_trust=False))
