"""The page: whole, from this server alone, and made for what the model can do. ``studies/clicks`` clicks through it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from denseclip.apis.results.formats import FORMATS
from denseclip.serving.app import PAGE


class Page(HTMLParser):
    """Elements of a page as (tag, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def page(client):
    return Page(client.get('/').text)


def test_all_comes_from_this_server_and_nothing_is_written_inline(client, page):
    links = [script['src'] for script in page.all('script')] + [link['href'] for link in page.all('link')]
    assert {f'/{link}' for link in links} == set(PAGE) - {'/'}  # relative: the page may stand below any path
    for link in links:
        answer = client.get(f'/{link}')
        assert answer.status_code == 200 and answer.headers['content-type'] == PAGE[f'/{link}'][1]
    names = {name for _, attributes in page.found for name in attributes}
    assert 'style' not in names and not any(name.startswith('on') for name in names)
    assert 'style' not in {tag for tag, _ in page.found}
    policy = client.get('/').headers['content-security-policy']
    assert "default-src 'none'" in policy and 'unsafe' not in policy and 'http' not in policy


def test_the_script_finds_its_elements_and_writes_text_alone(client, page):
    script = client.get('/page.js').text
    known = [attributes['id'] for _, attributes in page.found if 'id' in attributes]
    assert len(known) == len(set(known))
    assert set(re.findall(r"\$\('(\w+)'\)", script)) <= set(known)
    assert not re.search(r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function', script)
    assert '://' not in script


def test_every_field_is_one_of_the_form(client, page):
    paths = client.get('/openapi.json').json()
    known = set()
    for schema in paths['components']['schemas'].values():
        known |= set(schema.get('properties', {}))
    fields = [attributes['name'] for _, attributes in page.found if 'name' in attributes and attributes.get('id')]
    assert {'image', 'words', 'object'} <= set(fields) <= known


def test_fields_have_labels_and_formats_have_names(client):
    labelled = set()
    text = client.get('/').text
    for part in re.findall(r'<label.*?</label>', text, re.DOTALL):
        labelled |= set(re.findall(r'<(?:input|textarea|select) id="(\w+)"', part))
    fields = set(re.findall(r'<(?:input|textarea|select) id="(\w+)"', text))
    assert fields and labelled == fields
    script = client.get('/page.js').text
    assert all(re.search(rf"\b{row.name}'?: ", script) for row in FORMATS)
