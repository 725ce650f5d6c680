"""Detections joined into tracks."""

import numpy as np
import pytest

from emojax.faces.photo_reader import check_face
from emojax.film import tracks
from emojax.film.tracks import FACES, Detections
from emojax.runtime.errors import UserError

SHAPE = np.array([[-10, -8], [10, -8], [0, 2], [-8, 12], [8, 12]], float)


def detections(paths, count=30, change=None):
    """Faces on straight paths: {start of path: (x, step, size, frames in which it is found)}."""
    points = np.full((count, FACES, 5, 2), np.nan)
    boxes = np.full((count, FACES, 4), np.nan)
    for x, step, size, frames in paths:
        for frame in frames:
            place = int(np.isnan(boxes[frame, :, 0]).argmax())
            at = np.array([x + step * frame, 60.0])
            points[frame, place] = at + size * SHAPE
            boxes[frame, place] = [*(at - 20 * size), *(at + 20 * size)]
    earlier = np.full_like(points, np.nan)
    return Detections(points, earlier, boxes, np.zeros(count) if change is None else change)


def test_two_faces_are_told_apart_from_the_left():
    found = tracks.join(detections([(200, -1, 1, range(30)), (60, 1, 2, range(30))]), gap=4)
    assert [(track.start, track.stop, track.number) for track in found] == [(0, 30, 1), (0, 30, 2)]
    np.testing.assert_allclose(found[0].points[:, 2, 0], 60 + np.arange(30))
    assert not (found[0].fades_in)
    assert not (found[0].fades_out)
    assert tracks.choose(found, "largest", name="film") == [found[0]]
    assert tracks.choose(found, "2", name="film") == [found[1]]
    assert tracks.choose(found, "all", name="film") == found
    with pytest.raises(UserError, match=r"no face 3 in film: 2 are followed.*--face 1 to 2"):
        tracks.choose(found, "3", name="film")


def test_a_gap_is_closed_and_a_long_one_is_not():
    frames = [*range(10), *range(13, 30)]
    (track,) = tracks.join(detections([(60, 2, 1, frames)]), gap=4)
    assert len(track.points) == 30
    assert track.found.sum() == 27
    np.testing.assert_allclose(track.points[:, 2, 0], 60 + 2 * np.arange(30))
    both = tracks.join(detections([(60, 0, 1, [*range(10), *range(20, 30)])]), gap=4)
    assert [(track.start, track.stop) for track in both] == [(0, 10), (20, 30)]
    assert both[0].fades_out
    assert both[1].fades_in


def test_a_trembling_detector_is_steadied_by_what_the_pictures_say():
    """The face nods faster than the filter lets through; the pictures say so."""
    found = detections([(60, 0, 1, range(60))], count=60)
    nods = 3 * np.sin(2 * np.pi * np.arange(60) / 8)[:, None] * [0, 1]
    found.earlier[1:, 0] = found.points[1:, 0] - np.diff(nods, axis=0)[:, None]
    tremble = np.random.default_rng(0).normal(0, 1, (60, 5, 2))
    moved = nods[:, None] + tremble
    found.points[:, 0] += moved
    found.earlier[1:, 0] += moved[1:]
    true = np.array([60, 60]) + SHAPE + nods[:, None]
    (track,) = tracks.join(found, gap=4)
    steady = track.smoothed(11).points - true
    np.testing.assert_array_equal(track.smoothed(1).points, track.points)
    assert (
        np.abs(np.diff(steady, 2, axis=0)).mean()
        < 0.05 * np.abs(np.diff(tremble, 2, axis=0)).mean()
    )
    assert np.abs(steady).mean() < 0.5 * np.abs(tremble).mean()
    found.earlier[30] = np.nan  # one step that is not known is the filter's
    (track,) = tracks.join(found, gap=4)
    assert np.abs(track.smoothed(11).points - true).max() < 3


def test_no_track_goes_over_a_cut():
    change = np.full(30, 3.0)
    change[12] = 70
    first, second = tracks.join(detections([(60, 0, 1, range(30))], change=change), gap=4)
    assert (first.stop, second.start) == (12, 12)
    assert not (first.fades_out)
    assert not (second.fades_in)
    change[:] = 50  # a fast camera, all along
    assert len(tracks.join(detections([(60, 0, 1, range(30))], change=change), gap=4)) == 1


def test_false_alarms_are_left_out():
    found = tracks.join(detections([(60, 0, 1, range(30)), (200, 0, 1, [7])]), gap=4)
    assert len(found) == 1
    assert len(tracks.join(detections([(60, 0, 1, [0])], count=1), gap=4)) == 1  # a film of one


def test_no_face_is_one_sentence():
    with pytest.raises(UserError, match=r"no face found in any frame of a\.mp4"):
        tracks.choose(tracks.join(detections([]), gap=4), "largest", name="a.mp4")


@pytest.mark.parametrize("face", ["0", "left", "-1", "only"])
def test_faces_that_choose_nothing(face):
    with pytest.raises(UserError, match="wanted largest, all or a number"):
        check_face(face, words=tracks.WORDS)
