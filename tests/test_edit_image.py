"""`edit-image` and `composite` through the real commands, with the embedded encoder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError
from swatch_training.painter import paint_scene
from typer.testing import Result

from tests.commands import StopAt, assert_interrupted_well, history_of, one_line, run
from text2live_cli import Text2LiveError, UsageError, edit_image
from text2live_cli.engine import losses, settling
from text2live_cli.engine.settling import is_settled
from text2live_cli.engine.training import MAX_SKIPPED
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.media.pictures import read_picture
from text2live_cli.pipelines import image
from text2live_cli.progress import Silent
from text2live_cli.runs.folder import CHECKPOINT

QUICK = ("--clip", "swatch", "--preset", "draft", "--views", "2", "--steps", "2")
FILES = {
    "layer.png",
    "composite.png",
    "alpha.png",
    "screen.png",
    "relevancy.png",
    "region.png",
    "mask.png",
    "loss.png",
    "report.html",
    "run.json",
    "history.csv",
    "previews",
    CHECKPOINT,
}


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A painted red cup in the current folder."""
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (200, 260))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


def edit(source: Path, *arguments: object, prompt: str = "golden cup") -> Result:
    return run("edit-image", source, prompt, *QUICK, *arguments)


def test_an_edit_leaves_all_its_files_and_the_command_repeats_the_composite(cup: Path) -> None:
    result = edit(cup)
    assert result.exit_code == 0, result.stderr
    folder = Path("cup.golden-cup")
    assert {path.name for path in folder.iterdir()} == FILES
    assert Image.open(folder / "previews/latest.png").size == (250, 192)
    assert 'in the picture now: "cup"' in result.stderr
    source, layer = read_picture(cup), read_picture(folder / "layer.png")
    composite = read_picture(folder / "composite.png")
    assert layer.alpha is not None
    assert composite.color.shape == source.color.shape == layer.color.shape
    kept = layer.alpha == 0
    assert np.array_equal(composite.color[kept], source.color[kept])
    again = run("composite", cup, folder / "layer.png", "-o", "again.png")
    assert again.exit_code == 0
    assert Path("again.png").read_bytes() == (folder / "composite.png").read_bytes()
    folder_as_layer = run("composite", cup, folder, "-o", "third.png")
    assert folder_as_layer.exit_code == 0
    assert Path("third.png").read_bytes() == Path("again.png").read_bytes()


def test_the_record_says_what_was_done(cup: Path) -> None:
    result = edit(cup, "--json", "--seed", 7, "--keep", "table", "--also", "silver cup")
    record = json.loads(result.stdout)
    assert record == json.loads(Path("cup.golden-cup/run.json").read_text())
    assert record["seed"] == record["settings"]["seed"] == 7
    assert record["prompts"]["keep"] == ["table"]
    assert record["prompts"]["also"] == ["silver cup"]
    assert record["prompts"]["roi"] == "cup"
    assert record["input"]["sha256"] == read_picture(cup).sha256
    assert record["settings"]["steps"] == record["steps_done"] == 2
    terms, weighted = history_of("cup.golden-cup").values()
    judged = {"composition", "direction", "screen", "structure", "form"}
    assert len(terms) == len(weighted) == 2
    assert judged | {"sparsity", "keep", "bootstrap"} == set(terms[0]) == set(terms[1])
    structure = record["settings"]["weights"]["structure"]
    assert weighted[0]["structure"] == pytest.approx(structure * terms[0]["structure"])
    assert "painted scenes" in record["encoder"]["note"]
    assert record["versions"]["torch"]
    assert record["peak_memory_mib"] > 0


def test_the_same_seed_gives_the_same_files_and_another_does_not(cup: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert edit(cup, "-o", folder, "--seed", seed).exit_code == 0
    layers = {name: Path(name, "layer.png").read_bytes() for name in "abc"}
    assert layers["a"] == layers["b"] != layers["c"]


def test_a_resumed_run_ends_as_one_that_was_never_stopped(cup: Path) -> None:
    settings = {"clip": "swatch", "preset": "draft", "steps": 5, "views": 2}
    whole = edit_image(cup, "golden cup", output="whole", **settings)
    parts = edit_image(
        cup, "golden cup", output="parts", progress=StopAt("training", 2), **settings
    )
    assert parts.interrupted
    assert parts.record["steps_done"] == 2
    assert parts.composite.exists()
    resumed = edit_image(cup, "golden cup", output="parts", resume=True, **settings)
    assert not resumed.interrupted
    assert resumed.layer.read_bytes() == whole.layer.read_bytes()
    assert history_of("parts") == history_of("whole")
    assert Path("parts", CHECKPOINT).stat().st_size == Path("whole", CHECKPOINT).stat().st_size


@pytest.mark.parametrize(
    ("likenesses", "settled"),
    [
        ((), False),
        ((0.1, 0.2, 0.2, 0.2), False),  # too few to tell
        ((0.1, 0.2, 0.2, 0.2, 0.2), True),
        ((0.1, 0.2, 0.2, 0.2, 0.206), False),
        ((0.1, 0.2, 0.2, 0.2, 0.204), True),
        ((0.1, 0.1, 0.2, 0.1, 0.1), False),  # one of the three looks rose
        ((0.3, 0.1, 0.1, 0.2, 0.3), True),
    ],
)
def test_a_run_is_settled_after_three_looks_without_a_rise(
    likenesses: tuple[float, ...], settled: bool
) -> None:
    assert settling.is_settled(likenesses) == settled


def test_a_settled_run_ends_early_and_can_be_resumed_and_trained_on(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"clip": "swatch", "preset": "draft", "views": 2, "until_settled": True}
    rising = edit_image(cup, "golden cup", output="rising", steps=10, **settings).record
    assert rising["steps_done"] == 10 or is_settled(rising["looks"])
    monkeypatch.setattr(settling, "_RISE", 3.0)  # no two cosines are so far apart
    told = Told()
    ended = edit_image(cup, "golden cup", output="ended", steps=10, progress=told, **settings)
    assert not ended.interrupted
    assert (ended.record["steps_done"], len(ended.record["looks"])) == (5, 5)
    assert any("settled after 5 of 10 steps" in text for text in told.messages)
    stopping = StopAt("training", 3)
    parts = edit_image(cup, "golden cup", output="parts", steps=10, progress=stopping, **settings)
    assert parts.interrupted and parts.record["steps_done"] == 3
    resumed = edit_image(cup, "golden cup", output="parts", steps=10, resume=True, **settings)
    assert not resumed.interrupted
    assert resumed.layer.read_bytes() == ended.layer.read_bytes()
    assert resumed.record["looks"] == ended.record["looks"]
    more = edit_image(cup, "golden cup", output="parts", steps=12, resume=True, **settings).record
    assert (more["steps_done"], more["interrupted"]) == (12, False)
    plain = {**settings, "until_settled": False, "steps": 10}
    rest = edit_image(cup, "golden cup", output="ended", resume=True, **plain)
    assert rest.record["steps_done"] == 10
    whole = edit_image(cup, "golden cup", output="whole", **plain)
    assert rest.layer.read_bytes() == whole.layer.read_bytes()
    with pytest.raises(UsageError, match="until-settled was False and is now True"):
        edit_image(cup, "golden cup", output="whole", steps=10, resume=True, **settings)


def test_ctrl_c_on_the_command_line_exits_130_with_a_result(cup: Path) -> None:
    command = ["edit-image", cup, "golden cup", *QUICK[:6], "--steps", 100_000]
    assert_interrupted_well("training", *command)
    assert Path("cup.golden-cup/composite.png").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--steps", "1"), "steps"),
        (("--seed", "9"), "seed"),
        (("--roi", "table"), "roi"),
        (("--lambda-screen", "0.5"), "lambda-screen"),
        (("--no-internal-dataset",), "internal-dataset"),
    ],
)
def test_resuming_with_other_settings_is_refused_by_name(
    cup: Path, change: tuple[str, ...], named: str
) -> None:
    assert edit(cup, "-o", "out").exit_code == 0
    result = run("edit-image", cup, "golden cup", *QUICK, *change, "-o", "out", "--resume")
    assert result.exit_code == 2
    assert f"cannot resume: {named} was" in one_line(result)


def test_resume_refuses_another_picture_and_a_damaged_checkpoint(cup: Path) -> None:
    assert edit(cup, "-o", "out").exit_code == 0
    rgb = read_picture(cup).color.copy()
    rgb[0, 0] += 1
    write_picture(Path("other.png"), rgb)
    result = edit(Path("other.png"), "-o", "out", "--resume")
    assert result.exit_code == 2
    assert "input was" in one_line(result)
    checkpoint = Path("out", CHECKPOINT)
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    result = edit(cup, "-o", "out", "--resume")
    assert result.exit_code == 1
    assert "checkpoint is damaged" in one_line(result)


def test_an_existing_result_is_not_overwritten_silently(cup: Path) -> None:
    assert edit(cup).exit_code == 0
    before = Path("cup.golden-cup/layer.png").read_bytes()
    result = edit(cup, "--seed", 5)
    assert result.exit_code == 2
    assert "--overwrite" in one_line(result)
    assert Path("cup.golden-cup/layer.png").read_bytes() == before
    assert edit(cup, "--seed", 5, "--overwrite").exit_code == 0
    assert Path("cup.golden-cup/layer.png").read_bytes() != before
    assert edit(cup, "--overwrite", "--resume").exit_code == 2
    assert edit(cup, "-o", "fresh", "--resume").exit_code == 2
    assert not Path("fresh").exists()


def test_previews_and_minutes(cup: Path) -> None:
    assert edit(cup, "--save-every", 1).exit_code == 0
    previews = sorted(path.name for path in Path("cup.golden-cup/previews").iterdir())
    assert previews == ["00001.png", "00002.png", "latest.png"]
    short = run(*("edit-image", cup, "golden cup", *QUICK[:6], "--minutes", 0.0001, "-o", "short"))
    assert short.exit_code == 2
    assert "leaves time for 0 steps" in short.stderr and "minutes or more" in short.stderr
    assert not Path("short").exists()


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_a_picture_is_written_where_a_picture_is_named(cup: Path, name: str) -> None:
    result = edit(cup, "-o", name)
    assert result.exit_code == 0, result.stderr
    composite = read_picture(Path("out/composite.png"))
    picture = read_picture(Path(name))
    assert picture.color.shape == composite.color.shape
    if name == "out.png":
        np.testing.assert_array_equal(picture.color, composite.color)
    assert Path("out/layer.png").exists() and Path("out/run.json").exists()
    assert f"{name}: the edited picture" in result.stderr
    made = Path(name).read_bytes()
    Path(name).unlink()
    assert "done already" in edit(cup, "-o", name).stderr  # but for what is gone
    assert Path(name).read_bytes() == made
    again = edit(cup, "-o", name, "--seed", 2)
    assert again.exit_code == 2 and f"{name} exists" in again.stderr
    assert edit(cup, "-o", "cup.png").exit_code == 2  # its own input


def test_a_picture_beside_the_result_is_of_that_result_or_left_alone(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edit(cup, "-o", "out").exit_code == 0
    Path("out.png").write_bytes(b"mine")
    refused = edit(cup, "-o", "out.png")
    assert refused.exit_code == 2 and "out.png exists" in one_line(refused)
    tries = edit(cup, "-o", "out.png", "--tries", 2)
    assert tries.exit_code == 2 and "out.png exists" in one_line(tries)
    assert Path("out.png").read_bytes() == b"mine"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(image, "write_copy", interrupted)
        assert edit(cup, "-o", "out.png", "--overwrite").exit_code == 130
    assert not Path("out.png").exists()
    assert "done already" in edit(cup, "-o", "out.png").stderr
    several = ("-o", "out.png", "--tries", 1, "--also-try", "icy cup")
    with monkeypatch.context() as patch:
        patch.setattr("text2live_cli.batch.tries.write_copy", interrupted)
        assert edit(cup, *several, "--overwrite").exit_code == 130
    assert not Path("out.png").exists()
    assert "done already" in edit(cup, *several).stderr
    composite = read_picture(Path("out/composite.png")).color
    assert np.array_equal(read_picture(Path("out.png")).color, composite)


def test_a_mask_is_a_hard_limit(cup: Path) -> None:
    mask = np.zeros((200, 260), np.uint8)
    mask[50:150, 60:200] = 255
    write_picture(Path("mask.png"), mask)
    assert edit(cup, "--mask", "mask.png").exit_code == 0
    layer = read_picture(Path("cup.golden-cup/layer.png"))
    composite = read_picture(Path("cup.golden-cup/composite.png")).color
    assert layer.alpha is not None
    assert (layer.alpha[mask == 0] == 0).all()
    assert (layer.alpha[mask == 255] > 0).any()
    assert np.array_equal(composite[mask == 0], read_picture(cup).color[mask == 0])


def test_transparent_pixels_stay_transparent_and_sixteen_bits_stay_sixteen(cup: Path) -> None:
    color = read_picture(cup).color.astype(np.uint16) * 257 + 3
    alpha = np.full(color.shape[:2], 65535, np.uint16)
    alpha[:, :80] = 0
    write_picture(Path("deep.png"), color, alpha)
    assert edit(Path("deep.png"), "-o", "out").exit_code == 0
    composite = read_picture(Path("out/composite.png"))
    layer = read_picture(Path("out/layer.png"))
    assert composite.color.dtype == np.uint16
    assert composite.alpha is not None
    assert layer.alpha is not None
    assert np.array_equal(composite.alpha, alpha)
    assert (layer.alpha[:, :80] == 0).all()
    assert np.array_equal(composite.color[:, :80], color[:, :80])


@pytest.mark.parametrize("size", [(60, 40), (150, 333), (401, 203), (90, 1100)])
def test_small_odd_portrait_and_panorama(cup: Path, size: tuple[int, int]) -> None:
    picture = Image.fromarray(read_picture(cup).color).resize(size)
    picture.save("odd.jpg")
    result = edit(Path("odd.jpg"), "-o", "out", "--steps", 1)
    assert result.exit_code == 0, result.stderr
    assert Image.open("out/composite.png").size == size


@pytest.mark.parametrize(
    ("flag", "left_out"),
    [
        ("--no-structure", "structure"),
        ("--no-sparsity", "sparsity"),
        ("--no-screen", "screen"),
        ("--no-bootstrap", "bootstrap"),
    ],
)
def test_ablations_leave_their_term_out(cup: Path, flag: str, left_out: str) -> None:
    assert edit(cup, flag).exit_code == 0
    assert left_out not in history_of("cup.golden-cup")["terms"][0]
    assert len(history_of("cup.golden-cup")["terms"][0]) >= 5


def test_the_text_distance_is_what_is_minimised(cup: Path) -> None:
    first = {}
    for name in ("spherical", "cosine"):
        edit(cup, "--text-distance", name, "--steps", 1, "-o", name)
        record = json.loads(Path(name, "run.json").read_text())
        assert record["settings"]["text_distance"] == name
        first[name] = history_of(name)["terms"][0]
    for term in ("composition", "screen"):  # of an angle θ: θ²/2, and 1 − cos θ
        angle = (2 * first["spherical"][term]) ** 0.5
        assert first["cosine"][term] == pytest.approx(1 - math.cos(angle), rel=0.02)
    assert first["cosine"]["direction"] == first["spherical"]["direction"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "standard", "draft"])
def test_every_preset_runs(cup: Path, preset: str) -> None:
    Image.open(cup).resize((130, 100)).save(cup)
    result = run(
        "edit-image",
        cup,
        "golden cup",
        "--clip",
        "swatch",
        "--preset",
        preset,
        "--views",
        1,
        "--steps",
        1,
        "--size",
        192,
    )
    assert result.exit_code == 0, result.stderr


def test_one_word_says_where_but_gives_no_direction(cup: Path) -> None:
    result = edit(cup, "--json", prompt="cup")
    record = json.loads(result.stdout)
    assert record["prompts"]["roi"] == "cup"
    assert "direction" not in history_of("cup.cup")["terms"][0]


def test_words_that_swatch_does_not_know(cup: Path) -> None:
    result = edit(cup, prompt="goldenn cup")
    assert result.exit_code == 0
    assert 'does not know "goldenn" (nearest: gold' in result.stderr
    result = edit(cup, prompt="quantum bagpipe")
    assert result.exit_code == 2
    assert "knows none of these words" in one_line(result)


def test_keep_works_without_bootstrapping(cup: Path) -> None:
    result = edit(cup, "--no-bootstrap", "--keep", "table", "--json")
    record = json.loads(result.stdout)
    keep, weighted = (rows[0]["keep"] for rows in history_of("cup.golden-cup").values())
    assert keep > 0
    assert weighted == pytest.approx(record["settings"]["weights"]["keep"] * keep)


def test_the_users_own_files_survive(cup: Path) -> None:
    mine = Path("mine")
    (mine / "previews").mkdir(parents=True)
    (mine / "previews" / "holiday.png").write_bytes(b"mine")
    (mine / "composite.png").write_bytes(cup.read_bytes())
    assert "--overwrite" in one_line(edit(cup, "-o", "mine"))
    refused = edit(mine / "composite.png", "-o", "mine", "--overwrite")
    assert refused.exit_code == 2
    assert "would be overwritten" in one_line(refused)
    assert (mine / "composite.png").read_bytes() == cup.read_bytes()
    assert edit(cup, "-o", "mine", "--overwrite", "--save-every", 1).exit_code == 0
    assert edit(cup, "-o", "mine", "--overwrite").exit_code == 0
    assert [path.name for path in (mine / "previews").glob("[!l]*")] == ["holiday.png"]
    checkpoint = (mine / CHECKPOINT).read_bytes()
    assert edit(cup, "-o", "mine", "--overwrite", prompt="quantum bagpipe").exit_code == 2
    assert (mine / CHECKPOINT).read_bytes() == checkpoint


def test_a_full_disk_loses_neither_the_run_nor_the_files_that_stand(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device (os error 28)")

    with monkeypatch.context() as during:
        during.setattr("text2live_cli.media.tensor_files.save_file", full)
        result = edit(cup, "--checkpoint-every", 0)
    assert result.exit_code == 1
    assert result.stderr.count("no checkpoint for now") == 3  # two steps, and the end
    line = one_line(result)
    assert "cannot write" in line
    assert "the result in cup.golden-cup is written" in line
    assert {path.name for path in Path("cup.golden-cup").iterdir()} == FILES - {CHECKPOINT}


@pytest.mark.slow
def test_bf16_runs_and_too_many_lost_steps_go_on_in_fp32(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Path("small.png")  # many processors are slow at it
    Image.open(cup).resize((160, 136)).save(small)
    settings = {"clip": "swatch", "preset": "draft", "views": 1, "precision": "bf16"}
    half = edit_image(small, "golden cup", output="half", steps=1, **settings)
    assert half.record["precision"] == "bf16"
    clean = losses.structure_loss
    poison = iter([float("nan")] * (MAX_SKIPPED + 1))  # the first step has two pictures
    monkeypatch.setattr(losses, "structure_loss", lambda a, b: clean(a, b) * next(poison, 1.0))
    told = Told()
    result = edit_image(small, "golden cup", output="back", steps=5, progress=told, **settings)
    assert result.record["skipped_steps"] == MAX_SKIPPED
    assert result.record["precision"] == "fp32"
    assert any("going on in fp32" in warning for warning in told.warnings)


class Told(Silent):
    """Remembers the messages and the warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.slow
def test_swatch_needs_neither_open_clip_nor_torchs_compiler(cup: Path) -> None:
    """Their imports take longer than a short command."""
    program = (
        "import sys; from text2live_cli import edit_image;"
        "edit_image('cup.png', 'golden cup', clip='swatch', preset='draft', steps=1, views=1);"
        "sys.exit(str({'open_clip', 'torchvision', 'torch._dynamo'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stderr.endswith("set()\n")


@pytest.mark.slow
def test_a_draft_turns_the_cup_golden_and_only_the_cup(cup: Path) -> None:
    """docs/swatch.md has the spread over scenes."""
    place = ("wooden table", 3, (180, 240))
    red, masks = paint_scene([("cup", "red")], *place)
    golden, _ = paint_scene([("cup", "golden")], *place)
    inside = masks[0]
    write_picture(Path("red.png"), red)
    result = edit_image("red.png", "golden cup", clip="swatch", preset="draft", steps=30)
    made = read_picture(result.composite).color
    before, after = (
        np.linalg.norm(rgb[inside].mean(0) - golden[inside].mean(0)) for rgb in (red, made)
    )
    assert after < 0.5 * before
    near = np.abs(made.astype(int) - red).max(-1) <= 2
    assert near[~inside].mean() >= 0.95
    alpha = read_picture(result.layer).alpha
    assert alpha is not None
    overlap = ((alpha > 127) & inside).sum() / ((alpha > 127) | inside).sum()
    assert overlap > 0.7


BAD = [
    (("missing.png", "golden cup"), 2, "no such file"),
    (("empty.png", "golden cup"), 1, "empty"),
    (("text.png", "golden cup"), 1, "not a picture"),
    (("dot.png", "golden cup"), 1, "too few"),
    (("cup.png", "   "), 2, "PROMPT is empty"),
    (("cup.png", "golden cup", "--steps", "0"), 2, "--steps 0"),
    (("cup.png", "golden cup", "--size", "100000"), 2, "--size 100000"),
    (("cup.png", "golden cup", "--device", "gpu"), 2, "--device gpu"),
    (("cup.png", "golden cup", "--minutes", "1", "--steps", "3"), 2, "choose one"),
    (("cup.png", "golden cup", "-o", "x" * 300), 1, "cannot write into"),
    (("cup.png", "golden cup", "--size", "0"), 2, "--size 0"),
    (("cup.png", "golden cup", "--views", "0"), 2, "--views 0"),
    (("cup.png", "golden cup", "--lambda-screen", "-1"), 2, "--lambda-screen -1"),
    (("cup.png", "golden cup", "--preset", "drafty"), 2, "did you mean draft"),
    (("cup.png", "golden cup", "--precision", "fp8"), 2, "--precision fp8"),
    (("cup.png", "golden cup", "--minutes", "0"), 2, "--minutes"),
    (("cup.png", "golden cup", "--save-every", "0"), 2, "--save-every"),
    (("cup.png", "golden cup", "--mask", "dot.png"), 2, "the mask is 1×1"),
    (("cup.png", "golden cup", "--roi", ""), 2, "--roi is empty"),
    (("cup.png", "golden cup", "-o", "text.png"), 2, "text.png exists"),
    (("cup.png", "golden cup", "-o", "text"), 2, "is a file"),
    (("cup.png", "golden cup", "-o", "/proc/nowhere"), 1, "cannot write into"),
    (("cup.png", "golden cup", "--clip", "ViT-B-23/openai"), 2, "ViT-B-32"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    cup: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    Path("empty.png").touch()
    Path("text.png").write_text("no picture at all")
    Path("text").write_text("no folder")
    write_picture(Path("dot.png"), np.zeros((1, 1, 3), np.uint8))
    before = sorted(Path().rglob("*"))
    clip = () if "--clip" in arguments else QUICK[:2]
    steps = () if "--minutes" in arguments else QUICK[6:]
    result = run("edit-image", *QUICK[2:6], *steps, *clip, *arguments)
    assert result.exit_code == code, result.stderr
    assert text in one_line(result)
    assert sorted(Path().rglob("*")) == before


def test_cuda_asked_for_but_absent(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = edit(cup, "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: not available" in one_line(result)


def test_out_of_memory_says_what_to_lower(cup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr("text2live_cli.engine.training.Trainer.step", exhausted)
    result = edit(cup)
    assert result.exit_code == 1
    assert "--size" in one_line(result)
    assert "--views" in one_line(result)
    assert not Path("cup.golden-cup").exists()


def test_debug_shows_the_traceback(cup: Path) -> None:
    result = edit(cup, "--size", 0, "--debug")
    assert isinstance(result.exception, UsageError)


def test_quiet_is_quiet(cup: Path) -> None:
    result = edit(cup, "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == ""


def test_help_and_version_do_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from text2live_cli.cli.commands import app\n"
        "for arguments in (['--help'], ['--version'], ['edit-image', '--help']):\n"
        "    try: app(arguments)\n"
        "    except SystemExit as exit: assert not exit.code\n"
        "assert not {'torch', 'open_clip', 'numpy'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "edit-image" in done.stdout


def test_the_installed_script_runs() -> None:
    script = Path(sys.executable).with_name("text2live")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("text2live ")


def test_the_python_api_raises(cup: Path) -> None:
    with pytest.raises(UsageError, match="did you mean steps"):
        edit_image(cup, "golden cup", clip="swatch", stepz=3)
    with pytest.raises(Text2LiveError, match=r"missing\.png: no such file"):
        edit_image("missing.png", "golden cup", clip="swatch")
