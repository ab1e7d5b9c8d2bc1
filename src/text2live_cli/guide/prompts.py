"""From a sentence to the texts of the objective (paper §3.1, appendix A.2): templates and ROI."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..progress import Progress
from .clip import ClipGuide
from .encoder_names import SWATCH
from .relevancy import Query, make_query
from .swatch import reading

TEMPLATES = (
    "photo of {}.",
    "high quality photo of {}.",
    "a photo of {}.",
    "the photo of {}.",
    "image of {}.",
    "an image of {}.",
    "high quality image of {}.",
    "a high quality image of {}.",
    "the {}.",
    "a {}.",
    "{}.",
    "{}",
    "{}!",
    "{}...",
)
SCREEN_TEMPLATES = ("{} over a green screen.", "{} in front of a green screen.")
_FUNCTION_WORDS = (
    "a an and at by for from in into made of off on onto or out over the to under up with"
)


@dataclass(frozen=True)
class Prompts:
    """What to make of the picture, in words.

    `target` and `also` describe the edited picture, `roi` what is in it now, `screen` the edit
    layer by itself, `keep` what must stay as it is.
    """

    target: str
    roi: str
    screen: str
    also: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All descriptions of the edited picture."""
        return (self.target, *self.also)

    @property
    def directed(self) -> bool:
        """Whether target and ROI differ: the directional term needs a direction."""
        return any(target != self.roi for target in self.targets)


@dataclass(frozen=True)
class TextEmbeddings:
    """The prompts as the encoder sees them, computed once per run; un-normalised rows."""

    target: Tensor  # (14·P, D), templates vary fastest
    roi: Tensor  # (14·P, D): the ROI's 14 rows, repeated for each target prompt
    screen: Tensor  # (2, D), or (2·P, D) when the screen text follows the targets
    roi_query: Query
    keep_queries: tuple[Query, ...]


def embed_prompts(guide: ClipGuide, prompts: Prompts) -> TextEmbeddings:
    """Encode every template of every prompt."""
    screens = prompts.targets if prompts.screen == prompts.target else (prompts.screen,)
    return TextEmbeddings(
        target=guide.encode_text(fill(TEMPLATES, prompts.targets)),
        roi=guide.encode_text(fill(TEMPLATES, (prompts.roi,))).repeat(len(prompts.targets), 1),
        screen=guide.encode_text(fill(SCREEN_TEMPLATES, screens)),
        roi_query=make_query(guide, prompts.roi),
        keep_queries=tuple(make_query(guide, text) for text in prompts.keep),
    )


def fill(templates: tuple[str, ...], prompts: tuple[str, ...]) -> list[str]:
    """Every template with every prompt; templates vary fastest."""
    return [template.replace("{}", prompt) for prompt in prompts for template in templates]


def check_text(
    flag: str,
    text: str,
    guide: ClipGuide,
    progress: Progress,
    seen: bool = False,
    placed: bool = False,
) -> str:
    """`text` as the encoder is to read it, without outer spaces.

    Refuses an empty one, and one that is looked for in the picture (`seen`) where the encoder has
    no word for it; warns of what will not be read. Where the place of the edit is given
    (`placed`), nothing is looked for, and what `swatch` does not know stands for its kind.
    """
    text = " ".join(text.split())
    if not text:
        raise UsageError(f"{flag} is empty: say in words what to make")
    longest = max(fill(TEMPLATES + SCREEN_TEMPLATES, (text,)), key=guide.token_count)
    excess = guide.token_count(longest) - guide.context_length
    if excess > 0:
        progress.warning(
            f'{flag} "{text[:40]}…" is {excess} tokens too long for the encoder'
            f" (limit {guide.context_length}): the end is cut"
        )
    if guide.name != SWATCH:
        return text
    return reading.read_as(flag, text, seen, placed, progress)


def knows(guide: ClipGuide, text: str) -> bool:
    """Whether the encoder can look for `text`: the embedded one has a closed vocabulary."""
    return guide.name != SWATCH or reading.unknown_thing(text) is None


def trailing_parts(prompt: str) -> list[str]:
    """What the picture may hold already: "oreo birthday cake" → ["birthday cake", "cake"].

    Parts do not begin with an article or preposition; a prompt of one word has itself alone.
    """
    words = prompt.split()
    parts = [" ".join(words[i:]) for i in range(1, len(words))]
    return [p for p in parts if p.split()[0].lower() not in _FUNCTION_WORDS.split()] or [prompt]


def choose_roi(
    guide: ClipGuide, picture: Tensor, prompt: str, placed: bool = False, flag: str = "PROMPT"
) -> str:
    """The trailing part of `prompt` that fits `picture` (1, 3, H, W) best.

    Raises UsageError where the encoder has no word for it, unless the place of the edit is given
    (`placed`).
    """
    parts = trailing_parts(prompt)
    if guide.name == SWATCH:
        first = reading.unknown_thing(prompt)  # where it is None, the part is to be known too
        fitting = [part for part in parts if reading.unknown_thing(part) == first]
        if not placed:
            for text in (prompt, *([] if fitting else parts)):
                reading.require_thing(flag, text)
        parts = fitting or parts
    embedding = F.normalize(guide.encode_views(guide.structure_views(picture)), dim=-1).mean(0)
    texts = F.normalize(guide.encode_text(fill(TEMPLATES, tuple(parts))), dim=-1)
    scores = (texts @ embedding).view(len(parts), len(TEMPLATES)).mean(1)
    return parts[int(scores.argmax())]
