"""The curves of a run as a picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from ..engine.training import History
from ..media.files import write_bytes_atomic


def write_loss_chart(path: Path, history: History) -> None:
    """Draw every weighted term, and their sum, over the steps."""
    from matplotlib.figure import Figure  # slow to import, and needed once

    figure = Figure(figsize=(8, 4.5))
    axes = figure.add_axes((0.08, 0.11, 0.74, 0.86))  # a layout would have to draw it twice
    names = list(dict.fromkeys(name for row in history.weighted for name in row))
    steps = range(1, len(history.weighted) + 1)  # as in history.csv
    for name in names:
        axes.plot(
            steps, [row.get(name, float("nan")) for row in history.weighted], label=name, lw=1
        )
    axes.plot(steps, history.totals(), label="total", color="black", lw=1.5)
    axes.set_xlabel("step")
    axes.set_ylabel("weighted loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    data = BytesIO()
    figure.savefig(data, format="png", dpi=100)
    write_bytes_atomic(path, data.getvalue())
