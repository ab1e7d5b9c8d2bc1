"""What `swatch` can do, on freshly painted scenes: `python bench/swatch.py [--weights FILE]`.

Accuracies and retrieval, on pairs of object and look that were trained on and on pairs that were
left out; and how well relevancy finds the object that a text names, by the locator that the engine
uses and by the paper's rule. With `--guidance` also
what its drafts look like to a second encoder: see guidance.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import guidance
import numpy as np
import torch
from safetensors import safe_open
from swatch_training.painter import paint
from swatch_training.scene import (
    PainterSettings,
    Region,
    Scene,
    left_out,
    random_scene,
)
from swatch_training.train import digest
from torch import Tensor
from torch.nn import functional

from text2live_cli.guide.clip import ClipGuide
from text2live_cli.guide.relevancy import attention_relevancy, make_query, relevancy_map
from text2live_cli.guide.swatch.locator import LOCATOR, load_locator
from text2live_cli.guide.swatch.model import WEIGHTS, load_swatch
from text2live_cli.guide.swatch.towers import NATIVE_SIZE
from text2live_cli.guide.swatch.vocabulary import (
    APPEARANCES,
    COLOURS,
    LOOKS,
    OBJECTS,
)

WORKING_SIZE = 192
"""Relevancy is asked about pictures of this size, as in a draft."""
_PLACES = (
    ("background", "blue"), ("background", "grey"), ("background", "white"), ("table", "wooden"),
    ("wall", "brick"), ("sky", "blue"), ("grass", "green"), ("beach", "sandy"),
    ("screen", "green"), ("background", "marble"),
)  # fmt: skip

Rule = Callable[[ClipGuide, Tensor, str], Tensor]
"""Guide, picture (1, 3, h, w) and prompt to a map (1, 1, any, any)."""
Question = tuple[Scene, int, str]
"""A scene, the label of what is to be found, and the prompt that asks for it."""


def single_scenes(
    count: int, looks: Sequence[str], rng: np.random.Generator, unseen: bool = False
) -> list[Scene]:
    """Scenes of one object whose look is not that of its place; `unseen` pairs or the others."""
    pairs = [(t, a) for t in OBJECTS for a in looks if left_out(t, a) == unseen]
    scenes: list[Scene] = []
    while len(scenes) < count:
        place = Region(*_PLACES[rng.integers(len(_PLACES))])
        thing, look = pairs[rng.integers(len(pairs))]
        if look != place.look:
            scenes.append(_scene([Region(thing, look)], place, rng))
    return scenes


def double_scenes(count: int, rng: np.random.Generator) -> list[Scene]:
    """Scenes of two different objects with two different looks."""
    scenes = []
    for _ in range(count):
        place = Region(*_PLACES[rng.integers(len(_PLACES))])
        things = rng.choice(OBJECTS, 2, replace=False)
        looks = rng.choice([x for x in APPEARANCES if x != place.look], 2, replace=False)
        pairs = zip(things, looks, strict=True)
        scenes.append(_scene([Region(str(t), str(a)) for t, a in pairs], place, rng))
    return scenes


def fill_scenes(count: int, rng: np.random.Generator) -> list[Scene]:
    """Scenes of nothing but a look that fills the frame."""
    return [_scene([], Region("background", str(rng.choice(LOOKS))), rng) for _ in range(count)]


class Bench:
    """The encoder and the few questions put to it."""

    def __init__(self, guide: ClipGuide) -> None:
        self.guide = guide

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (C, E)."""
        return functional.normalize(self.guide.encode_text(prompts), dim=-1)

    def pictures(self, scenes: Sequence[Scene]) -> Tensor:
        """Unit embeddings (B, E) of the painted scenes."""
        painted = torch.cat([_picture(scene, NATIVE_SIZE) for scene in scenes])
        chunks = [self.guide.encode_views(c) for c in painted.split(100)]
        return functional.normalize(torch.cat(chunks), dim=-1)

    def choice(self, seen: Tensor, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Index of the best prompt for each picture: (B,), prompts given per picture."""
        text = self.texts([p for options in prompts for p in options])
        return torch.einsum("be,bce->bc", seen, text.view(len(seen), -1, seen.shape[-1])).argmax(1)


def accuracies(
    bench: Bench, count: int, rng: np.random.Generator, unseen: bool = False
) -> dict[str, float]:
    """Shares of right answers on scenes of one object."""
    plain = single_scenes(count, COLOURS, rng, unseen)
    scenes = single_scenes(count, APPEARANCES, rng, unseen)
    seen_plain, seen = bench.pictures(plain), bench.pictures(scenes)
    things, looks = _claims(scenes)
    pairs = [f"{a} {t}" for t, a in zip(things, looks, strict=True)]
    colour = bench.choice(seen_plain, [[f"a {c} {t}" for c in COLOURS] for t in _claims(plain)[0]])
    look = bench.choice(seen, [[f"a {a} {t}" for a in APPEARANCES] for t in things])
    thing = bench.choice(seen, [[f"a {t}" for t in OBJECTS]] * count)
    swapped = [[p, f"{s.place.look} {t}"] for s, p, t in zip(scenes, pairs, things, strict=True)]
    return {
        "colour of 11, object given": _share(colour, [COLOURS.index(a) for a in _claims(plain)[1]]),
        "look of 45, object given": _share(look, [APPEARANCES.index(a) for a in looks]),
        f"object of {len(OBJECTS)}": _share(thing, [OBJECTS.index(t) for t in things]),
        "retrieval among 100": _retrieval(bench, seen, pairs),
        "own look above the place's look": _share(bench.choice(seen, swapped), [0] * count),
    }


def filling(bench: Bench, count: int, rng: np.random.Generator) -> float:
    """Share of right answers on looks that fill the frame."""
    scenes = fill_scenes(count, rng)
    best = bench.choice(bench.pictures(scenes), [LOOKS] * count)
    return _share(best, [LOOKS.index(s.place.look) for s in scenes])


def relevancy(guide: ClipGuide, rule: Rule, questions: Sequence[Question]) -> tuple[float, float]:
    """Mean IoU at half height, and share of peaks inside, of the maps of what is asked for."""
    overlaps, hits = [], []
    size = (WORKING_SIZE, WORKING_SIZE)
    for scene, label, prompt in questions:
        mask = torch.from_numpy(paint(scene, *size)[1] == label)
        coarse = rule(guide, _picture(scene, WORKING_SIZE), prompt)
        found = functional.interpolate(coarse, size, mode="bilinear")[0, 0]
        inside = found > (found.max() + found.min()) / 2
        overlaps.append(((inside & mask).sum() / (inside | mask).sum()).item())
        hits.append(float(mask.flatten()[found.argmax()]))
    return float(np.mean(overlaps)), float(np.mean(hits))


def about_objects(scenes: Sequence[Scene], named: str) -> list[Question]:
    """Where is the first object?"""
    claims = [(scene, scene.objects[0]) for scene in scenes]
    return [(s, 1, named.format(thing=first.thing, look=first.look)) for s, first in claims]


def about_landscapes(count: int, rng: np.random.Generator) -> dict[str, list[Question]]:
    """Where are the parts of landscapes, those that fill 3 % to 90 % of them? By what they are."""
    questions: dict[str, list[Question]] = {}
    for _ in range(count):
        scene = random_scene(rng, PainterSettings(landscapes=1, screens=0, lifelike=0))
        labels = paint(scene, WORKING_SIZE, WORKING_SIZE)[1]
        for label, region in enumerate(scene.regions):
            if region not in scene.objects and 0.03 < (labels == label).mean() < 0.9:
                questions.setdefault(region.thing, []).append((scene, label, region.thing))
    return questions


def engine_rule(guide: ClipGuide, picture: Tensor, prompt: str) -> Tensor:
    """What the bootstrap uses."""
    return relevancy_map(guide, picture, [make_query(guide, prompt)])


def attention_rule(blocks: int) -> Rule:
    """The paper's rule, over the last block or more."""

    def rule(guide: ClipGuide, picture: Tensor, prompt: str) -> Tensor:
        view = functional.interpolate(picture, (NATIVE_SIZE,) * 2, mode="bilinear")
        return attention_relevancy(guide, view, guide.encode_text([prompt]), blocks)

    return rule


def report_accuracies(bench: Bench, count: int, rng: np.random.Generator) -> None:
    """One row for each question, with the left-out pairs in a column of their own."""
    seen, unseen = accuracies(bench, count, rng), accuracies(bench, count, rng, unseen=True)
    print("| question | right | left-out pairs |\n| --- | ---: | ---: |")
    for question in seen:
        print(f"| {question} | {seen[question]:.2f} | {unseen[question]:.2f} |")
    print(f"| look of 34, filling the frame | {filling(bench, count, rng):.2f} | |\n")


def report_relevancy(guide: ClipGuide, count: int, rng: np.random.Generator) -> None:
    """IoU / pointing: a row for each rule, and then for each part of landscapes."""
    ones, twos = single_scenes(count, APPEARANCES, rng), double_scenes(count, rng)
    forms = ("{thing}", "{look} {thing}")
    cases = [about_objects(scenes, form) for scenes in (ones, twos) for form in forms]
    rules = {"the engine's": engine_rule, "last block": attention_rule(1),
             "all blocks": attention_rule(4)}  # fmt: skip
    print('| rule | one object, "cup" | one, "red cup" | two, "cup" | two, "red cup" |')
    print("| --- |" + " ---: |" * len(cases))
    for name, rule in rules.items():
        figures = [relevancy(guide, rule, case) for case in cases]
        print(f"| {name} | " + " | ".join(f"{iou:.2f} / {hit:.2f}" for iou, hit in figures) + " |")
    print("\n| part of a landscape | the engine's rule | asked |\n| --- | ---: | ---: |")
    for thing, questions in about_landscapes(count, rng).items():
        iou, hit = relevancy(guide, engine_rule, questions)
        print(f"| {thing} | {iou:.2f} / {hit:.2f} | {len(questions)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--locator", type=Path, default=LOCATOR)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--guidance", action="store_true", help="also run the drafts (WEIGHTS)")
    options = parser.parse_args()
    start = time.perf_counter()
    model, tokenizer, metadata = load_swatch(options.weights)
    if not _go_together(options.locator, options.weights):
        parser.error(f"{options.locator}: was trained with other weights than {options.weights}")
    told = {name: value for name, value in metadata.items() if name != "words"}
    print(f"loaded in {time.perf_counter() - start:.2f} s; {told}\n")
    guide = ClipGuide(model, tokenizer, "swatch", "", load_locator(options.locator))
    rng = np.random.default_rng(options.seed)
    with torch.no_grad():
        report_accuracies(Bench(guide), options.count, rng)
        report_relevancy(guide, options.count // 3, rng)
    if options.guidance:
        guidance.report()


def _go_together(locator: Path, weights: Path) -> bool:
    """Whether a locator was trained with the texts of these weights."""
    with safe_open(locator, "pt") as file:
        return bool(file.metadata()["start"] == digest(weights))


def _scene(objects: Sequence[Region], place: Region, rng: np.random.Generator) -> Scene:
    return Scene(tuple(objects), place, int(rng.integers(2**31, 2**32)))


def _picture(scene: Scene, size: int) -> Tensor:
    rgb = paint(scene, size, size)[0]
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def _claims(scenes: Sequence[Scene]) -> tuple[list[str], list[str]]:
    return [s.objects[0].thing for s in scenes], [s.objects[0].look for s in scenes]


def _share(answers: Tensor, right: Sequence[int]) -> float:
    return (answers == torch.tensor(right)).float().mean().item()


def _retrieval(bench: Bench, seen: Tensor, pairs: Sequence[str]) -> float:
    """Share of pictures whose own caption is the best among 100 (or scores the same words)."""
    hits = []
    for i in range(0, len(pairs) - 99, 100):
        best = (seen[i : i + 100] @ bench.texts(pairs[i : i + 100]).T).argmax(1)
        hits += [pairs[i + int(b)] == pairs[i + k] for k, b in enumerate(best)]
    return float(np.mean(hits)) if hits else float("nan")


if __name__ == "__main__":
    main()
