"""What published configs do to pictures is what the runtime does."""

from __future__ import annotations

import pytest

from denseclip.apis.catalogue import list_models
from denseclip.apis.config import inference_config, inference_steps
from denseclip.apis.zoo import ours
from denseclip.export.pictures import resizing_of

CARDS = [card for card in list_models() if card.exportable and card.config and 'anomaly' not in card.tasks]


@pytest.mark.parametrize('card', CARDS, ids=lambda card: card.name)
def test_pipelines_of_models_that_export_can_be_followed(card):
    steps = inference_steps(inference_config(str(ours(str(card.config)))))
    found = resizing_of(steps)
    assert bool(found['resize'] or found.get('fit')) is any('Resize' in step['type'] for step in steps)
