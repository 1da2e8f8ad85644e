"""Which pictures of a folder are labelled."""

from pathlib import Path

from denseclip.apis.labelling.names import find_pictures, sources


def test_links_are_followed_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ('own/a.jpg', 'own/._a.jpg', 'own/__MACOSX/a.jpg', 'own/.thumbs/a.jpg', 'own/in/b.jfif', 'other/c.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'own/linked').symlink_to(tmp_path / 'other')
    (tmp_path / 'own/in/round').symlink_to(tmp_path / 'own')
    found = find_pictures(tmp_path / 'own')
    assert found == ['a.jpg', 'in/b.jfif', 'linked/c.png']
    # other programs look for no .jfif
    assert [source.file for source in sources(tmp_path / 'own', found)] == ['a.jpg', 'in/b.png', 'linked/c.png']
