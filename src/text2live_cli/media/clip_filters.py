"""Filters of FFmpeg that video frames are sent through."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.filter

_UNUSED_TIME_BASE = Fraction(1, 25)  # a filter must be told one; the clock of a clip is read before


def filter_graph(frame: Any, name: str, arguments: str) -> Any:
    """A graph of one filter, for frames of the size and the pixel format of `frame`."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_UNUSED_TIME_BASE
    )
    graph.link_nodes(source, graph.add(name, arguments), graph.add("buffersink")).configure()
    return graph


class LeftSited:
    """Says of the frames of one stream that each chroma sample lies on a column of luma.

    So it does in video since ITU-R BT.601. Where nothing is said, swscale takes it for the middle
    of two columns, half a pixel to the right.
    """

    def __init__(self) -> None:
        self._graph: Any = None

    def __call__(self, frame: Any) -> Any:
        """The same frame, with that said."""
        if self._graph is None:
            self._graph = filter_graph(frame, "setparams", "chroma_location=left")
        self._graph.push(frame)
        return self._graph.pull()
