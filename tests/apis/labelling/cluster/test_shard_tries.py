"""How often a picture was looked at is counted, over errors and deaths."""

from drawn_shards import WORDS, Died, label, one_process, pictures
from drawn_teacher import DrawnTeacher

from denseclip.apis.labelling.cluster.places import Place
from denseclip.apis.labelling.cluster.tries import Tries


def test_looks_outlive_errors_and_marked_deaths(tmp_path):
    place = Place(str(tmp_path))
    first = Tries(place, 7)
    first.count([3, 4])
    first.found(4)
    first.alive()  # a store that does not answer
    Tries(place, 7).count([3])  # a process that dies at full speed says nothing
    third = Tries(place, 7)
    assert third.careful and (third.looks(3), third.looks(4)) == (1, 0)
    third.look(3)  # and dies
    fourth = Tries(place, 7)
    assert fourth.looks(3) == 2 and not fourth.fatal(3)
    fourth.look(3)  # an error of the model
    fourth.look(3)  # and a death
    fifth = Tries(place, 7)
    assert fifth.looks(3) == 4 and fifth.fatal(3)
    fifth.clear()
    assert Tries(place, 7).looks(3) == 0


def test_what_dies_between_pictures_convicts_none(tmp_path):
    place = Place(str(tmp_path))
    for _ in range(2):
        Tries(place, 0)
    for _ in range(3):
        tries = Tries(place, 0)
        tries.look(5)
        tries.found(5)
        tries.rest()
        assert not Tries(place, 0).fatal(5)


def test_a_letter_says_what_the_model_was_asked(tmp_path):
    """Over the death of a process, too, that looked at another picture alone by then."""
    pictures(tmp_path / 'shots', 4)
    teacher, seen = DrawnTeacher(WORDS), []
    right, deaths = teacher._result, iter([True])

    def result(picture):
        if picture.source.name == '01.png':
            seen.append(picture.source)
            raise RuntimeError('boom')
        if picture.source.name == '02.png' and next(deaths, False):
            raise Died
        return right(picture)

    teacher._result = result
    found = label(tmp_path / 'shots', tmp_path / 'out', teacher, run=one_process)
    assert found.letters == 1 and found.shown[0].key == '1/01.png'
    assert len(seen) == found.shown[0].tries == 6
