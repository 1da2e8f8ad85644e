"""Check of the class lists that FC-CLIP and MAFT+ are evaluated with.

The fixture holds what is true of the authors' files: sizes, numbers of names, which classes share a name with the
training set, a hash of all names. Ours are the same names, each once in a class; where a class had to get another first
name since two began with the same one, or a name stood there twice, the hash cannot be compared.
"""

from __future__ import annotations

import hashlib

from denseclip.clip.templates import resolve_templates
from denseclip.clip.things import thing_flags
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.wide_labels import IGNORED
from denseclip.models.functional.vocabulary_ensemble import seen_classes

from .fixtures import Fixture
from .registry import consumes

OURS = {
    'openvocab_ade20k_full_sem_seg_val': 'ade20k_full_fcclip',
    'openvocab_ade20k_panoptic_val': 'ade20k_fcclip',
    'openvocab_pascal_ctx459_sem_seg_val': 'context459_fcclip',
    'openvocab_pascal_ctx59_sem_seg_val': 'context59_fcclip',
    'openvocab_pascal20_sem_seg_val': 'voc20_fcclip',
    'openvocab_pascal21_sem_seg_val': 'voc21_fcclip',
    'openvocab_coco_2017_train_stuff_sem_seg': 'coco_stuff_fcclip',
    'coco_seg_pan_voab': 'coco_panoptic_fcclip',
    'openvocab_coco_2017_val_panoptic_with_sem_seg': 'coco_panoptic_fcclip',
    'openvocab_coco_2017_train_panoptic_with_sem_seg': 'coco_panoptic_fcclip',
    'openvocab_cityscapes_fine_panoptic_val': 'cityscapes_fcclip',
}
THINGS = {'openvocab_ade20k_panoptic_val': 'ade20k', 'coco_seg_pan_voab': 'coco'}
REPEATED = {'ade20k_full_fcclip': 1, 'ade20k_fcclip': 1, 'voc21_fcclip': 2}
"""Names that stand twice in one class of the authors' files."""
BLANK = 'coco_stuff_fcclip'
"""The authors' file has one blank after a comma, which is part of the hash and of no name."""


@consumes('maft_pmp', 'class_lists')
def check_class_lists(fixture: Fixture) -> None:
    lists = fixture.manifest
    assert lists and set(lists) <= set(OURS)
    templates = resolve_templates('vild')
    for name, entry in lists.items():
        ours = Vocabulary.named(OURS[name])
        assert len(ours) == entry['num_classes'] == len(entry['synonyms_per_class'])
        counts = [len(group) for group in ours.groups]
        short = [theirs - here for theirs, here in zip(entry['synonyms_per_class'], counts, strict=True)]
        assert sum(short) == REPEATED.get(OURS[name], 0) and min(short) >= 0
        assert entry['num_synonyms'] * len(templates) == entry['num_strings']
        for group, text in zip(ours.groups, entry['first_names'], strict=False):
            assert set(group) == set(text.split(','))
        if OURS[name] not in (*REPEATED, BLANK):
            text = '\n'.join(','.join(group) for group in ours.groups)
            assert hashlib.sha256(text.encode()).hexdigest() == entry['sha256_of_names'], name
        assert entry['ignore_label'] == (IGNORED if len(ours) > 255 else 255)
        assert entry['things'] == sum(thing_flags(ours, THINGS.get(name, 'none')))
        for key in [key for key in entry if key.startswith('overlap_with_')]:
            check_overlap(entry, key.removeprefix('overlap_with_'), ours)


def check_overlap(entry: dict, training: str, ours: Vocabulary) -> None:
    """The same classes count as seen."""
    theirs = [flag == '1' for flag in entry[f'overlap_with_{training}']]
    assert sum(theirs) == entry[f'overlap_count_{training}']
    assert seen_classes(ours.groups, Vocabulary.named(OURS[training]).prompts).tolist() == theirs, training
