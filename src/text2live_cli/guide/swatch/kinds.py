"""What `swatch` does not know, by its kind: the nearest of its words in meaning."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from .vocabulary import CANONICAL, THINGS

_ALIKE = 0.8  # of spelling: what differs more is another word
_LIKENESSES = ("ish", "like", "y")  # of words: reddish, glasslike, stony
_ENDINGS = (("ies", "y"), ("ves", "f"), ("men", "man"), ("es", ""), ("s", ""), ("", ""))


class Kind(NamedTuple):
    """A kind of things or looks, and what of it `swatch` knows."""

    name: str
    """With its article: "an animal"."""
    nearest: tuple[str, ...]
    """Known words, the nearest first; none where it knows nothing like it."""

    @property
    def stand_in(self) -> str | None:
        """The known thing that things of this kind are read as, where their place is given."""
        return next((word for word in self.nearest if word in THINGS), None)


_TABLE: tuple[tuple[str, str, str], ...] = (
    (
        "an animal",
        "cat",
        "animal pet dog puppy wolf fox lion tiger panther lynx bear panda koala monkey ape gorilla"
        " horse pony donkey cow bull calf sheep lamb goat pig deer moose elk camel llama elephant"
        " rhino hippo kangaroo rabbit hare hamster mouse rat squirrel raccoon otter beaver badger"
        " hedgehog bat dragon unicorn dinosaur creature monster",
    ),
    (
        "an animal",
        "bird",
        "eagle hawk falcon owl crow raven pigeon dove seagull gull sparrow robin hen chicken"
        " rooster goose turkey peacock penguin ostrich flamingo stork crane heron pelican toucan",
    ),
    (
        "an animal",
        "fish",
        "shark whale dolphin orca seal salmon trout tuna carp octopus squid jellyfish crab lobster"
        " shrimp seahorse turtle tortoise frog toad crocodile alligator lizard snake snail",
    ),
    ("an animal", "butterfly", "insect bee wasp bug beetle ladybird ladybug dragonfly spider ant"),
    (
        "a vehicle",
        "car",
        "truck lorry pickup van minivan bus coach jeep suv convertible limousine ambulance tractor"
        " train tram locomotive wagon carriage cart trailer tank motorcycle motorbike bike bicycle"
        " scooter moped bonnet bumper windscreen",
    ),
    ("a vehicle", "boat", "canoe kayak ferry raft gondola dinghy barge submarine sail"),
    (
        "a vehicle",
        "rocket",
        "plane airplane aeroplane aircraft jet helicopter drone glider airship missile shuttle",
    ),
    ("a vehicle", "ball", "balloon"),
    (
        "food",
        "cake chocolate",
        "food dessert bread loaf bun roll biscuit cookie oreo brownie muffin waffle pancake donut"
        " doughnut croissant pastry tart pudding icecream candy sweet pizza burger hamburger"
        " sandwich taco hotdog sushi cheese butter meat steak sausage bacon ham egg pasta noodle"
        " spaghetti rice soup salad",
    ),
    (
        "a fruit or vegetable",
        "apple pear",
        "fruit vegetable lemon lime grapefruit peach plum apricot cherry strawberry berry"
        " blueberry raspberry grape melon watermelon pineapple mango kiwi banana avocado tomato"
        " potato onion carrot pumpkin cucumber pepper aubergine cabbage lettuce nut walnut",
    ),
    (
        "a person",
        "person",
        "baby someone"
        " athlete runner skier surfer dancer singer astronaut cosmonaut soldier knight"
        " warrior king queen prince princess wizard witch pirate clown farmer worker doctor nurse"
        " teacher student chef policeman fireman bride groom couple crowd father mother"
        " grandfather grandmother actor hero superhero robot statue figure doll",
    ),
    (
        "a part of a body",
        "",
        "head face mouth lip tooth nose eye ear hair beard neck hand finger arm leg foot paw tail"
        " wing horn beak skin",
    ),
    (
        "clothing",
        "hat knitted denim",
        "clothing clothes jacket coat shirt tshirt blouse sweater jumper pullover hoodie cardigan"
        " dress skirt trousers pants shorts suit tie scarf glove mitten sock shoe boot sneaker"
        " sandal belt uniform robe vest helmet crown beanie cape bag backpack handbag purse",
    ),
    ("a plant", "flower", "plant rose tulip lily sunflower orchid poppy lotus dandelion petal"),
    ("a plant", "tree leaf", "birch willow maple palm spruce cypress shrub hedge ivy vine jungle"),
    ("a plant", "leaf grass", "fern clover weed reed herb branch twig cactus"),
    (
        "a building",
        "house",
        "palace castle church cathedral temple mosque pagoda shrine tower skyscraper hotel school"
        " hospital library museum station shop store office factory garage shed tent mansion villa"
        " bungalow lighthouse windmill mill bridge ruin roof tipi igloo",
    ),
    ("furniture", "chair", "furniture sofa couch armchair bench throne rocker cushion pillow bed"),
    ("furniture", "table box", "cupboard wardrobe shelf bookcase drawer cabinet counter piano"),
    ("furniture", "lamp", "lantern light candle chandelier torch bulb lampshade streetlight"),
    (
        "a vessel",
        "cup vase bottle",
        "glassware goblet chalice tumbler teapot kettle jug pitcher can"
        " bucket barrel basket pan bin",
    ),
    ("a container", "box", "package parcel case suitcase chest trunk carton book cage"),
    ("a shape", "ball star heart", "planet moon sun earth circle ring coin disc pearl"),
    ("a place", "road", "highway motorway lane alley sidewalk runway rail railway floor ground"),
    ("a place", "grass", "pasture park garden pitch prairie plain crop court"),
    ("a place", "mountain", "mountainside volcano peak summit rockface dune valley canyon glacier"),
    ("a place", "sea", "pond pool stream waterfall wave bay fjord lagoon canal harbour"),
    ("a place", "beach", "coast seaside desert shoreline island"),
    ("a place", "sky", "sunset sunrise dawn dusk heaven air aurora"),
    ("a place", "wall", "fence facade ceiling door window curtain gate tapestry"),
    ("a place", "background", "scenery landscape scene surroundings room city town forestland"),
    ("a metal", "golden silver copper", "aluminium aluminum tin platinum titanium lead zinc"),
    ("a material", "knitted denim", "cloth fabric velvet silk cotton linen felt fur furry fluffy"),
    ("a material", "brown denim", "leather suede"),
    ("a material", "marble stone", "ceramic porcelain clay terracotta concrete cement plaster"),
    ("a material", "glass crystal", "plastic acrylic jade emerald ruby sapphire amber glossy"),
    ("a material", "wooden straw", "bamboo wicker cork bark plywood cardboard rattan"),
    ("a material", "fiery neon", "electric lightning laser sparks ember burnt"),
    ("a material", "mossy", "leafy grassy algae lichen ivied"),
    ("a material", "chocolate", "caramel coffee nougat fudge"),
    ("a material", "sandy", "dusty desertlike sandstone muddy mud"),
    ("a pattern", "leopard zebra striped", "tigerskin"),
    ("a pattern", "checkered mosaic", "tartan plaid gingham quilted patchwork pixel pixelated"),
    ("a pattern", "rainbow mosaic", "colourful colorful multicolored psychedelic iridescent"),
    ("a colour", "red", "crimson scarlet maroon burgundy vermilion"),
    ("a colour", "blue", "navy azure turquoise cyan teal indigo cobalt"),
    ("a colour", "green", "olive mint"),
    ("a colour", "yellow", "mustard blond blonde"),
    ("a colour", "white", "ivory cream beige pale"),
    ("a colour", "purple", "lavender mauve magenta"),
    ("a colour", "pink", "rosy fuchsia"),
    ("a colour", "orange", "ginger"),
    ("a colour", "black", "dark ebony charcoal"),
)


KINDS: dict[Kind, tuple[str, ...]] = {
    Kind(name, tuple(nearest.split())): tuple(words.split()) for name, nearest, words in _TABLE
}
"""The kinds, and the unknown words that are of each."""

_BY_WORD = {word: kind for kind, words in KINDS.items() for word in words}


def kind_of(word: str) -> Kind | None:
    """The kind of an unknown word, in the singular or plural; None where that is not known."""
    word = word.lower()
    forms = [word.removesuffix(end) + new for end, new in _ENDINGS if word.endswith(end)]
    return next((_BY_WORD[form] for form in [word, *forms] if form in _BY_WORD), None)


def nearest_words(word: str, n: int = 3) -> tuple[str, ...]:
    """Up to `n` known words nearest to `word` in meaning, or where it is misspelt in spelling."""
    word, kind = word.lower(), kind_of(word)
    if kind is not None:
        return kind.nearest[:n]
    stems = (word.removesuffix(end) for end in _LIKENESSES if word.endswith(end))
    likened = [form for stem in stems for form in (stem, stem[:-1], f"{stem}e")]
    meant_by = next((CANONICAL[form] for form in likened if form in CANONICAL), None)
    if meant_by is not None:
        return (meant_by,)
    alike = difflib.get_close_matches(word, sorted({*CANONICAL, *_BY_WORD}), n, _ALIKE)
    meant = (CANONICAL.get(one) or " ".join(_BY_WORD[one].nearest) for one in alike)
    return tuple(dict.fromkeys(" ".join(meant).split()))[:n]
