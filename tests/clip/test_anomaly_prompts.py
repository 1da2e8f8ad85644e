"""State prompts: domains, defect words, own sets, and errors that name the choices."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.clip.anomaly_prompts import PromptSetError, available, prompt_set, state_prompts


@pytest.mark.parametrize(('name', 'counts'), [('anovl', (462, 462)), ('winclip', (154, 88)), ('april_gan', (245, 175))])
def test_sets_of_the_suite_have_the_papers_sizes(name, counts):
    prompts = state_prompts('bottle', name)
    assert (len(prompts.normal), len(prompts.abnormal)) == counts
    assert len(set(prompts.normal + prompts.abnormal)) == sum(counts)
    assert name in available()


def test_only_april_gan_normalises_before_the_mean():
    assert [state_prompts('x', n).unit_length_before_mean for n in ('anovl', 'winclip', 'april_gan')] == [0, 0, 1]


def test_the_domain_follows_the_object():
    assert 'a textural photo of a normal carpet' in state_prompts('Carpet'.lower()).normal
    assert state_prompts('carpet').domain == 'texture' and state_prompts('bottle').domain == 'industrial'
    assert state_prompts('carpet', domain='industrial').normal == tuple(
        s.replace('bottle', 'carpet') for s in state_prompts('bottle').normal
    )


def test_a_domain_can_be_phrases():
    prompts = state_prompts('ship', domain='a satellite image; an aerial photo')
    assert 'a satellite image of a damaged ship' in prompts.abnormal
    assert 'an aerial photo of the ship with flaw' in prompts.abnormal
    assert len(prompts.normal) == 2 * 22 * 7


@pytest.mark.parametrize('domain', ['textures', 'satellite image', 'medical', ''])
def test_an_unknown_domain_names_the_choices(domain):
    with pytest.raises(PromptSetError, match='industrial, texture, photo'):
        state_prompts('bottle', domain=domain)


def test_a_near_domain_is_suggested():
    with pytest.raises(PromptSetError, match="did you mean 'texture'"):
        state_prompts('bottle', domain='textures')


def test_own_defect_words_come_in_contrasting_pairs():
    prompts = state_prompts('metal nut', defects='scratch; dent; ')
    assert 'a bright industrial photo of a metal nut with scratch' in prompts.abnormal
    assert 'a bright industrial photo of a metal nut without scratch' in prompts.normal
    assert len(prompts.abnormal) == len(prompts.normal) == 3 * 22 * 9
    assert set(state_prompts('metal nut').abnormal) < set(prompts.abnormal)


def test_a_defect_word_may_hold_the_place_of_the_object():
    prompts = state_prompts('nut', defects=['cracked {}', 'cracked {}'])
    assert 'a cropped industrial photo of a cracked nut' in prompts.abnormal
    assert (len(prompts.normal), len(prompts.abnormal)) == (462, 3 * 22 * 8)


@pytest.mark.parametrize('defects', ['scratch;;dent', ['  '], '{} {}'])
def test_wrong_defect_words_are_refused(defects):
    with pytest.raises(PromptSetError, match='no defect word'):
        state_prompts('nut', defects=defects)


def test_an_empty_name_is_refused():
    with pytest.raises(PromptSetError, match='name is empty'):
        state_prompts('  ')


@given(st.text(alphabet='ab{}_;=, ', min_size=1).filter(str.strip))
def test_names_are_text_never_format_strings(name):
    prompts = state_prompts(name)
    clean = ' '.join(name.split())
    assert all(clean in sentence for sentence in prompts.normal[:7])
    assert len(prompts.normal) == 462


def test_a_set_can_change_parts_of_another(tmp_path):
    content = dict(base='anovl', underscores_as_spaces=True, object_domains={'texture': ['magnetic_tile']})
    file = tmp_path / 'mine.json'
    file.write_text(json.dumps(content))
    for own in (content, file, str(file), prompt_set(content)):
        prompts = state_prompts('magnetic_tile', own)
        assert prompts.domain == 'texture' and 'a surface picture of a damaged magnetic tile' in prompts.abnormal
    assert state_prompts('carpet', content).domain == 'industrial'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(base='anovl', frame=['x {}']), "unknown field 'frame'"),
        (dict(base='anovl', frames=['no place']), "frame 'no place'"),
        (dict(base='anovl', frames=[]), 'no frames'),
        (dict(base='anovl', states=dict(normal=['{}'])), "no 'abnormal' states"),
        (dict(base='anovl', domains=dict(industrial=['photo'])), 'needs its article'),
        (dict(base='anovl', default_domain='sea'), "unknown domain 'sea'"),
        (dict(frames=['{}']), 'needs domains'),
    ],
)
def test_wrong_sets_are_refused(content, message):
    with pytest.raises(PromptSetError, match=message):
        prompt_set(content)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='anovl, april_gan, winclip'):
        prompt_set('anovel')
    broken = tmp_path / 'broken.json'
    for text in ('{', '[1]'):
        broken.write_text(text)
        with pytest.raises(PromptSetError, match='broken.json'):
            prompt_set(broken)
