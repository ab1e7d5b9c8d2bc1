"""`--clip-weights`: the path that the real weights take, with a small ViT of the same layout."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from swatch_training.painter import paint_scene
from typer.testing import CliRunner

from tests import tiny_clip
from text2live_cli.cli.commands import app
from text2live_cli.errors import Text2LiveError, UsageError
from text2live_cli.guide.clip import ClipGuide, build_model, load_guide
from text2live_cli.media.picture_writing import write_picture
from text2live_cli.progress import Silent

ARCHITECTURE = "tiny-quickgelu"
CONFIG = {
    "embed_dim": tiny_clip.EMBEDDING,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 4, "width": 64, "patch_size": 32},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": tiny_clip.VOCABULARY,
        "width": 64,
        "heads": 1,
        "layers": 3,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny weights in both formats; the architecture is known to open_clip."""
    made = tmp_path_factory.mktemp("weights")
    configs = made / "configs"
    configs.mkdir()
    (configs / f"{ARCHITECTURE}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(configs)
    state = tiny_clip.state_dict(tiny_clip.TINY)
    save_file(state, made / "tiny.safetensors")
    torch.save(state, made / "tiny.pt")
    return made


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pt"])
def test_the_guide_of_a_file_is_the_guide_of_its_weights(
    folder: Path, tiny: ClipGuide, name: str
) -> None:
    guide = load_guide(ARCHITECTURE, folder / name, Silent())
    picture = torch.rand(1, 3, 224, 320)
    torch.testing.assert_close(guide.encode_views(picture), tiny.encode_views(picture))
    texts = ["golden cup", "a photo of cup."]
    torch.testing.assert_close(guide.encode_text(texts), tiny.encode_text(texts))
    assert guide.relevancy_rule == "last-block"
    assert len(guide.sha256) == 64


def test_full_precision_comes_back_unrounded(folder: Path, tiny: ClipGuide) -> None:
    guide = load_guide(ARCHITECTURE, folder / "tiny.safetensors", Silent())
    guide.model.visual.proj.data += 1e-4  # gone after a reload, as rounding would be
    guide.to(torch.device("cpu"), torch.bfloat16)
    assert guide.encode_views(torch.rand(1, 3, 224, 224)).dtype == torch.float32
    guide.to(torch.device("cpu"))
    picture = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(guide.encode_views(picture), tiny.encode_views(picture))


def test_edit_image_with_weights_from_a_file(folder: Path, tmp_path: Path) -> None:
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (160, 200))
    write_picture(tmp_path / "cup.png", rgb)
    command = ["edit-image", str(tmp_path / "cup.png"), "an oreo cup", "--json"]
    command += ["--clip", ARCHITECTURE, "--clip-weights", str(folder / "tiny.safetensors")]
    command += ["--preset", "draft", "--steps", "2", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["prompts"]["roi"] in ("oreo cup", "cup")
    assert record["settings"]["views"] == 4
    assert record["encoder"]["relevancy"] == "last-block"
    assert "note" not in record["encoder"]


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    with pytest.raises(Text2LiveError, match="do not fit ViT-B-32-quickgelu"):
        load_guide("ViT-B-32-quickgelu", folder / "tiny.safetensors", Silent())


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "EVA02-B-16", "RN50", "nllb-clip-base"])
def test_encoders_that_cannot_guide_are_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        build_model(name)


def test_a_prompt_too_long_is_said(folder: Path, tmp_path: Path) -> None:
    rgb, _ = paint_scene([("cup", "red")], "wooden table", 3, (160, 200))
    write_picture(tmp_path / "cup.png", rgb)
    command = ["edit-image", str(tmp_path / "cup.png"), "golden " * 90 + "cup", "--roi", "cup"]
    command += ["--clip", ARCHITECTURE, "--clip-weights", str(folder / "tiny.pt")]
    command += ["--preset", "draft", "--steps", "1", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    assert "tokens too long" in result.stderr
