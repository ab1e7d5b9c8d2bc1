"""`preview`: in seconds, where an edit would be, how it begins, and what all of it would cost."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..endings import Stopped
from ..engine.figures import likeness
from ..engine.training import LEAST_STEPS
from ..errors import UsageError
from ..guide.picture_region import seen_colors
from ..guide.prompts import TEMPLATES, fill
from ..media.picture_writing import write_picture
from ..media.pictures import opened
from ..progress import Silent
from ..runs.folder import check_output
from ..runs.preflight import require_file_place
from ..texts import clock, shown_path
from .dry_run import need_of, room_of
from .image import run_edit_image
from .image_scene import prepare_scene
from .option_fields import taking
from .plans import ImagePlan, plan_image
from .preview_options import PreviewOptions
from .requests import command_line
from .results import EditResult
from .session import Session

DRAFT_STEPS = 30
_HEIGHT = 384  # pixels of the pictures side by side
_GAP = 8


@dataclass(frozen=True)
class PreviewResult:
    """The picture that was written, and what is known of the edit."""

    picture: Path
    record: dict[str, Any]

    def facts(self) -> dict[str, str]:
        """The same in words, by what each is of."""
        record, region = self.record, self.record["region"]
        place = "looked for in every example" if region is None else _region_words(region)
        before, after = record["draft"]["text_before"], record["draft"]["text_after"]
        cost = record["cost"]
        memory = cost["memory"]
        room = "memory not known" if memory is None else f"{memory / 2**30:.1f} GiB of memory"
        return {
            "region": place,
            "picture": f"like “{record['roi']}” by {record['roi_score']:.2f}, like"
            f" “{record['prompt']}” by {before:.2f}",
            "draft": f"after {record['draft']['steps']} steps by {after:.2f}",
            "all of it": f"{cost['steps']} steps, about {clock(cost['seconds'])}; {room} and"
            f" {cost['disk'] / 1e6:.0f} MB of disk at the most",
            "run": record["command_line"],
        }


def run_preview(options: PreviewOptions) -> PreviewResult:
    """Train the first steps of an edit, show them beside source and region, and price the rest.

    Nothing is left behind but the picture. Raises what the edit would.
    """
    page = Path(options.output or f"{Path(options.source).stem}.preview.png")
    if page.suffix.lower() != ".png":
        raise UsageError(f"-o {page}: name a PNG file")
    require_file_place("-o", page)
    check_output(page, [options.source, options.mask, options.clip_weights], options.overwrite)
    edit = options.edit()
    session = Session.of(edit)
    whole = dataclasses.replace(edit, overwrite=True, resume=False)
    plan = plan_image(whole, session.device.type, Silent())
    steps = min(DRAFT_STEPS, plan.settings.steps)
    with tempfile.TemporaryDirectory() as folder:
        alone = dataclasses.replace(edit, save_every=None, log_dir=None, resume=False)
        place = Path(folder) / "draft"
        draft = dataclasses.replace(
            alone, output=place, steps=steps, minutes=None, until_settled=False, no_graphs=True
        )
        result = run_edit_image(draft, session)
        if result.interrupted:
            raise Stopped.by(result.record["stopped_by"])
        write_picture(page, _sheet(plan, result))
    return PreviewResult(page, _record(plan, result.record, session, edit))


preview = taking(PreviewOptions)(run_preview)


def _record(plan: ImagePlan, draft: dict[str, Any], session: Session, edit: Any) -> dict[str, Any]:
    roi = draft["prompts"]["roi"]
    working = prepare_scene(plan.picture, plan.working, session.device).working
    texts = session.guide.encode_text(fill(TEMPLATES, (roi,)))
    (roi_score,) = likeness(session.guide, texts, [working])
    seconds = draft["seconds"]
    each, once = seconds["per_step"], seconds["preparation"] + seconds["result"]
    steps = plan.settings.steps
    if edit.minutes is not None:
        steps = max(LEAST_STEPS, int((60 * edit.minutes - once) / each))
    return {
        "command": "preview",
        "input": shown_path(Path(edit.source)),
        "prompt": draft["prompts"]["target"],
        "roi": roi,
        "roi_score": round(roi_score, 4),
        "region": draft["region"],
        "draft": {"steps": draft["steps_done"], **draft["figures"]},
        "cost": {
            "steps": steps,
            "seconds": round(once + steps * each, 1),
            "memory": need_of(plan),
            "disk": room_of(plan),
        },
        "command_line": command_line("edit-image", edit, for_others=False),
    }


def _region_words(region: dict[str, Any]) -> str:
    sure = region["certainty"]
    words = f"{region['share']:.0%} of the picture, by {region['origin']}"
    return words if sure is None else f"{words}, certainty {sure:.2f}"


def _sheet(plan: ImagePlan, result: EditResult) -> NDArray[np.uint8]:
    """Source, region and draft side by side, (h, w, 3)."""
    pictures = [Image.fromarray(seen_colors(plan.picture))]
    for name in ("region.png", "composite.png"):
        if (result.folder / name).is_file():
            with opened(result.folder / name) as image:
                pictures.append(image.convert("RGB"))
    height = min(_HEIGHT, pictures[0].height)
    width = max(1, round(height * pictures[0].width / pictures[0].height))
    sheet = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, height), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture.resize((width, height)), (number * (width + _GAP), 0))
    return np.array(sheet)
