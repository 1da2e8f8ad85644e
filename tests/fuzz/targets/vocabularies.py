"""Any text and any file of classes is a vocabulary that survives writing, or a sentence that says why not."""

import json
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denseclip.clip.vocabulary import Vocabulary, VocabularyError

_PIECES = st.sampled_from(
    [
        ';',
        '=',
        ',',
        '\n',
        '\r\n',
        '#',
        ':',
        '"',
        '{',
        '}',
        '[',
        ']',
        '0',
        '1:',
        'road',
        'car',
        'sky, cloud',
        '\ufeff',
        '\x00',
    ]
)
_TEXT = st.one_of(st.text(max_size=60), st.lists(_PIECES | st.text(max_size=6), max_size=20).map(''.join))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_BYTES = st.one_of(
    st.binary(max_size=80),
    st.tuples(_TEXT, st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'latin-1', 'utf-32'])).map(
        lambda pair: pair[0].encode(pair[1], 'replace')
    ),
    _JSON.map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=_TEXT,
    content=_BYTES,
    suffix=st.sampled_from(['.txt', '.json', '.csv', '', '.names']),
    names=st.lists(st.text(), max_size=4),
)
def holds(text, content, suffix, names):
    """Text, a file, and a list of names."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f'list{suffix}'
        file.write_bytes(content)
        before = os.getcwd()
        os.chdir(folder)  # text may look like the name of a file
        try:
            for what, of in (
                (text, Vocabulary.of),
                (file, Vocabulary.of),
                (names, Vocabulary.from_names),
                (text, Vocabulary.parse),
            ):
                _check(what, of)
        finally:
            os.chdir(before)
        assert file.read_bytes() == content
        assert list(Path(folder).iterdir()) == [file]


def _check(what, of):
    try:
        made = of(what)
    except (VocabularyError, FileNotFoundError) as error:
        assert str(error).strip()
        return
    assert len(made) > 0
    assert all(name.strip() == name and name for name in made.prompts)
    assert Vocabulary.of(made.to_dict()) == made
    assert Vocabulary.from_names([(entry.name, entry.synonyms) for entry in made.classes]).classes == made.classes
    made.describe()
