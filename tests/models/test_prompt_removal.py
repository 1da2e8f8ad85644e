"""Prompts taken out of pixel embeddings: what the equation says, and what a model makes of it."""

import pytest
import torch
from tiny_open_vocab import tiny_open_vocab

from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.prompt_removal import removal_matrix


@pytest.fixture(scope='module')
def texts():
    """Many texts, not alike in all directions."""
    generator = torch.Generator().manual_seed(0)
    mixed = (
        torch.randn(400, 12, generator=generator, dtype=torch.float64)
        @ torch.randn(12, 12, generator=generator).double()
    )
    return mixed / mixed.norm(dim=1, keepdim=True)


@pytest.mark.parametrize('count', [1, 3])
def test_what_is_left_has_the_schur_complement_as_covariance(texts, count):
    prompts = texts[:count]
    matrix = removal_matrix(prompts, texts, ridge=1e-12)
    left = texts @ matrix.T
    covariance, rows = texts.T @ texts / len(texts), prompts.T
    schur = covariance - rows @ torch.linalg.inv(rows.T @ torch.linalg.inv(covariance) @ rows) @ rows.T
    torch.testing.assert_close(left.T @ left / len(texts), schur, atol=1e-8, rtol=1e-6)


def test_it_is_the_residual_of_a_linear_regression(texts):
    prompt = texts[:1]
    coordinate = torch.linalg.solve(texts.T @ texts, prompt.T)
    slope = torch.linalg.lstsq(texts @ coordinate, texts).solution
    expected = texts - texts @ coordinate @ slope
    torch.testing.assert_close(texts @ removal_matrix(prompt, texts, ridge=1e-12).T, expected, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize('ridge', [1e-6, 0.01, 10.0])
def test_prompts_vanish_and_nothing_is_left_to_remove(texts, ridge):
    matrix = removal_matrix(texts[:2], texts, ridge)
    assert (texts[:2] @ matrix.T).abs().max() < 1e-9
    torch.testing.assert_close(matrix @ matrix, matrix)
    assert torch.linalg.matrix_rank(matrix, atol=1e-8) == 10


def test_the_same_prompt_twice_is_one(texts):
    twice = removal_matrix(texts[[0, 0]], texts)
    torch.testing.assert_close(twice, removal_matrix(texts[:1], texts))


def test_fewer_texts_than_dimensions_are_enough(texts):
    matrix = removal_matrix(texts[:1], texts[:5], 0.01)
    assert matrix.isfinite().all()
    assert (texts[:1] @ matrix.T).abs().max() < 1e-9


@pytest.mark.parametrize(
    ('prompts', 'ridge', 'said'),
    [((2, 7), 0.1, 'no rows of one width'), ((0, 12), 0.1, '0 prompts'), ((2, 12), 0, 'ridge 0')],
)
def test_says_what_is_wrong(texts, prompts, ridge, said):
    with pytest.raises(ValueError, match=said):
        removal_matrix(torch.zeros(prompts), texts, ridge)


@pytest.fixture(scope='module')
def picture():
    """A batch of one."""
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_model_scores_pixels_without_the_prompts(picture):
    plain, without = tiny_open_vocab('sclip'), tiny_open_vocab('sclip', post=dict(remove_prompts=['a photo', 'night']))
    with torch.no_grad():
        dense = without.dense_features(picture)
        torch.testing.assert_close(dense, plain.dense_features(picture))
        left = without.remove_prompts(dense)
        rows = without.class_embeddings().embeddings
        torch.testing.assert_close(without.head_logits(picture), cosine_scores(left, rows))
        assert not torch.allclose(without.head_logits(picture), plain.head_logits(picture))
        torch.testing.assert_close(plain.remove_prompts(dense), dense)


def test_a_picture_does_not_depend_on_its_batch(picture):
    model = tiny_open_vocab('sclip', post=dict(remove_prompts=['night']))
    both = torch.cat([picture, picture.flip(-1)])
    with torch.no_grad():
        dense = model.dense_features(both)
        torch.testing.assert_close(model.remove_prompts(dense)[1:], model.remove_prompts(dense[1:]))


@pytest.mark.parametrize('prompts', ['night', [1]])
def test_a_model_takes_a_list_of_texts(prompts):
    with pytest.raises(ValueError, match='must be a list of texts'):
        tiny_open_vocab('sclip', post=dict(remove_prompts=prompts))
