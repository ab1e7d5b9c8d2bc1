"""Bring an edited version onto the grid of its source: features, then ECC, then what bends is left.

Features (SIFT) say roughly how it lies, ECC (Evangelidis and Psarakis 2008) to a fraction of a
pixel, both on small copies; optical flow (DIS) mends what no affine map can, where the two agree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .filters import Bytes, Image, Map, Mask, blurred, enlarged, gray, length, narrowed, shrunk

Matrix = NDArray[np.float64]
"""(2, 3): from pixels of the source to pixels of the other."""

_LONG_SIDE = 1000  # of the small copies, pixels
_FEATURES, _RATIO, _MATCHES = 4000, 0.75, 12
_STILL = 0.04  # pixels of the source: a corner that moves less has not moved
_BENT = 0.3  # pixels: less of bending is noise
_SPREAD = 0.02  # of the long side: how far a bend reaches
_ROUNDS = 3


class Registration(NamedTuple):
    """The other picture on the grid of the source."""

    color: Image
    valid: Mask
    """(H, W): where the other picture has pixels."""
    matrix: Matrix
    bend: float
    """What was left to be bent, median, pixels."""
    alike: float
    """Correlation of the two pictures' detail, −1 to 1: how sure it is that they show one scene."""

    @property
    def moved(self) -> bool:
        """Whether any pixel had to be interpolated."""
        return self.bend > 0 or not _is_still(self.matrix, self.valid.shape)

    def describe(self) -> dict[str, object]:
        """As a record keeps it: how the other was zoomed, turned (degrees) and shifted (pixels)."""
        (a, b, x), (c, d, y) = self.matrix
        return {
            "zoom": round(float(np.sqrt(abs(a * d - b * c))), 5),
            "turn": round(float(np.degrees(np.arctan2(c, a))), 3),
            "shift": [round(float(x), 2), round(float(y), 2)],
            "bend": round(self.bend, 2),
            "covered": round(float(self.valid.mean()), 4),
            "alike": round(self.alike, 3),
        }


def register(source: Image, other: Image) -> Registration:
    """`other`, of any size, on the grid of `source` (H, W, 3)."""
    height, width = source.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    small = _detail(shrunk(source, scale))
    start = _resizing(_size(source), _size(other))
    near = _detail(_on_grid(other, _scaled(start, scale), small.shape)[0])
    matrix, alike = start, _likeness(small, near)
    if alike < 0.98:
        matrix, alike = _better(source, other, small, start, alike, scale)
    matrix, alike = _refined(other, small, matrix, alike, scale)
    if _is_still(matrix, (height, width)) and source.shape == other.shape:
        valid = np.ones((height, width), bool)
        return Registration(other, valid, np.eye(2, 3), 0.0, alike)
    color, valid = _on_grid(other, matrix, (height, width))
    return _unbent(source, Registration(color, valid, matrix, 0.0, alike), scale)


def _better(
    source: Image, other: Image, small: Image, start: Matrix, alike: float, scale: float
) -> tuple[Matrix, float]:
    """By features, if that lies better than `start` does."""
    found = _by_features(source, other)
    if found is None:
        return start, alike
    near = _detail(_on_grid(other, _scaled(found, scale), small.shape)[0])
    other_alike = _likeness(small, near)
    return (found, other_alike) if other_alike > alike + 0.002 else (start, alike)


def _refined(
    other: Image, small: Image, matrix: Matrix, alike: float, scale: float
) -> tuple[Matrix, float]:
    """By ECC, on what agrees so far; as it was where that does not help."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-6)
    for _ in range(_ROUNDS):
        near, valid = _on_grid(other, _scaled(matrix, scale), small.shape)
        detail = _detail(near)
        agrees = (np.abs(detail - small) < 2 * _typical(detail - small, valid)) & valid
        mask = narrowed(agrees, 1).astype(np.uint8)
        start = np.eye(2, 3, dtype=np.float32)
        try:
            _, step = cv2.findTransformECC(
                small, detail, start, cv2.MOTION_AFFINE, criteria, mask, 3
            )
        except cv2.error:  # too little of it agrees
            break
        moved = np.asarray(step, np.float64)
        trial = _scaled(_after(_scaled(matrix, scale), moved), 1 / scale)
        seen, _ = _on_grid(other, _scaled(trial, scale), small.shape)
        likeness = _likeness(small, _detail(seen))
        if likeness <= alike:
            break
        done = _furthest(moved, small.shape) < _STILL * scale
        matrix, alike = trial, likeness
        if done:
            break
    return matrix, alike


def _unbent(source: Image, rough: Registration, scale: float) -> Registration:
    """With what an affine map leaves, found by DIS on small copies, taken out."""
    small, near = (_bytes(_detail(shrunk(x, scale))) for x in (source, rough.color))
    valid = shrunk(rough.valid.astype(np.float32), scale) > 0.99
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(small, near, None)
    back = dis.calc(near, small, None)
    far = length(flow)
    returns = length(flow + _sampled(back, flow)) < 0.5
    soft = blurred(small.astype(np.float32), 2)
    textured = np.abs(soft - blurred(soft, 3))
    sure = valid & returns & (far < 8) & (textured > np.median(textured))
    if sure.mean() < 0.02:
        return rough
    bend = float(np.median(far[sure])) / scale
    if bend < _BENT:
        return rough
    spread = _SPREAD * max(small.shape)
    weight = blurred(sure.astype(np.float32), spread) + 1e-6
    known = np.where(sure[..., None], flow, 0).astype(np.float32)
    smooth = blurred(known, spread) / weight[..., None]
    large = enlarged(smooth, source.shape) / np.float32(scale)
    color = _sampled(rough.color, large, cv2.INTER_CUBIC).clip(0, 1)
    valid = _sampled(rough.valid.astype(np.float32), large) > 0.99
    return rough._replace(color=color, valid=valid, bend=bend)


def _by_features(source: Image, other: Image) -> Matrix | None:
    """The affine map that most matches agree on; None where too few do."""
    sift: Any = cv2.SIFT.create(_FEATURES, contrastThreshold=0.02)
    points, descriptors, scales = [], [], []
    for picture in (source, other):
        scale = min(1.0, _LONG_SIDE / max(picture.shape[:2]))
        light = _bytes(gray(shrunk(picture, scale)))
        keys, found = sift.detectAndCompute(light, None)
        if found is None or len(keys) < _MATCHES:
            return None
        points.append(np.array([key.pt for key in keys]))
        descriptors.append(found)
        scales.append(scale)
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors[0], descriptors[1], k=2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < _RATIO * p[1].distance]
    if len(good) < _MATCHES:
        return None
    ours = (points[0][[m.queryIdx for m in good]] + 0.5) / scales[0] - 0.5
    theirs = (points[1][[m.trainIdx for m in good]] + 0.5) / scales[1] - 0.5
    reach = 2 / scales[1]
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.estimateAffine2D(ours, theirs, ransacReprojThreshold=reach)
    if matrix is None or int(inliers.sum()) < _MATCHES:
        return None
    zoom = float(np.linalg.det(matrix[:, :2]))
    return matrix.astype(np.float64) if 0.01 < zoom < 100 else None


def _resizing(size: tuple[int, int], other: tuple[int, int]) -> Matrix:
    """The map of a picture that was only resized, pixel centres at halves."""
    y, x = (b / a for a, b in zip(size, other, strict=True))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def _scaled(matrix: Matrix, scale: float) -> Matrix:
    """The same map from pixels of a copy of the source, `scale` times its size."""
    shrink = np.array([[1 / scale, 0, (1 / scale - 1) / 2], [0, 1 / scale, (1 / scale - 1) / 2]])
    return _after(matrix, shrink)


def _after(second: Matrix, first: Matrix) -> Matrix:
    return second @ np.vstack([first, [0, 0, 1]])


def _furthest(matrix: Matrix, size: tuple[int, ...]) -> float:
    """How far the map moves the corner that it moves most, pixels."""
    height, width = size[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    return float(np.abs(corners @ matrix.T - corners[:, :2]).max())


def _is_still(matrix: Matrix, size: tuple[int, ...]) -> bool:
    return _furthest(matrix, size) < _STILL


def _on_grid(other: Image, matrix: Matrix, size: tuple[int, ...]) -> tuple[Image, Mask]:
    """The other picture seen through the map, (h, w, 3), and where it has pixels."""
    height, width = size[:2]
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if zoom > 1.2:  # it shrinks: what is finer than a pixel is averaged first
        smaller = shrunk(other, 1 / zoom)
        back = _resizing(_size(other), _size(smaller))
        matrix, other = _after(back, matrix), smaller
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    color = cv2.warpAffine(
        other, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT
    )
    x = matrix[0, 0] * np.arange(width) + matrix[0, 2]
    y = matrix[1, 1] * np.arange(height) + matrix[1, 2]
    column, row = np.arange(height)[:, None], np.arange(width)
    xs, ys = x + matrix[0, 1] * column, y[:, None] + matrix[1, 0] * row
    inside = (xs > -0.6) & (xs < other.shape[1] - 0.4) & (ys > -0.6) & (ys < other.shape[0] - 0.4)
    return color.clip(0, 1), inside


def _sampled(picture: Map, flow: Image, way: int = cv2.INTER_LINEAR) -> Image:
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        picture, x + flow[..., 0], y + flow[..., 1], way, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(moved, np.float32)


def _detail(picture: Image) -> Map:
    """Brightness without what is slow, by its local contrast: tone and colour do not matter."""
    light = blurred(gray(picture), 0.8)
    mean = blurred(light, 8)
    spread = np.sqrt(blurred(np.square(light - mean), 16)) + 0.02
    return ((light - mean) / spread).clip(-3, 3).astype(np.float32)


def _likeness(a: Map, b: Map) -> float:
    """The median over blocks of the correlation of two pictures' detail: edits count as few."""
    height, width = a.shape
    side = max(16, min(height, width) // 12)
    values = []
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            x, y = (p[top : top + side, left : left + side] for p in (a, b))
            x, y = x - x.mean(), y - y.mean()
            size = float(np.sqrt((x * x).mean() * (y * y).mean()))
            if float((x * x).mean()) > 0.05:
                values.append(float((x * y).mean()) / (size + 1e-6))
    return float(np.median(values)) if values else 1.0


def _typical(values: Map, valid: Mask) -> float:
    return float(np.median(np.abs(values[valid]))) + 1e-3 if valid.any() else 1.0


def _bytes(values: Map) -> Bytes:
    low, high = float(values.min()), float(values.max())
    return np.uint8(255 * (values - low) / max(high - low, 1e-6))


def _size(picture: Image) -> tuple[int, int]:
    return int(picture.shape[0]), int(picture.shape[1])
