"""Retrieve and Segment against the authors' numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.picture_classifier import PictureFit
from denseclip.models.pixel_head import PixelTexts
from denseclip.models.pixel_samples import class_sums
from denseclip.models.retrieval_fit import regions_in
from denseclip.models.retrieval_head import PixelRNSHead

from .fixtures import Fixture
from .registry import consumes


@consumes('rns', '*')
def check_rns(fixture: Fixture) -> None:
    """Regions of labelled pictures, the classifier of another picture, and what it says of its cells."""
    for name, run in fixture.config['runs'].items():
        classes, dropped = run['classes'], run['dropped']
        sums = []
        for number in range(run['pictures']):
            labels = fixture.input(f'{name}.labels{number}').long()
            labels = torch.where(labels < classes, labels, -1)
            features = fixture.input(f'{name}.support{number}')
            found = class_sums(features, labels, classes, torch.ones(1, features[0].numel()))[0]
            found[dropped] = 0
            sums.append(found)
        fixture.expect(f'{name}.regions', F.normalize(torch.stack(sums), dim=2))
        parts = [regions_in(one) for one in sums]
        regions, owners = torch.cat([part.rows for part in parts]), torch.cat([part.owners for part in parts])
        words = Vocabulary.parse('; '.join(f'c{k}' for k in range(classes)))
        head = PixelRNSHead(words.names, regions, owners, {}, words, PictureFit(seed=run['seed']))
        picture, texts = fixture.input(f'{name}.picture')[None], fixture.input(f'{name}.texts')
        cosines = torch.einsum('ndhw,kd->nkhw', F.normalize(picture, dim=1), texts)
        shown = PixelTexts(texts[None], fixture.config['scale'])
        cells = F.normalize(picture[0].flatten(1).T, dim=1)
        linear = head.classifier(cells, cosines[0].argmax(dim=0).flatten(), words, shown)
        fixture.expect(f'{name}.weight', linear.weight)
        fixture.expect(f'{name}.bias', linear.bias)
        scores = head(cosines * fixture.config['scale'], picture, words, shown)
        fixture.expect(f'{name}.probabilities', scores.softmax(dim=1)[0])
