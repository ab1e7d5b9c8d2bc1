"""The names of encoders: open_clip's MODEL/TAG and `swatch`; which of them can guide an edit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UsageError
from ..progress import Progress

DEFAULT_CLIP = "ViT-B-32-quickgelu/openai"
SWATCH = "swatch"

# The models to choose from first, with the hub repository that open_clip names for each: kept
# here so that the usual commands need not import open_clip (and torch) to find a file.
CURATED: Mapping[str, str] = {
    DEFAULT_CLIP: "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16-quickgelu/openai": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14-quickgelu/openai": "timm/vit_large_patch14_clip_224.openai",
    "ViT-L-14-336-quickgelu/openai": "timm/vit_large_patch14_clip_336.openai",
    "ViT-B-32/laion2b_s34b_b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "ViT-B-16/laion2b_s34b_b88k": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "ViT-L-14/laion2b_s32b_b82k": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "ViT-B-32/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    "ViT-B-16/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
    "ViT-L-14/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
}

QUICK_GELU = "-quickgelu"


def architecture_of(name: str) -> str:
    """MODEL of MODEL/TAG."""
    return name.partition("/")[0]


def resolve_name(asked: str, progress: Progress) -> str:
    """The name as open_clip has it, with QuickGELU where the weights were trained with it.

    Raises UsageError for one that open_clip does not have, with the nearest, and for one that
    cannot guide an edit.
    """
    if asked == SWATCH or asked in CURATED:
        return asked
    model, _, tag = asked.partition("/")
    twin = f"{model}{QUICK_GELU}/{tag}"
    if twin not in CURATED:
        import open_clip

        if (model, tag) not in open_clip.list_pretrained():
            raise _unknown(asked, ["/".join(pair) for pair in open_clip.list_pretrained()])
        require_guide(model)
        quick_gelu = open_clip.get_pretrained_cfg(model, tag).get("quick_gelu", False)
        if not quick_gelu or model.endswith(QUICK_GELU):
            return asked
    progress.message(f"{asked} was trained with QuickGELU: using {twin}")
    return twin


def known_architecture(name: str, progress: Progress) -> str:
    """The architecture that `MODEL` or `MODEL/TAG` names; raises UsageError as `resolve_name`."""
    if "/" in name:
        return architecture_of(resolve_name(name, progress))
    if name in map(architecture_of, CURATED):
        return name
    import open_clip

    if name not in open_clip.list_models():
        raise _unknown(name, open_clip.list_models())
    require_guide(name)
    return name


def require_guide(architecture: str) -> None:
    """Raise UsageError for one of open_clip's architectures that cannot guide an edit."""
    import open_clip

    if not can_guide(open_clip.get_model_config(architecture)):
        raise unsuitable(architecture)


def can_guide(config: Mapping[str, Any]) -> bool:
    """Whether an architecture, by open_clip's `config`, has what an edit needs: a vision
    transformer with a class token and a text encoder, both of open_clip's own.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    is_own = "patch_size" in vision and isinstance(vision["layers"], int)
    others = vision.get("attentional_pool") or vision.get("final_ln_after_pool")
    has_token = vision.get("pool_type", "tok") == "tok" and not others
    return is_own and has_token and "multimodal_cfg" not in config and "hf_model_name" not in text


def unsuitable(name: str) -> UsageError:
    """The refusal of an encoder that cannot guide an edit."""
    return UsageError(
        f"--clip {name}: cannot guide an edit, which takes open_clip's own vision transformer with"
        " a class token and its own text encoder; take one of `text2live weights list`"
    )


def _unknown(asked: str, names: Iterable[str]) -> UsageError:
    """The refusal of a name, with the nearest of those that can guide an edit."""
    import open_clip

    usable = {m for m in open_clip.list_models() if can_guide(open_clip.get_model_config(m))}
    names = [SWATCH, *(name for name in names if architecture_of(name) in usable)]
    by_lower = {name.lower(): name for name in names}
    lower = asked.lower()
    near = [name for name in by_lower if name.startswith(f"{lower}/")][:4]
    near = near or difflib.get_close_matches(lower, by_lower, n=4, cutoff=0.4)
    hint = ", ".join(by_lower[name] for name in near) or "see `text2live weights list`"
    return UsageError(f"no CLIP model is called {asked!r}; nearest: {hint}")
