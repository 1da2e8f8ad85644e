"""Whatever stands in names, words and paths, a written config gives it back and holds nothing that MMEngine acts on."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from denseclip.compat.config_text import config_text

_PIECES = [
    '{{',
    '}}',
    'fileDirname',
    '$HOME',
    ':',
    '_base_',
    '.',
    "'",
    '"',
    '\\',
    '#',
    '\n',
    '\r',
    '\x00',
    '\ud800',
    '\u2028',
    ' ',
]
_TEXT = st.one_of(
    st.text(max_size=30), st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=12).map(''.join)
)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(_TEXT, inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.lists(_TEXT, min_size=1, max_size=4), value=_VALUE)
def holds(names, value):
    """A config as it is written for a data set, and as MMEngine dumps it."""
    entries = {'metainfo': {'classes': names}, 'vocabulary': [(name, ()) for name in names], 'value': {'inner': value}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'own.py'
        path.write_text(config_text(entries, header='made'), encoding='utf-8')
        config = Config.fromfile(path)
        dumped = Path(folder) / 'dumped.py'
        config.dump(dumped)
        for file in (path, dumped):
            text = file.read_text(encoding='utf-8')
            assert text.isascii() and not set(text) & set('{}'), text
            assert Config.fromfile(file).to_dict() == config.to_dict()
        assert list(config.metainfo.classes) == names
        assert config.to_dict()['value']['inner'] == value
        assert sorted(path.name for path in Path(folder).iterdir()) == ['dumped.py', 'own.py']
