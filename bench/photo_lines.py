"""What `photos.py` asks for: pictures, prompts, objects, and how the objects are pointed at.

The lines of the half "choose" are there to choose settings by, those of "report" to report on; no
setting may be chosen by the latter, and what README.md shows is among them.
"""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """One edit of one object, whose outline (or outlines) `things` names.

    `box` ("X,Y,W,H"), `points` and `not_points` ("X,Y") are in pixels. `known` is False where the
    embedded encoder has no word for the object. `alike` are further objects that the text means as
    well: only a box or points tell them apart.
    """

    picture: str
    prompt: str
    things: tuple[str, ...]
    half: str
    box: str | None = None
    points: tuple[str, ...] = ()
    not_points: tuple[str, ...] = ()
    known: bool = True
    alike: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """What the picture holds now: the prompt without its look."""
        return self.prompt.split(" ", 1)[1]

    def meant(self, way: str) -> tuple[str, ...]:
        """The objects that the edit is for: drawn by the text alone, or by "box"."""
        return self.things + (self.alike if way == "text" else ())

    @property
    def title(self) -> str:
        """A short name, one for each line."""
        return f"{self.picture}: {self.prompt} ({', '.join(self.things)})"


CHOOSE, REPORT = "choose", "report"
_HATS = tuple(f"{colour} hat" for colour in ("yellow", "orange", "green", "pink", "blue"))

LINES: tuple[Line, ...] = (
    Line("coffee", "golden cup", ("cup",), REPORT, box="166,12,250,302"),
    Line(
        "coffee",
        "checkered cup",
        ("cup",),
        CHOOSE,
        points=("290,220", "300,150", "215,275"),
        not_points=("140,250",),
    ),
    Line(
        "coffee",
        "snowy table",
        ("table",),
        REPORT,
        points=("540,120", "40,330", "120,60"),
        not_points=("140,250",),
    ),
    Line(
        "coffee",
        "mosaic saucer",
        ("saucer",),
        CHOOSE,
        points=("130,200", "440,240", "300,370"),
        not_points=("290,130",),
    ),
    Line("chelsea", "leopard cat", ("cat",), REPORT, points=("240,60", "120,210", "325,185")),
    Line("chelsea", "zebra cat", ("cat",), CHOOSE, box="0,0,405,300"),
    Line(
        "kodim03", "denim hat", ("orange hat",), REPORT, points=("390,240", "390,320"), alike=_HATS
    ),
    Line("kodim03", "knitted hat", ("yellow hat",), CHOOSE, box="76,72,230,237", alike=_HATS),
    Line("kodim03", "golden hats", _HATS, CHOOSE, box="76,72,638,365"),
    Line(
        "kodim03",
        "starry sky",
        ("sky",),
        REPORT,
        points=("420,150", "700,60", "620,220"),
        not_points=("600,320",),
    ),
    Line(
        "flower", "icy flower", ("flower",), REPORT, box="162,80,290,286", alike=("second flower",)
    ),
    Line(
        "flower",
        "chocolate flower",
        ("flower",),
        CHOOSE,
        points=("305,220", "225,290"),
        alike=("second flower",),
    ),
    Line(
        "flower",
        "snowy leaves",
        ("leaves",),
        CHOOSE,
        points=("80,150", "550,180", "560,330"),
        not_points=("305,220",),
    ),
    Line("china", "golden house", ("house",), REPORT, box="54,24,324,392"),
    Line(
        "china",
        "snowy house",
        ("house",),
        CHOOSE,
        points=("220,85", "220,210", "230,300"),
        not_points=("440,100",),
    ),
    Line(
        "china",
        "icy lake",
        ("lake",),
        CHOOSE,
        points=("440,270", "30,305"),
        not_points=("450,340",),
    ),
    Line("china", "fiery sky", ("sky",), REPORT, points=("450,100", "60,100")),
    Line("china", "snowy trees", ("trees",), REPORT, points=("600,260", "450,350", "120,390")),
    Line("rocket", "golden rocket", ("rocket",), CHOOSE, box="306,122,34,290"),
    Line("rocket", "rainbow rocket", ("rocket",), REPORT, points=("322,165", "323,300")),
    Line(
        "rocket",
        "fiery sky",
        ("sky",),
        CHOOSE,
        points=("260,150", "520,150", "130,250"),
        not_points=("323,250",),
    ),
    Line("car-turn-10", "rusty car", ("car",), CHOOSE, box="350,207,130,117"),
    Line(
        "car-turn-10", "snowy grass", ("meadow",), REPORT, points=("100,300", "60,225", "220,270")
    ),
    Line("car-turn-40", "golden car", ("car",), REPORT, points=("330,285", "190,268", "265,345")),
    Line("car-turn-40", "rusty bonnet", ("bonnet",), CHOOSE, box="143,251,158,37", known=False),
    Line("car-turn-70", "zebra car", ("car",), REPORT, box="12,156,436,227"),
    Line(
        "car-turn-70",
        "snowy road",
        ("road",),
        CHOOSE,
        points=("100,430", "400,450"),
        not_points=("200,270",),
    ),
    Line("tennis-05", "snowy player", ("player",), REPORT, box="128,53,76,131"),
    Line(
        "tennis-05",
        "mossy court",
        ("court",),
        CHOOSE,
        points=("60,200", "300,200"),
        not_points=("250,115",),
        known=False,
    ),
    Line("tennis-35", "golden player", ("player",), CHOOSE, box="50,70,126,133"),
    Line(
        "tennis-35",
        "brick wall",
        ("wall",),
        REPORT,
        points=("60,120", "300,115"),
        not_points=("200,50",),
    ),
    Line(
        "tennis-65",
        "neon player",
        ("player",),
        CHOOSE,
        points=("180,100", "172,142", "192,72"),
        not_points=("225,150",),
    ),
    Line("tennis-65", "straw court", ("court",), REPORT, points=("60,200", "300,190"), known=False),
)
