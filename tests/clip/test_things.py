"""Things and stuff of a vocabulary."""

import pytest

from denseclip.clip.things import stuff_words, thing_flags, things_of
from denseclip.clip.vocabulary import Vocabulary, VocabularyError


@pytest.mark.parametrize(
    ('name', 'things', 'classes'), [('coco', 80, 133), ('ade20k', 100, 150), ('cityscapes', 8, 19)]
)
def test_things_of_data_sets(name, things, classes):
    vocabulary = Vocabulary.named('coco_panoptic' if name == 'coco' else name)
    assert len(vocabulary) == classes and len(things_of(name)) == things
    assert sum(thing_flags(vocabulary, name)) == things
    published = Vocabulary.named('coco_panoptic_fcclip' if name == 'coco' else f'{name}_fcclip')
    assert thing_flags(published, name) == thing_flags(vocabulary, name)


def test_words_decide_where_nothing_is_said():
    vocabulary = Vocabulary.of('dog; grass = lawn; blue SKY = sky; temple')
    assert thing_flags(vocabulary) == (True, False, False, True)
    assert 'road' in stuff_words()


def test_things_can_be_named():
    vocabulary = Vocabulary.of('dog = puppy; grass; tree')
    assert thing_flags(vocabulary, 'Puppy; tree') == thing_flags(vocabulary, ['dog', 'tree']) == (True, False, True)
    assert thing_flags(vocabulary, 'all') == (True, True, True)
    assert thing_flags(vocabulary, 'none') == (False, False, False)
    with pytest.raises(VocabularyError, match='cat'):
        thing_flags(vocabulary, ['cat'])


def test_a_background_is_no_thing():
    vocabulary = Vocabulary(Vocabulary.of('dog').classes, background='prompts', background_names=('background',))
    assert thing_flags(vocabulary) == (True, False)


def test_unknown_lists_are_named():
    with pytest.raises(VocabularyError, match='cityscapes'):
        things_of('voc')
