"""The vocabulary of the embedded models: words of the world's captions and of the grammar's prompts, and tokenizers with these words.

Both tokenizers encode any ASCII text; they spell words that are not in the vocabulary.
"""

import string
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from mals.attributes import load_space
from mals.planning.balance import CHOICES
from mals.planning.phrases import Phrases
from mals.world.captions import write_caption
from mals.world.person import Person, create_person

TOKENS = 77  # of a prompt, as in CLIP
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SAMPLE = 5_000  # captions, and as many prompts, whose words are in the vocabulary beside WORDS
# Usual words for people that the world does not use: in the vocabulary, so that a prompt has about as many tokens as in other models.
WORDS = """
a an the and or of in on at with to from by for is are was his her their its he she it they this that who which while as over under near
next behind front one two three both other another some no not
person people man men woman women boy girl child kid adult teenager teen lady guy male female young old middle aged elderly someone
people's pedestrian student worker tourist walker cyclist
black white red green blue yellow purple pink orange brown gray grey beige navy dark light bright pale khaki gold silver cream tan maroon
turquoise colored colorful coloured plain striped checked checkered plaid floral print printed pattern patterned spotted dotted denim
leather wool cotton knit lace
wearing wears wear dressed clothed holding holds carrying carries carry walking walks walk standing stands stand sitting sits running runs
riding looking looks talking using pushing pulling posing smiling facing turning waiting crossing
hair haired short long bald ponytail bun braid curly straight wavy blonde blond brunette beard moustache head face neck shoulder
shoulders hand hands arm arms leg legs foot feet hip hips waist back chest body full side left right
shirt shirts tee tshirt blouse top tank sweater sweatshirt hoodie hooded hood cardigan pullover jumper vest jacket coat blazer suit
uniform dress skirt shorts trousers pants jeans leggings tights sleeve sleeves sleeved sleeveless collar button buttons zip zipper
pocket length knee ankle upper lower clothing clothes outfit tie scarf belt
shoe shoes sneakers trainers boots sandals heels flats slippers loafers sock socks high heeled
hat cap helmet beanie glasses sunglasses eyeglasses mask gloves watch bracelet necklace earrings headphones earphones
bag bags handbag backpack rucksack purse satchel tote shoulderbag suitcase luggage briefcase umbrella phone mobile cell camera book
bottle cup coffee bicycle bike scooter stroller dog
street road sidewalk pavement crosswalk park square plaza shop store mall station platform stairs bridge building wall door window
car bus train tree trees grass snow rain sunny day night evening morning city town campus office airport market indoors outdoors scene
background photo photograph picture image portrait view camera surveillance crowd cropped close up drawing blurry low quality realistic
big small large tall thin slim fat heavy loose tight casual formal sporty modern
"""


def write_prompts(people: list[Person], rng: np.random.Generator) -> list[str]:
    """A prompt of the attribute grammar for each person, with some of their attributes."""
    attributes = np.array([person.attributes() for person in people], np.int8)
    return Phrases(load_space("market1501")).captions(hide_some(attributes, rng), rng.integers(0, 1 << 31, (len(people), CHOICES)))


def hide_some(attributes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[N, 27] with some attributes unknown (-1), those of a colour group together; half of the rows keep all."""
    space = load_space("market1501")
    groups = {member: name for name, group in space.color_groups.items() for member in group.colors.values()}
    units = list(dict.fromkeys(groups.get(name, name) for name in space.names))
    hide = (rng.random((len(attributes), len(units))) < 0.12) & (rng.random((len(attributes), 1)) < 0.5)
    visible = attributes.copy()
    for column, name in enumerate(space.names):
        visible[hide[:, units.index(groups.get(name, name))], column] = -1
    return visible


@cache
def build_vocabulary(seed: int) -> list[str]:
    """The words of many captions and prompts, lower case, sorted; hyphens and commas separate words, as in CLIP's and BERT's tokenizers."""
    rng = np.random.default_rng((seed, 0x70CA))
    people = [create_person(seed, 1_000_000 + number) for number in range(SAMPLE)]
    texts = write_prompts(people, rng) + [write_caption(person, rng, place="street").text for person in people]
    texts += ["park plaza shop station room walking standing"]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())
    common = {word for word, count in counts.items() if count > 2 and word.isascii()}
    return sorted(common | {word for word in WORDS.split() if word.isalpha()})


def clip_tokenizer(words: list[str]) -> Any:
    """A CLIPTokenizer whose tokens are single bytes and `words`."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    merges: Any = pair_merges(words)
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    token_ids = {piece: number for number, piece in enumerate([*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=token_ids, merges=merges, model_max_length=TOKENS)


def bert_tokenizer(words: list[str]) -> Any:
    """A BertTokenizer whose tokens are letters and `words`."""
    from transformers import BertTokenizer

    letters = [letter for letter in string.printable if not letter.isspace() and not letter.isupper()]
    pieces = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), *words]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, do_lower_case=True)


def pair_merges(words: list[str]) -> list[tuple[str, str]]:
    """The merges of byte pair encoding until every word is one token; the alphabet decides between pairs that are equally frequent.

    The trainer of `tokenizers` breaks such ties at random, so that its file differs from run to run.
    """
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for word in spelled for pair in pairwise(word))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word in spelled:
            start = 0
            while start < len(word) - 1:
                if (word[start], word[start + 1]) == best:
                    word[start : start + 2] = ["".join(best)]
                start += 1
