"""FC-CLIP's and MAFT+'s inference on queries, and their resizing."""

import numpy as np
import torch

from denseclip.core.placement import Placement, upper_left
from denseclip.datasets.transforms.pillow_resize import PillowResizeShortSide, resize_label_map, resize_picture
from denseclip.models.functional.mask_inference import (
    instance_predictions,
    panoptic_segments,
    semantic_labels,
    semantic_scores,
)

from .fixtures import Fixture
from .registry import consumes


@consumes('maft_pmp', 'postprocess')
def postprocess(fixture: Fixture) -> None:
    config = fixture.config
    probabilities, masks = fixture.input('mask_cls').softmax(dim=-1), fixture.input('mask_pred')
    classes, void = probabilities[:, :-1], probabilities[:, -1]
    is_thing = torch.zeros(config['num_classes'], dtype=torch.bool)
    is_thing[config['thing_contiguous_ids']] = True
    scores = semantic_scores(classes, masks)
    fixture.expect('semseg', scores)
    assert torch.equal(semantic_labels(classes, masks, budget=1).long(), scores.argmax(dim=0))
    for budget in (1, 2**26):  # a few masks at a time, and all at once
        found = panoptic_segments(
            classes,
            masks,
            is_thing,
            no_object=void,
            score_threshold=config['object_mask_threshold'],
            overlap_threshold=config['overlap_threshold'],
            budget=budget,
        )
        rows = [[s['id'], int(s['isthing']), s['category_id']] for s in found.segments_info()]
        fixture.expect('panoptic', found.ids)
        fixture.expect('segments_info', torch.tensor(rows).reshape(-1, 3))
        objects = instance_predictions(classes, masks, is_thing=is_thing, topk=config['topk'], budget=budget)
        order = objects.scores.argsort(descending=True)
        fixture.expect('instance_scores_sorted', objects.scores[order])
        fixture.expect('instance_classes_sorted', objects.labels[order])
        fixture.expect('instance_masks_sorted', objects.masks[order])


@consumes('maft_pmp', 'sem_seg_postprocess')
def sem_seg_postprocess(fixture: Fixture) -> None:
    config = fixture.config
    geometry = Placement(valid=upper_left(config['image_size']), out=tuple(config['output']))
    fixture.expect('r', geometry.apply(fixture.input('r')))


@consumes('maft_pmp', 'image_resize')
def image_resize(fixture: Fixture) -> None:
    size = tuple(fixture.config['new_hw'])
    fixture.expect('image', torch.from_numpy(resize_picture(fixture.input('image').numpy(), size).copy()))
    fixture.expect('seg', torch.from_numpy(resize_label_map(fixture.input('seg').numpy(), size).copy()))


@consumes('maft_pmp', 'resize_rule')
def resize_rule(fixture: Fixture) -> None:
    transform = PillowResizeShortSide(short_side=800, max_long_side=1333)
    assert '800' in fixture.manifest['rule'] and '1333' in fixture.manifest['rule']
    for before, after in fixture.manifest['pairs']:
        assert list(transform.target_size(tuple(before))) == after, f'{before}'
    small = transform.transform({'img': np.zeros((48, 64, 3), dtype=np.uint8)})
    assert small['img_shape'] == small['img'].shape[:2] == (800, 1067)
