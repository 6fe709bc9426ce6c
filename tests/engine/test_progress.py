"""Progress of a part, as its whole reports it."""

from napari_mri7t.engine.progress import Progress, part


def test_part_that_does_not_know_its_end_leaves_the_whole_where_it_is():
    seen = []
    third_of_four = part(seen.append, 2, 4)
    for done, total in ((1, 2), (0, 0), (2, 2), (0, 0)):
        third_of_four(Progress(done, total, "work"))
    assert [each.done for each in seen] == [2.5, 2.5, 3, 3]
    assert {each.total for each in seen} == {4}
