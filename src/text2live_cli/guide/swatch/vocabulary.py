"""The closed vocabulary of `swatch`: what it can see, and what people may call it.

Synonyms and plurals are folded into one canonical word before the text reaches the encoder, so
the encoder only has to learn each idea once.
"""

from __future__ import annotations

import re

OBJECTS: tuple[str, ...] = (
    "cup", "cake", "car", "house", "tree", "fish", "bird", "cat", "apple", "vase", "ball", "box",
    "hat", "mushroom", "flower", "boat", "bottle", "star", "heart", "leaf", "chair", "lamp",
    "butterfly", "pear", "umbrella", "rocket", "person", "plate",
)  # fmt: skip
PLACES: tuple[str, ...] = (
    "table", "wall", "sky", "grass", "beach", "sea", "road", "mountain", "background", "screen",
)  # fmt: skip
COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
LOOKS: tuple[str, ...] = (
    "golden", "silver", "copper", "rusty", "wooden", "brick", "stone", "marble", "mossy", "snowy",
    "icy", "crystal", "fiery", "lava", "smoky", "watery", "sandy", "chocolate", "striped",
    "checkered", "dotted", "zebra", "leopard", "giraffe", "knitted", "denim", "paper", "neon",
    "glass", "starry", "rainbow", "camouflage", "straw", "mosaic",
)  # fmt: skip

THINGS: tuple[str, ...] = OBJECTS + PLACES
"""What a region of a picture can be: an object, or the place behind the objects."""

APPEARANCES: tuple[str, ...] = COLOURS + LOOKS
"""How a region can look: a plain colour or a textured look."""

CONCEPTS: dict[str, tuple[str, ...]] = {
    "objects": OBJECTS,
    "looks": LOOKS,
    "colours": COLOURS,
    "scene words": PLACES,
}

_SYNONYMS: dict[str, str] = {
    "cup": "mug mugs cups teacup teacups beaker",
    "cake": "cakes cupcake cupcakes gateau pie pies",
    "car": "cars automobile auto vehicle taxi",
    "house": "houses home hut cottage cabin building barn",
    "tree": "trees oak fir pine forest bush bushes",
    "fish": "fishes goldfish",
    "bird": "birds duck swan chick parrot",
    "cat": "cats kitten kitty",
    "apple": "apples",
    "vase": "vases jar pot urn",
    "ball": "balls sphere orb globe",
    "box": "boxes cube crate present gift",
    "hat": "hats cap",
    "mushroom": "mushrooms toadstool",
    "flower": "flowers blossom daisy",
    "boat": "boats ship ships sailboat yacht",
    "bottle": "bottles flask",
    "star": "stars",
    "heart": "hearts",
    "leaf": "leaves foliage",
    "chair": "chairs seat stool",
    "lamp": "lamps",
    "butterfly": "butterflies moth",
    "pear": "pears",
    "umbrella": "umbrellas parasol",
    "rocket": "rockets spaceship",
    "person": "persons people man men woman women boy boys girl girls child children kid kids"
    " lady ladies guy guys human humans player players",
    "plate": "plates saucer saucers dish dishes bowl bowls",
    "table": "tables desk tabletop",
    "wall": "walls",
    "sky": "skies",
    "grass": "lawn meadow field",
    "beach": "shore",
    "sea": "ocean lake river",
    "road": "roads street asphalt pavement path track",
    "mountain": "mountains hill hills cliff",
    "background": "backdrop",
    "grey": "gray",
    "purple": "violet lilac",
    "brown": "tan",
    "golden": "gold gilded gilt",
    "silver": "chrome metal metallic steel iron",
    "copper": "bronze brass",
    "rusty": "rust rusted corroded",
    "wooden": "wood timber oaken",
    "brick": "bricks",
    "stone": "stones rock rocky cobblestone granite",
    "marble": "marbled",
    "mossy": "moss overgrown",
    "snowy": "snow snowcovered frosty",
    "icy": "ice frozen",
    "crystal": "crystals diamond gem jewel",
    "fiery": "fire flame flames flaming burning",
    "lava": "magma volcanic molten",
    "smoky": "smoke fog foggy cloudy clouds",
    "watery": "water wet",
    "sandy": "sand",
    "chocolate": "choco cocoa",
    "striped": "stripes stripy stripe",
    "checkered": "chequered checkerboard chess checked",
    "dotted": "dots polka spotted",
    "leopard": "cheetah jaguar",
    "giraffe": "giraffes",
    "zebra": "zebras",
    "knitted": "knit wool woollen woolen crochet yarn",
    "denim": "jeans",
    "paper": "papery crumpled",
    "neon": "glowing",
    "glass": "glassy transparent",
    "starry": "night galaxy cosmic space",
    "camouflage": "camo",
    "straw": "hay thatched",
    "mosaic": "tiled tiles",
}

_FUNCTION_WORDS = (
    "a an the of on in over with at by and to from front against made photo image picture high "
    "quality its it is as like s covered out into style full"
)
FUNCTION_WORDS: frozenset[str] = frozenset(_FUNCTION_WORDS.split())
"""Words that carry no concept: never reported as unknown."""

CANONICAL: dict[str, str] = {
    **{word: word for word in THINGS + APPEARANCES},
    **{alias: word for word, aliases in _SYNONYMS.items() for alias in aliases.split()},
}
"""Every known word, and the one that it is read as."""
_WORD = re.compile(r"[^\W\d_]+")


def canonical(text: str) -> str:
    """`text` in lower case with every known synonym or plural replaced by its canonical word."""
    return _WORD.sub(lambda m: CANONICAL.get(m[0], m[0]), text.lower())


def synonyms(word: str) -> list[str]:
    """The other words that are read as the canonical `word`."""
    return _SYNONYMS.get(word, "").split()


def known_words() -> frozenset[str]:
    """Every word with a meaning to the encoder, synonyms and plurals included."""
    return frozenset(CANONICAL)


def unknown_words(prompt: str) -> list[str]:
    """The words of `prompt`, in order, that are neither known nor mere function words."""
    words = dict.fromkeys(_WORD.findall(prompt.lower()))
    return [w for w in words if w not in CANONICAL and w not in FUNCTION_WORDS]


def rivals(text: str) -> list[str]:
    """Every thing, object or place, that `text` does not name."""
    words = set(canonical(text).split())
    return [thing for thing in THINGS if thing not in words]
