"""Words that `swatch` does not know: the nearest by meaning, what is refused, what stands in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from swatch_training.painter import paint_scene

from tests.commands import one_line, passed, run
from text2live_cli.errors import UsageError
from text2live_cli.guide.clip import ClipGuide, load_guide
from text2live_cli.guide.prompts import check_text, choose_roi, knows
from text2live_cli.guide.swatch import vocabulary
from text2live_cli.guide.swatch.kinds import nearest_words
from text2live_cli.guide.swatch.reading import things_of, unknown_thing
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.progress import Silent

QUICK = ("--clip", "swatch", "--preset", "draft", "--views", "1", "--steps", "1")


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    warning = message


@pytest.fixture(scope="module")
def swatch() -> ClipGuide:
    return load_guide("swatch", None, Silent())


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painted car, and its mask beside it."""
    folder = tmp_path_factory.mktemp("car")
    rgb, masks = paint_scene([("car", "red")], "grey road", 3, (120, 160))
    write_picture(folder / "car.png", rgb)
    write_picture(folder / "mask.png", masks[0].astype("uint8") * 255)
    return folder / "car.png"


@pytest.mark.parametrize(
    ("word", "first"),
    [("Buses", "car"), ("crimson", "red"), ("velvet", "knitted"), ("reddish", "red")],
)
def test_the_nearest_word_is_so_by_meaning_in_any_form(word: str, first: str) -> None:
    assert nearest_words(word)[0] == first


@pytest.mark.parametrize("word", ["lips", "mouth", "bagpipe"])
def test_nothing_is_near_to_what_has_no_like(word: str) -> None:
    assert nearest_words(word) == ()


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("oreo cake", ["cake"]),
        ("golden truck on grass", ["truck", "grass"]),
        ("a photo of an Astronaut", ["astronaut"]),
        ("house made of bricks", ["house", "bricks"]),
        ("of the", []),
    ],
)
def test_what_a_text_is_about(text: str, things: list[str]) -> None:
    assert things_of(text) == things


def test_an_unknown_thing_never_becomes_the_roi(swatch: ClipGuide) -> None:
    picture = torch.rand(1, 3, 112, 112)
    for prompt, word in (
        ("golden astronaut", "astronaut"),
        ("golden truck on grass", "truck"),
        ("fire out of the bear's mouth", "mouth"),
    ):
        with pytest.raises(UsageError, match=f'no word for "{word}".*--box, --point or --mask'):
            choose_roi(swatch, picture, prompt)
        assert word in choose_roi(swatch, picture, prompt, placed=True)
    assert choose_roi(swatch, picture, "oreo cake") == "cake"
    assert not knows(swatch, "red truck") and knows(swatch, "yellow hats")
    assert unknown_thing("red truck") == "truck"


def test_an_unknown_thing_stands_for_its_kind_where_it_is_placed(swatch: ClipGuide) -> None:
    told = Told()
    text = check_text("PROMPT", "Rusty TRUCK on a highway", swatch, told, placed=True)
    assert text == "Rusty car on a road"
    assert len(told.lines) == 2 and 'no word for "truck": read as "car"' in told.lines[0]
    told = Told()
    assert check_text("PROMPT", "rusty truck", swatch, told) == "rusty truck"
    assert told.lines == ['PROMPT: `swatch` does not know "truck" (nearest: car)']
    told = Told()
    assert check_text("PROMPT", "oreo cake", swatch, told, placed=True) == "oreo cake"
    assert check_text("--roi", "mouth", swatch, told, seen=True, placed=True) == "mouth"
    assert len(told.lines) == 2, "neither a modifier nor a part of a body stands for anything"


def test_only_the_embedded_encoder_has_a_closed_vocabulary(tiny: ClipGuide) -> None:
    told = Told()
    assert check_text("--roi", "red truck", tiny, told, seen=True) == "red truck"
    assert knows(tiny, "astronaut") and not told.lines


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        (("golden truck",), "PROMPT"),
        (("golden car", "--roi", "red truck"), "--roi"),
        (("golden car", "--keep", "wolf"), "--keep"),
        (("golden car", "--also", "truck"), "--also"),
        (("truck", "--point", "50%,50%"), "PROMPT"),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_work(
    car: Path, tmp_path: Path, more: tuple[str, ...], flag: str
) -> None:
    edit = ("edit-image", car, *more, *QUICK, "-o", tmp_path / "out")
    for line in (one_line(run(*edit)), one_line(run(*edit, "--dry-run"))):
        assert line.startswith(f"error: {flag}") and "nearest: " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "way", [("--box", "5%,5%,90%,90%"), ("--point", "50%,60%"), ("--mask", "mask.png")]
)
def test_a_placed_edit_of_an_unknown_thing_says_one_line(
    car: Path, tmp_path: Path, way: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(car.parent)
    edit = ("edit-image", car, "golden truck", *QUICK, *way, "-o", tmp_path / "out")
    result = passed(run(*edit))
    assert [line for line in result.stderr.splitlines() if "truck" in line] == [
        'PROMPT: `swatch` has no word for "truck": read as "car", the nearest of its kind'
        " (a vehicle)"
    ]
    record = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert record["prompts"]["roi"] == "car" and "golden truck" in record["command_line"]
    assert "done already" in passed(run(*edit)).stderr


def test_the_list_of_words_is_whole() -> None:
    text = passed(run("weights", "list", "--words")).stdout
    assert all(word in text for word in vocabulary.known_words())
    assert "truck" in text and "truck" not in passed(run("weights", "list")).stdout
    record = json.loads(passed(run("weights", "list", "--words", "--json")).stdout)
    assert "mug" in record["synonyms"]["cup"]
    assert {"kind": "a plant", "nearest": ["flower"]}.items() <= next(
        kind for kind in record["kinds"] if "rose" in kind["words"]
    ).items()
