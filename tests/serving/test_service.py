"""Words of strangers: never a file, never on the disk, never too many."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from tiny_open_vocab import tiny_open_vocab

from denseclip.apis import Inferencer
from denseclip.apis.images import Picture
from denseclip.clip.vocabulary import Vocabulary, VocabularyError
from denseclip.serving import Limits, Problem, Service
from denseclip.serving.service import Wanted, words_of


def test_what_is_sent_is_words_or_a_list_of_the_suite(tmp_path, monkeypatch):
    (tmp_path / 'words.txt').write_text('secret\n')
    monkeypatch.chdir(tmp_path)
    for text in (str(tmp_path / 'words.txt'), './words.txt', 'words.txt', '../x.json', '/etc/passwd'):
        assert words_of(text, None, Limits())[0].names == (text,)
    assert words_of('camvid', None, Limits())[0] == Vocabulary.named('camvid')
    assert words_of('a, b', None, Limits())[1]  # says how it was read
    assert words_of('a; b', 'c, d', Limits())[0].background_names == ('c', 'd')
    assert words_of('  ', None, Limits()) == (None, ())
    with pytest.raises(VocabularyError):
        words_of('a; a', None, Limits())
    for text in ('x' * 3000, '; '.join(map(str, range(3000)))):
        with pytest.raises(Problem, match='max-words'):
            words_of(text, None, Limits(words=20))


def test_no_word_is_written_to_the_disk(tmp_path):
    init_default_scope('mmseg')
    model = Inferencer.from_model(tiny_open_vocab(cache_dir=tmp_path), [dict(type='PackSegInputs')])
    service = Service(model, 'tiny', Limits())
    picture = Picture(np.zeros((32, 32, 3), np.uint8))
    service.ask(picture, Wanted('semantic', Vocabulary.of('private; words'))).result(20)
    service.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['megabytes', 'words', 'requests', 'seconds', 'batch'])
@pytest.mark.parametrize('value', [0, -1, float('inf'), float('nan')])
def test_limits_are_above_nothing(name, value):
    with pytest.raises(ValueError, match='must be above 0'):
        Limits(**{name: value})
