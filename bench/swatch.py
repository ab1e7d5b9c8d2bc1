"""What `swatch` can do, on freshly painted scenes: `python bench/swatch.py [--weights FILE]`.

Accuracies, retrieval, whether a look is bound to its object, and how well relevancy finds the
object that a text names (per rule, so that the rule in the weights' metadata can be chosen).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from torch.nn import functional

from text2live_cli.swatch.model import (
    NATIVE_SIZE,
    WEIGHTS,
    dense_map,
    encode_tokens,
    load_swatch,
    normalise,
)
from text2live_cli.swatch.painter import Region, Scene, paint
from text2live_cli.swatch.tokenizer import SwatchTokenizer
from text2live_cli.swatch.vocabulary import APPEARANCES, COLOURS, LOOKS, OBJECTS

_PLACES = (
    ("background", "blue"), ("background", "grey"), ("background", "white"), ("table", "wooden"),
    ("wall", "brick"), ("sky", "blue"), ("grass", "green"), ("beach", "sandy"),
    ("screen", "green"), ("background", "marble"),
)  # fmt: skip


def single_scenes(count: int, looks: Sequence[str], rng: np.random.Generator) -> list[Scene]:
    """Scenes of one object whose look is not that of its place."""
    scenes = []
    for _ in range(count):
        place = Region(*_PLACES[rng.integers(len(_PLACES))])
        look = str(rng.choice([x for x in looks if x != place.look]))
        scenes.append(_scene([Region(str(rng.choice(OBJECTS)), look)], place, rng))
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

    def __init__(self, model: CLIP, tokenizer: SwatchTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def texts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings (C, E)."""
        return functional.normalize(self.model.encode_text(self.tokenizer(prompts)), dim=-1)

    def tokens(self, scenes: Sequence[Scene]) -> torch.Tensor:
        """Unit tokens (B, 1 + N, E) of the painted scenes."""
        pictures = torch.cat([_picture(scene) for scene in scenes])
        chunks = [encode_tokens(self.model, chunk) for chunk in pictures.split(100)]
        return functional.normalize(torch.cat(chunks), dim=-1)

    def choice(self, image: torch.Tensor, prompts: Sequence[Sequence[str]]) -> torch.Tensor:
        """Index of the best prompt for each picture: (B,), prompts given per picture."""
        text = self.texts([p for options in prompts for p in options])
        text = text.view(len(image), -1, image.shape[-1])
        return torch.einsum("be,bce->bc", image, text).argmax(1)


Rule = Callable[[Bench, torch.Tensor, str], torch.Tensor]
"""Bench, picture (1, 3, h, w) and prompt to a map (h, w)."""


def accuracies(bench: Bench, count: int, rng: np.random.Generator) -> dict[str, float]:
    """Shares of right answers on one-object scenes and filled frames."""
    plain, any_look = single_scenes(count, COLOURS, rng), single_scenes(count, APPEARANCES, rng)
    fills = fill_scenes(count, rng)
    seen_plain, seen, seen_fills = (bench.tokens(s)[:, 0] for s in (plain, any_look, fills))
    things, looks = _claims(any_look)
    pairs = [f"{a} {t}" for t, a in zip(things, looks, strict=True)]
    colour = bench.choice(seen_plain, [[f"a {c} {t}" for c in COLOURS] for t in _claims(plain)[0]])
    look = bench.choice(seen, [[f"a {a} {t}" for a in APPEARANCES] for t in things])
    thing = bench.choice(seen, [[f"a {t}" for t in OBJECTS]] * count)
    fill = bench.choice(seen_fills, [LOOKS] * count)
    swapped = [[p, f"{s.place.look} {t}"] for s, p, t in zip(any_look, pairs, things, strict=True)]
    return {
        "colour of 11, object given": _share(colour, [COLOURS.index(a) for a in _claims(plain)[1]]),
        "look of 45, object given": _share(look, [APPEARANCES.index(a) for a in looks]),
        "object of 26": _share(thing, [OBJECTS.index(t) for t in things]),
        "look of 34, filling the frame": _share(fill, [LOOKS.index(s.place.look) for s in fills]),
        "own look above the place's look": _share(bench.choice(seen, swapped), [0] * count),
        "retrieval among 100": _retrieval(bench, seen, pairs),
    }


def relevancy(bench: Bench, rule: Rule, scenes: Sequence[Scene], named: str) -> tuple[float, float]:
    """Mean IoU at half height, and share of peaks on the object, of the first object's map."""
    overlaps, hits = [], []
    for scene in scenes:
        mask = torch.from_numpy(paint(scene, NATIVE_SIZE, NATIVE_SIZE)[1] == 1)
        region = scene.objects[0]
        prompt = named.format(thing=region.thing, look=region.look)
        found = rule(bench, _picture(scene), prompt)
        found = (found - found.min()) / (found.max() - found.min()).clamp(min=1e-6)
        inside = found > 0.5
        overlaps.append(((inside & mask).sum() / (inside | mask).sum()).item())
        hits.append(float(mask.flatten()[found.argmax()]))
    return float(np.mean(overlaps)), float(np.mean(hits))


def dense_rule(bench: Bench, picture: torch.Tensor, prompt: str) -> torch.Tensor:
    """Each patch token against the text, enlarged to the picture (h, w)."""
    return _enlarge(dense_map(encode_tokens(bench.model, picture), bench.texts([prompt]))[0])


def attention_rule(last: int) -> Rule:
    """Gradient-weighted attention of the last blocks (Chefer et al.), enlarged (h, w)."""

    def rule(bench: Bench, picture: torch.Tensor, prompt: str) -> torch.Tensor:
        visual = bench.model.visual
        with torch.enable_grad():
            x = visual._embeds(normalise(picture)).requires_grad_()
            maps = []
            for block in visual.transformer.resblocks:
                mixed, weights = _attend(block.attn, block.ln_1(x))
                maps.append(weights)
                x = x + mixed
                x = x + block.mlp(block.ln_2(x))
            image = functional.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
            gradients = torch.autograd.grad((image @ bench.texts([prompt]).T).sum(), maps[-last:])
        total = torch.eye(x.shape[1])
        for weights, gradient in zip(maps[-last:], gradients, strict=True):
            total = total + (weights * gradient).relu().mean(1)[0] @ total
        return _enlarge(total[0, 1:].detach())

    return rule


def main() -> None:
    """Print one table of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=20_000)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    start = time.perf_counter()
    model, tokenizer, metadata = load_swatch(options.weights)
    print(f"loaded in {time.perf_counter() - start:.2f} s; {metadata}")
    bench, rng = Bench(model, tokenizer), np.random.default_rng(options.seed)
    for name, value in accuracies(bench, options.count, rng).items():
        print(f"{name:<40} {value:.3f}")
    ones = single_scenes(options.count // 3, APPEARANCES, rng)
    twos = double_scenes(options.count // 3, rng)
    rules = {"dense": dense_rule, **{f"last {n} blocks": attention_rule(n) for n in (1, 3, 4)}}
    for name, rule in rules.items():
        for label, scenes, named in (
            ("one, 'cup'", ones, "{thing}"),
            ("one, 'red cup'", ones, "{look} {thing}"),
            ("two, 'cup'", twos, "{thing}"),
            ("two, 'red cup'", twos, "{look} {thing}"),
        ):
            overlap, hit = relevancy(bench, rule, scenes, named)
            print(f"relevancy {name:<14} {label:<18} IoU {overlap:.3f}  pointing {hit:.3f}")


def _attend(
    attn: torch.nn.MultiheadAttention, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Self-attention of (1, N, W) with its weights (1, heads, N, N) kept in the graph."""
    qkv = functional.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = (t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return attn.out_proj((weights @ v).transpose(1, 2).flatten(2)), weights


def _scene(objects: Sequence[Region], place: Region, rng: np.random.Generator) -> Scene:
    return Scene(tuple(objects), place, int(rng.integers(2**31, 2**32)))


def _picture(scene: Scene) -> torch.Tensor:
    rgb = paint(scene, NATIVE_SIZE, NATIVE_SIZE)[0]
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def _claims(scenes: Sequence[Scene]) -> tuple[list[str], list[str]]:
    return [s.objects[0].thing for s in scenes], [s.objects[0].look for s in scenes]


def _share(answers: torch.Tensor, right: Sequence[int]) -> float:
    return (answers == torch.tensor(right)).float().mean().item()


def _retrieval(bench: Bench, image: torch.Tensor, pairs: Sequence[str]) -> float:
    """Share of pictures whose own caption is the best among 100 (or scores the same words)."""
    hits = []
    for i in range(0, len(pairs) - 99, 100):
        best = (image[i : i + 100] @ bench.texts(pairs[i : i + 100]).T).argmax(1)
        hits += [pairs[i + int(b)] == pairs[i + k] for k, b in enumerate(best)]
    return float(np.mean(hits)) if hits else float("nan")


def _enlarge(row: torch.Tensor) -> torch.Tensor:
    side = round(row.numel() ** 0.5)
    size = (NATIVE_SIZE, NATIVE_SIZE)
    return functional.interpolate(row.view(1, 1, side, side), size, mode="bilinear")[0, 0]


if __name__ == "__main__":
    main()
