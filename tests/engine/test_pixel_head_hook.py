"""A head of labelled pictures in a test: on the model that it was made with, and on no other."""

from types import SimpleNamespace

import pytest
import torch
from drawn_heads import WORDS, gaussians
from tiny_models import tiny_denseclip
from tiny_open_vocab import tiny_open_vocab

from denseclip.engine.config import OptionError
from denseclip.engine.hooks import PixelHeadHook
from denseclip.models.pixel_head import feature_space
from denseclip.models.pixel_head_file import write_head
from denseclip.models.retrieval_head import PixelRNSHead
from denseclip.weights.errors import WeightFileError


def test_the_head_of_a_file_is_on_the_model_when_the_test_starts(tmp_path):
    model = tiny_open_vocab(vocabulary=WORDS)
    space, path = feature_space(model), tmp_path / 'head.safetensors'
    dim = model.tower.embed_dim
    gaussian = gaussians(WORDS.names, dim)
    gaussian.space = space
    for head in (gaussian, PixelRNSHead(('sky', 'car'), torch.eye(2, dim), torch.arange(2), space, WORDS)):
        write_head(head, path)
        PixelHeadHook(str(path)).before_test(SimpleNamespace(model=model))
        assert type(model.pixel_head) is type(head)
    with pytest.raises(OptionError, match="--head: '.*head.safetensors' was made with another read-out"):
        PixelHeadHook(str(path)).before_test(SimpleNamespace(model=tiny_open_vocab('naclip', vocabulary=WORDS)))
    model.set_vocabulary('cat; dog')
    with pytest.raises(OptionError, match='none of these is among the classes cat, dog'):
        PixelHeadHook(str(path)).before_test(SimpleNamespace(model=model))
    with pytest.raises(OptionError, match='DenseCLIP has no embeddings of pixels'):
        PixelHeadHook(str(path)).before_test(SimpleNamespace(model=tiny_denseclip()))
    path.write_bytes(b'x')
    with pytest.raises(WeightFileError, match='head.safetensors'):
        PixelHeadHook(str(path))
