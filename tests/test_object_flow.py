"""The foreground's flow: an object of one colour moves as a whole, one that bends as it is seen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from text2live_cli.atlas.fit.flow import Flow, dis_flow, with_agreement
from text2live_cli.atlas.fit.object_flow import aligned_steps, settle_flow
from text2live_cli.progress import Silent

SIZE = (90, 140)
COUNT = 4
OBJECT = (3.0, 0.0)  # pixels a frame
CAMERA = (-2.0, 0.0)


def noise(seed: int, size: tuple[int, int], grain: float = 2.0) -> np.ndarray:
    """Grey blobs of 0..255, (h, w)."""
    raw = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    field = cv2.GaussianBlur(raw, (0, 0), grain)
    return np.clip(128 + 60 * field / field.std(), 0, 255)


def shifted(picture: np.ndarray, x: float) -> np.ndarray:
    return cv2.warpAffine(
        picture, np.float32([[1, 0, x], [0, 1, 0]]), SIZE[::-1], borderMode=cv2.BORDER_REFLECT
    )


def clip(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, h, w, 3) of a disc that shows `inside`, before blobs that go the other way."""
    disc = cv2.circle(np.zeros(SIZE, np.float32), (50, 45), 28, 1, -1)
    place, frames, masks = noise(1, SIZE), [], []
    for t in range(COUNT):
        cover = shifted(disc, OBJECT[0] * t)
        front, behind = shifted(inside, OBJECT[0] * t), shifted(place, CAMERA[0] * t)
        frames.append(np.repeat((behind + (front - behind) * cover)[..., None], 3, axis=-1))
        masks.append(cover > 0.5)
    return np.stack(frames).round().astype(np.uint8), np.stack(masks)


def steps(x: float) -> np.ndarray:
    return np.tile(np.array([[1, 0, x], [0, 1, 0], [0, 0, 1.0]]), (COUNT - 1, 1, 1))


def errors(flow: Flow, masks: np.ndarray) -> np.ndarray:
    return np.linalg.norm(flow.forward - OBJECT, axis=-1)[masks[:-1]]


def centre_moves(found: np.ndarray) -> np.ndarray:
    """Where each step brings the middle of the disc, less where it is: (T-1, 2)."""
    centre = np.stack([[50 + OBJECT[0] * t, 45, 1] for t in range(COUNT - 1)])
    return (np.einsum("tij,tj->ti", found, centre) - centre)[:, :2]


def test_steps_are_aligned_with_the_outline_of_a_bare_object() -> None:
    frames, masks = clip(np.full(SIZE, 240, np.float32))
    found = aligned_steps(frames, masks, steps(OBJECT[0] - 1.2))
    assert np.abs(centre_moves(found) - OBJECT).max() < 0.3


def test_steps_stay_where_there_is_nothing_to_align() -> None:
    frames, masks = clip(np.full(SIZE, 240, np.float32))
    start = steps(1)
    np.testing.assert_array_equal(aligned_steps(frames, np.zeros_like(masks), start), start)
    bare = np.full_like(frames, 90)
    np.testing.assert_array_equal(aligned_steps(bare, masks, start), start)


def test_a_bare_object_moves_as_a_whole() -> None:
    frames, masks = clip(np.full(SIZE, 240, np.float32))
    flow, settled = dis_flow(frames, Silent()), dis_flow(frames, Silent())
    settle_flow(frames, masks, steps(OBJECT[0]), settled)
    assert errors(flow, masks).mean() > 0.5
    assert errors(settled, masks).mean() < 0.1
    assert settled.forward_ok[masks[:-1]].mean() > 0.95
    np.testing.assert_allclose(settled.backward[masks[1:]].mean(0), -np.array(OBJECT), atol=0.1)
    np.testing.assert_array_equal(settled.forward[~masks[:-1]], flow.forward[~masks[:-1]])


@pytest.mark.parametrize("wrong", [1.0, 2.0])
def test_texture_outvotes_a_motion_of_the_whole(wrong: float) -> None:
    frames, masks = clip(noise(2, SIZE))
    true = np.zeros((COUNT - 1, *SIZE, 2), np.float32) + np.float32(OBJECT)
    flow = with_agreement(zip(true, -true, strict=True), COUNT - 1, SIZE)
    settle_flow(frames, masks, steps(OBJECT[0] + wrong), flow)
    assert (flow.forward == true).all(axis=-1)[masks[:-1]].mean() > 0.9
    aligned = aligned_steps(frames, masks, steps(OBJECT[0] + wrong))
    assert np.abs(centre_moves(aligned) - OBJECT).max() < 0.3
