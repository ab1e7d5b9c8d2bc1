"""Which device, precision and memory layout a run takes, and what it says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from swatch_training.painter import paint_scene

from tests.commands import StopAt, one_line, run
from text2live_cli import device, edit_image
from text2live_cli.atlas.fit import grid_fit
from text2live_cli.config import CHANNELS_LAST, PLAIN, resolve_settings
from text2live_cli.device import (
    BF16,
    FP32,
    choose_device,
    choose_precision,
    here_or_on_cpu,
    prepare,
)
from text2live_cli.engine import layout
from text2live_cli.engine.generator import Generator
from text2live_cli.engine.internal_dataset import Example, InternalDataset
from text2live_cli.engine.training import make_trainer
from text2live_cli.errors import Text2LiveError
from text2live_cli.guide.clip import load_guide
from text2live_cli.guide.prompts import Prompts
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.pipelines import self_test
from text2live_cli.progress import Silent

CPU = torch.device("cpu")
QUICK = {"clip": "swatch", "preset": "draft", "views": 2}


class Heard(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.stages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def stage(self, name: str, total: int | None = None, unit: str = "step") -> None:
        self.stages.append(name)


@pytest.fixture
def cup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (200, 260))
    write_picture(tmp_path / "cup.png", rgb)
    return Path("cup.png")


# Devices


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)


def refuse(where: torch.device) -> None:
    raise NotImplementedError("aten::grid_sampler_2d_backward is not there\nand so on")


@pytest.mark.usefixtures("mac")
def test_auto_takes_mps_only_where_it_does_what_is_needed() -> None:
    heard = Heard()
    asked: list[torch.device] = []
    assert choose_device("auto", asked.append, heard).type == "mps"
    assert [where.type for where in asked] == ["mps"]
    assert heard.messages == []
    assert choose_device("auto", refuse, heard) == CPU
    assert heard.messages == [
        "on the CPU: mps cannot do all that is needed (aten::grid_sampler_2d_backward is not there)"
    ]
    assert choose_device("mps", refuse, heard).type == "mps"  # it was asked for
    assert choose_device("cpu", refuse, heard) == CPU


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="here is a real one")
@pytest.mark.usefixtures("mac")
def test_an_edit_tries_mps_first_and_says_why_it_is_on_the_cpu(cup: Path) -> None:
    """This machine has none: the self-test is what finds out."""
    heard = Heard()
    result = edit_image(cup, "golden cup", steps=1, progress=heard, layout=PLAIN, **QUICK)
    assert heard.messages[0].startswith("on the CPU: mps cannot do all that is needed (")
    assert result.record["device"].startswith("cpu")


@pytest.mark.parametrize("needed", [self_test.edit_step, self_test.fit_step])
def test_the_self_tests_pass_where_all_is_there(needed: Callable[[torch.device], None]) -> None:
    needed(CPU)


def test_a_self_test_refuses_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(x: torch.Tensor) -> torch.Tensor:
        return x * float("nan")

    monkeypatch.setattr("text2live_cli.engine.generator.activate", lost)
    with pytest.raises(Text2LiveError, match="not finite"):
        self_test.edit_step(CPU)
    real = grid_fit._colour_error
    monkeypatch.setattr(grid_fit, "_colour_error", lambda *given: lost(real(*given)))
    with pytest.raises(Text2LiveError, match="not finite"):
        self_test.fit_step(CPU)


# Precision


@pytest.mark.parametrize("name", ["cuda.matmul", "cudnn"])
def test_fp32_is_fp32_on_cuda(name: str) -> None:
    flags = torch.backends.cuda.matmul if name == "cuda.matmul" else torch.backends.cudnn
    before = flags.allow_tf32
    try:
        flags.allow_tf32 = True
        assert device.tf32_is_on()
        prepare(torch.device("cuda"))
        assert not flags.allow_tf32
        assert not device.tf32_is_on()
    finally:
        flags.allow_tf32 = before


@pytest.mark.parametrize("has", [True, False])
def test_bf16_on_a_cpu_is_for_who_asks_and_is_told(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    heard = Heard()
    assert choose_precision("auto", CPU, heard) is FP32
    assert choose_precision("fp32", CPU, heard) is FP32
    assert heard.warnings == []
    assert choose_precision("bf16", CPU, heard) is BF16
    assert len(heard.warnings) == (not has)
    assert all("several times as long as fp32" in text for text in heard.warnings)


# Memory layout


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a step seems to take, by layout; an empty cache."""
    seconds = {PLAIN: 1.0, CHANNELS_LAST: 2.0}
    monkeypatch.setenv("TEXT2LIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(layout, "seconds_per_step", lambda name, *rest: seconds[name])
    return seconds


def chosen(heard: Heard, channels: int = 32, precision: device.Precision = FP32) -> str:
    return layout.choose_layout(CPU, channels, precision, heard)


def test_the_faster_layout_is_measured_once_and_kept(clock: dict[str, float]) -> None:
    heard = Heard()
    assert chosen(heard) == PLAIN
    assert "plain 1000 ms" in heard.messages[0]
    assert "channels-last 2000 ms" in heard.messages[0]
    clock[PLAIN] = 9.0
    assert chosen(heard) == PLAIN  # as kept: the same seed is to give the same bytes
    assert len(heard.stages) == 1
    assert chosen(heard, channels=128) == CHANNELS_LAST
    assert chosen(heard, precision=BF16) == CHANNELS_LAST
    assert len(heard.stages) == 3


def test_what_is_no_clear_gain_changes_nothing(clock: dict[str, float]) -> None:
    clock.update({PLAIN: 0.95, CHANNELS_LAST: 1.0})
    assert chosen(Heard()) == CHANNELS_LAST


@pytest.mark.parametrize("content", ["{", "[]", '{"other": "plain"}', "\x00"])
def test_a_damaged_cache_is_measured_anew(clock: dict[str, float], content: str) -> None:
    path = layout.cache_folder() / "layout.json"
    path.parent.mkdir()
    path.write_text(content)
    assert chosen(Heard()) == PLAIN
    kept = json.loads(path.read_text())
    assert PLAIN in kept.values()
    assert "other" in kept or "other" not in content
    path.write_text(json.dumps(dict.fromkeys(kept, "diagonal")))
    assert chosen(Heard()) == PLAIN


def test_what_cannot_be_kept_is_not_measured(clock: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    heard = Heard()
    assert chosen(heard) == CHANNELS_LAST
    assert "cannot be written" in heard.warnings[0]
    assert heard.stages == []


def test_another_process_may_have_been_quicker(
    clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = layout.cache_folder() / "layout.json"

    def slow(name: str, *rest: object) -> float:
        key = f"{layout.machine(CPU)}, torch {torch.__version__}, 32 channels, fp32"
        path.write_text(json.dumps({key: CHANNELS_LAST}))
        return clock[name]

    monkeypatch.setattr(layout, "seconds_per_step", slow)
    assert chosen(Heard()) == CHANNELS_LAST


def test_a_step_of_either_layout_can_be_timed() -> None:
    for name in (PLAIN, CHANNELS_LAST):
        assert layout.seconds_per_step(name, CPU, 4, FP32) > 0


def test_both_layouts_compute_the_same() -> None:
    picture = torch.rand(1, 3, 140, 161, generator=torch.Generator().manual_seed(0))
    plain = Generator(8, channels_last=False)
    other = Generator(8)
    other.load_state_dict(plain.state_dict())
    formats = []
    for generator in (plain, other.to(memory_format=torch.channels_last)):
        generator.downs[0].refine.register_forward_hook(
            lambda module, given, made: formats.append(
                made.is_contiguous(memory_format=torch.channels_last)
            )
        )
    torch.testing.assert_close(plain(picture), other(picture), atol=1e-4, rtol=0)
    assert formats == [False, True]


def test_the_layout_is_told_and_a_resumed_run_takes_that_of_the_run(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = edit_image(cup, "golden cup", output="whole", steps=3, layout=PLAIN, **QUICK)
    assert whole.record["settings"]["layout"] == whole.record["job"]["layout"] == PLAIN
    monkeypatch.setattr("text2live_cli.pipelines.session.choose_layout", lambda *a: PLAIN)
    edit_image(cup, "golden cup", output="o", steps=3, progress=StopAt("training", 1), **QUICK)
    monkeypatch.setattr("text2live_cli.pipelines.session.choose_layout", lambda *a: CHANNELS_LAST)
    refused = run(
        *("edit-image", cup, "golden cup", "-o", "o", "--steps", 3, "--views", 2, "--resume"),
        *("--clip", "swatch", "--preset", "draft", "--layout", CHANNELS_LAST),
    )
    assert refused.exit_code == 2
    assert "layout was 'plain' and is now 'channels-last'" in one_line(refused)
    resumed = edit_image(cup, "golden cup", output="o", steps=3, resume=True, **QUICK)
    assert resumed.record["settings"]["layout"] == PLAIN
    assert resumed.layer.read_bytes() == whole.layer.read_bytes()
    bad = run("edit-image", cup, "golden cup", "--clip", "swatch", "--layout", "plane")
    assert bad.exit_code == 2
    assert "did you mean plain?" in one_line(bad)


# Memory


def exhausted(*given: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_result_that_finds_no_memory_blames_no_setting_and_can_be_made_later(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = edit_image(cup, "golden cup", output="whole", steps=2, **QUICK)
    with monkeypatch.context() as patched:
        patched.setattr("text2live_cli.pipelines.image_scene.render_rows", exhausted)
        with pytest.raises(Text2LiveError, match="out of memory: the training is done") as told:
            edit_image(cup, "golden cup", output="parts", steps=2, **QUICK)
    assert "--resume" in str(told.value)
    assert "--size" not in str(told.value)
    assert "--views" not in str(told.value)
    resumed = edit_image(cup, "golden cup", output="parts", steps=2, resume=True, **QUICK)
    assert resumed.layer.read_bytes() == whole.layer.read_bytes()


def test_a_training_that_finds_no_memory_says_what_to_lower(
    cup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("text2live_cli.engine.internal_dataset.render", exhausted)
    with pytest.raises(Text2LiveError, match="out of memory: lower --size or --views"):
        edit_image(cup, "golden cup", steps=2, **QUICK)


def test_what_does_not_fit_on_the_device_is_made_on_the_cpu() -> None:
    heard = Heard()
    tried: list[str] = []

    def work(where: torch.device) -> str:
        tried.append(where.type)
        if where.type != "cpu":
            exhausted()
        return where.type

    assert here_or_on_cpu(work, torch.device("cuda"), heard) == "cpu"
    assert tried == ["cuda", "cpu"]
    assert heard.messages == ["the memory of cuda does not suffice for the result: on the CPU"]
    assert here_or_on_cpu(work, CPU, heard) == "cpu"
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        here_or_on_cpu(exhausted, CPU, heard)
    with pytest.raises(NotImplementedError, match="grid_sampler"):
        here_or_on_cpu(refuse, torch.device("cuda"), heard)
    assert len(heard.messages) == 1


def test_the_generator_on_another_device_is_the_same() -> None:
    picture = Example(torch.rand(1, 3, 192, 200), None)
    settings = resolve_settings("draft", "swatch", channels=4, views=2)
    dataset = InternalDataset(picture, settings.dataset, True)
    guide = load_guide("swatch", None, Silent())
    trainer = make_trainer(guide, Prompts("a", "b", "c"), dataset, settings, CPU, BF16)
    trainer.step()
    assert trainer.generator_on(CPU) == (trainer.generator, BF16)
    trainer.device = torch.device("cuda")
    copied, precision = trainer.generator_on(CPU)
    assert copied is not trainer.generator
    assert precision is FP32
    with torch.no_grad():
        assert torch.equal(copied(picture.picture), trainer.generator(picture.picture))
