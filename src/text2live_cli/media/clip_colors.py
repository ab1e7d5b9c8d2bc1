"""What the numbers of video samples mean as colours, for reading and writing alike."""

from __future__ import annotations

from typing import NamedTuple

UNSPECIFIED = 2
"""The code point of ITU-T H.273 for a tag that says nothing."""

BT709 = 1
_BT601 = 6

MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""The matrices that swscale converts: the code of H.273 → its own."""

# Flags of swscale, by number: PyAV names them from 18 on, which Python 3.10 does not get.
_BICUBIC, _FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE = 4, 0x2000, 0x4000, 0x40000
SCALING = _BICUBIC | _ACCURATE | _FULL_CHROMA_OUT
"""Without these flags swscale takes the nearest chroma sample and truncates."""

CHROMA_OF_ALL_PIXELS = _FULL_CHROMA_IN
"""For writing: the chroma of 4:2:0 is the mean of its pixels."""


class ColorTags(NamedTuple):
    """How the numbers of a stream mean colours: code points of ITU-T H.273, 2 is "unspecified"."""

    primaries: int = BT709
    transfer: int = BT709
    matrix: int = BT709
    range: int = 1
    """0 unspecified, 1 limited (16–235), 2 full."""


def matrix_for(code: int, height: int) -> int:
    """The matrix, in swscale's numbers, of a stream that is tagged with `code`.

    Streams without a tag follow what browsers do: BT.601 under 720 rows, which is what encoders
    without a colour setting write, and BT.709 from there on, which is what cameras write.
    """
    return MATRICES.get(code, MATRICES[_BT601 if height < 720 else BT709])
