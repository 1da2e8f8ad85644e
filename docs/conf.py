"""The documentation as a site: ``make docs``. Docstrings are read from the source; nothing of it is imported."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION: dict[str, str] = {}
exec((ROOT / 'denseclip' / 'version.py').read_text(encoding='utf-8'), _VERSION)

project = 'DenseCLIP Suite'
author = 'The DenseCLIP Suite maintainers'
version = release = _VERSION['__version__']

extensions = ['autoapi.extension', 'sphinx.ext.napoleon', 'sphinx.ext.mathjax', 'sphinx_copybutton', 'myst_nb']
root_doc = 'index'
html_theme = 'sphinx_rtd_theme'
html_title = f'{project} {release}'
html_static_path: list[str] = []
exclude_patterns = ['_build', 'README.md']  # the index includes it
PAGE = Path(__file__).parent / 'browser'  # what `make page` has built
html_extra_path = [PAGE.name] if PAGE.is_dir() else []

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 4
nb_execution_mode = 'off'  # tests/docs runs the notebooks; the site shows them as they are kept

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ['Shape', 'Source']
napoleon_use_ivar = True

autoapi_dirs = [str(ROOT / 'denseclip')]
autoapi_root = 'api'
autoapi_options = ['members', 'show-module-summary', 'show-inheritance', 'undoc-members']
autoapi_member_order = 'bysource'
autoapi_python_class_content = 'both'
autoapi_add_toctree_entry = False
autoapi_keep_files = False

# What the site cannot know: constants made by unpacking, and type names that several modules have for themselves.
suppress_warnings = ['autoapi.python_import_resolution', 'ref.python']


def setup(app):
    """Files outside docs/ are named, not linked: they are in the repository, and the site is not."""
    if PAGE.is_dir():
        app.tags.add('page')
    link = re.compile(r'\[([^\]\n]+)\]\(\.\./([^)#\n]+)(#[^)\n]*)?\)')

    def name_files(text):
        text[0] = link.sub(_named, text[0])

    app.connect(
        'source-read', lambda _, page, text: None if page.startswith(('api/', 'notebooks/')) else name_files(text)
    )
    app.connect('include-read', lambda _, __, ___, text: name_files(text))


def _named(match):
    text, path = match[1], match[2]
    return f'`{path}`' if text.strip('`') in (path, Path(path).name) else f'{text} (`{path}`)'
