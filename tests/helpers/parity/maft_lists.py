"""Check of the class lists that FC-CLIP and MAFT+ are evaluated with, as far as the fixture tells them.

It holds sizes, numbers of synonyms, which classes share a word with the training set, the first names, and a hash; the
words themselves belong to the authors' files. Compared are our lists of the same data sets: sizes, order, things, the
rule that splits names, the number of prompts, and that classes with a training word are such for the authors too.
"""

from __future__ import annotations

from denseclip.clip.templates import resolve_templates
from denseclip.clip.things import things_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.wide_labels import IGNORED
from denseclip.models.functional.vocabulary_ensemble import seen_classes

from .fixtures import Fixture
from .registry import consumes

OURS = {
    'openvocab_ade20k_full_sem_seg_val': 'ade20k_full',
    'openvocab_ade20k_panoptic_val': 'ade20k_ovseg',
    'openvocab_pascal_ctx459_sem_seg_val': 'context459',
    'openvocab_pascal_ctx59_sem_seg_val': 'context59_ovseg',
    'openvocab_pascal20_sem_seg_val': 'voc20_ovseg',
    'openvocab_pascal21_sem_seg_val': 'voc21',
    'openvocab_coco_2017_train_stuff_sem_seg': 'coco_stuff',
    'coco_seg_pan_voab': 'coco_panoptic',
}
THINGS = {'openvocab_ade20k_panoptic_val': 'ade20k', 'coco_seg_pan_voab': 'coco'}
MIN_AGREEMENT = 0.9
"""Of the classes that share a word with the training set in our lists; the words differ a little ("wood", "light")."""


@consumes('maft_pmp', 'class_lists')
def check_class_lists(fixture: Fixture) -> None:
    lists = fixture.manifest
    assert lists and set(lists) <= set(OURS)
    templates = resolve_templates('vild')
    for name, entry in lists.items():
        ours = Vocabulary.named(OURS[name])
        assert len(ours) == entry['num_classes'] == len(entry['synonyms_per_class'])
        assert sum(entry['synonyms_per_class']) == entry['num_synonyms']
        assert entry['num_synonyms'] * len(templates) == entry['num_strings']
        split = [len(names_of(text)) for text in entry['first_names']]
        assert split == entry['synonyms_per_class'][: len(split)]
        if name != 'openvocab_pascal21_sem_seg_val':  # their background is a list of words, ours has none
            firsts = [names_of(text) for text in entry['first_names']]
            assert all(set(names_of(c)) & set(f) for c, f in zip(ours.names[: len(firsts)], firsts, strict=True))
        assert entry['ignore_label'] == (IGNORED if len(ours) > 255 else 255)
        assert entry['things'] == (len(things_of(THINGS[name])) if name in THINGS else 0)
        for key in [key for key in entry if key.startswith('overlap_with_')]:
            check_overlap(entry, key.removeprefix('overlap_with_'), ours)


def check_overlap(entry: dict, training: str, ours: Vocabulary) -> None:
    """Classes that our lists call seen are seen in the authors' longer lists, at the same places."""
    theirs = [flag == '1' for flag in entry[f'overlap_with_{training}']]
    assert sum(theirs) == entry[f'overlap_count_{training}']
    words = [word for name in Vocabulary.named(OURS[training]).names for word in names_of(name)]
    seen = seen_classes([names_of(name) for name in ours.names], words).tolist()
    agreed = [there for here, there in zip(seen, theirs, strict=True) if here]
    assert agreed and sum(agreed) >= MIN_AGREEMENT * len(agreed), (training, sum(agreed), len(agreed))


def names_of(name: str) -> tuple[str, ...]:
    """Names that a class name holds, between commas."""
    return tuple(word.strip() for word in name.split(','))
