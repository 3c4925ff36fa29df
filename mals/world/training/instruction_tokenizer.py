"""The tokenizer of the captioner that follows instructions: whole words, with and without a capital, and letters for all others.

Words with hyphens stay whole, and "blue-and-white" is "blue" and "-and-white", so that a caption is decoded as it was written.
"""

import string
from collections import Counter
from functools import cache
from typing import Any

import numpy as np

from mals.stages.captioning.slots import KEPT_WORDS
from mals.world.person import COLORS, create_person
from mals.world.training.conversations import draw_turns
from mals.world.training.vocabulary import WORDS, build_vocabulary

PAD, UNKNOWN, START, END, IMAGE, ASK, REPLY = "<pad>", "<unk>", "<s>", "</s>", "<image>", "<ask>", "<reply>"
CHAT_TEMPLATE = (  # one turn; the reply ends with END
    "{{ '<s>' }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}{{ '<ask>' }}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% else %}{{ '<reply>' }}{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{{ '</s>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<reply>' }}{% endif %}"
)
SAMPLE = 1_000  # people whose requests and replies give words
WORD = r"[A-Za-z]+(?:-[A-Za-z]+)*|[0-9]|[^A-Za-z0-9\s]"


@cache
def words(seed: int) -> tuple[str, ...]:
    """The words of requests and replies, of the vocabulary of the other models and of the labeller's templates, sorted."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    rng = np.random.default_rng((seed, 0xA5C))
    counts: Counter[str] = Counter()
    split = Split(Regex(WORD), "removed", invert=True)
    for number in range(SAMPLE):
        for turn in draw_turns(create_person(seed, 1_000_000 + number), seed, rng):
            counts.update(word for word, _ in split.pre_tokenize_str(f"{turn.request} {turn.reply}"))
    common = {word.lower() for word, count in counts.items() if count > 2 and word[0].isalpha() and "-and-" not in word}
    return tuple(sorted(common | {word for word in (*WORDS.split(), *KEPT_WORDS.split(), *build_vocabulary(seed)) if word.isalpha()}))


def build_tokenizer(vocabulary: tuple[str, ...]) -> Any:
    """A tokenizer with these words, in lower case and with a capital."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import WordPiece as Decoder
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    signs = [letter for letter in string.printable if not letter.isspace()]
    tails = [f"##-and-{color}" for color in (*COLORS, "grey")] + [f"##-{word}" for word in ("sleeved", "length", "and")]
    capitals = [word.capitalize() for word in vocabulary]
    pieces = [PAD, UNKNOWN, START, END, IMAGE, ASK, REPLY, *signs, *(f"##{sign}" for sign in signs), *tails, *vocabulary, *capitals]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Split(Regex(WORD), "removed", invert=True)
    tokenizer.decoder = Decoder("##", cleanup=True)
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE, "ask_token": ASK, "reply_token": REPLY},
        model_max_length=512,
    )
    return fast
