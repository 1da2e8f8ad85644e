"""Class embeddings on numpy are those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from denseclip.apis.errors import UserError
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.matching import merge_prompts as merge_tensors
from denseclip.runtime.graphs import check_vocabulary, merge_prompts
from denseclip.runtime.manifest import Words


@pytest.mark.parametrize('counts', [[1, 1, 1], [3, 1, 2], [5], [1, 80]])
def test_prompts_of_a_class_are_merged_as_in_the_model(counts):
    rows = torch.randn(sum(counts), 16, device='cpu') * torch.rand(sum(counts), 1, device='cpu')
    index = torch.tensor([k for k, count in enumerate(counts) for _ in range(count)])
    wanted = merge_tensors(rows[None], index, len(counts))[0]
    np.testing.assert_allclose(merge_prompts(rows.numpy(), counts), wanted.numpy(), atol=1e-6)


def test_words_that_a_model_cannot_tell_apart_are_refused():
    words = Words(('{}',), 77, 0, ('none',), 8, classes=2)
    check_vocabulary(words, Vocabulary.parse('a; b'))
    with pytest.raises(UserError, match='built for 2 classes, the vocabulary has 3'):
        check_vocabulary(words, Vocabulary.parse('a; b; c'))
    with pytest.raises(UserError, match='no background policy "threshold"'):
        check_vocabulary(words, Vocabulary.parse('a; b', background='threshold', threshold=0.5))


def test_descriptions_are_refused_for_only_names_go_into_templates():
    words = Words(('a photo of a {}.',), 77, 0, ('none',), 8)
    check_vocabulary(words, Vocabulary.parse('cat; dog'))
    with pytest.raises(UserError, match='know no descriptions of classes: leave them out'):
        check_vocabulary(words, Vocabulary.parse('cat; dog').with_descriptions({'cat': ['whiskers']}))
