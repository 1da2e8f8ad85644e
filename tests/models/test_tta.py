"""Views of a picture are averaged as the model's scores ask for, and labelled as the model labels."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from tiny_fcclip import tiny_fcclip
from tiny_open_vocab import tiny_open_vocab
from torch import nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.config import use_tta
from denseclip.models.segmentors import DenseSegTTAModel, ScoreAverageTTAModel
from denseclip.models.segmentors.label_inference import LabelMapInference


def view(planes: torch.Tensor) -> Any:
    return SimpleNamespace(seg_logits=SimpleNamespace(data=planes), set_data=None)


def averaged(model: nn.Module, *planes: torch.Tensor) -> torch.Tensor:
    return ScoreAverageTTAModel(module=model).merge_preds([[view(p) for p in planes]])[0].pred_sem_seg.data


@pytest.mark.parametrize('kind', ['FCCLIP', 'OpenVocabularySegmentor', 'DenseCLIP'])
def test_the_option_takes_what_the_model_needs(kind: str) -> None:
    config = Config(
        dict(
            default_scope='mmseg', model=dict(type=kind), tta_model=dict(type='DenseSegTTAModel'), tta_pipeline=['x'],
            test_dataloader=dict(dataset=dict(pipeline=[])),
        )
    )  # fmt: skip
    use_tta(config)
    assert config.model.type == ('DenseSegTTAModel' if kind == 'DenseCLIP' else 'ScoreAverageTTAModel')
    assert config.model.module.type == kind


def test_scores_that_are_no_logits_are_refused_by_the_average_of_probabilities() -> None:
    with pytest.raises(ValueError, match="FCCLIP is augmented by .*'ScoreAverageTTAModel'"):
        DenseSegTTAModel(module=tiny_fcclip())


def test_the_background_outlives_the_average() -> None:
    model = tiny_open_vocab(vocabulary=replace(Vocabulary.of('a; b'), background='threshold', threshold=0.8))
    sure, unsure = torch.tensor([0.9, 0.1])[:, None, None], torch.tensor([0.6, 0.4])[:, None, None]
    assert averaged(model, sure, sure).item() == 0
    assert averaged(model, sure, unsure).item() == 2


def test_a_background_of_masks_is_refused() -> None:
    class Masks(LabelMapInference, nn.Module):
        background_of_masks = True
        num_classes = 3

        def test_step(self) -> None:
            """Asked for by MMEngine."""

    with pytest.raises(ValueError, match='Masks makes its background of masks.*--tta'):
        averaged(Masks(), torch.rand(2, 4, 5))
    assert averaged(Masks(), torch.rand(3, 4, 5)).shape == (1, 4, 5)
