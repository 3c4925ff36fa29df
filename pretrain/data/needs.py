"""What a method needs of the data, as the loader reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from pretrain.data.tokenizers.masking import MaskingRule
from pretrain.data.wordings.searched import SearchSentences

SecondCaption = Literal["none", "same_person", "other_image", "eda"]
Negatives = Literal["none", "clean", "masked"]
Reword = Callable[[str, Generator], str]  # a caption and random numbers -> the caption to train on; it must be picklable


@dataclass(frozen=True)
class DataNeeds:
    """What a training needs of the data.

    `second_caption` is another caption of the same person: of another image, and of a person with one image another caption of that, where
    there is one ("same_person"); always of another image ("other_image": persons with one image are left out); or the caption after one
    operation of EDA ("eda").
    """

    captions: bool = True
    caption_words: int | None = None  # a caption is cut after this many words; None: never
    reword: Reword | None = None  # changes each caption of the training
    masking: MaskingRule | None = None  # adds masked captions and their targets
    token_draws: int = 0  # random numbers of each token for the method's own use, see `Batch.token_draws`
    full_width: bool = False  # captions are padded to the longest length that is allowed, not to the longest of the batch
    second_caption: SecondCaption = "none"
    negatives: Negatives = "none"  # wrong captions of a share of the rows, as they are or masked as the captions are
    attributes: bool = False  # attribute labels
    space: str | None = None  # the attribute space of these labels, or of the prompts that the method knows
    sentences: SearchSentences | None = None  # makes short sentences about the labels of the rows, see `Batch.sentences`
    partners: bool = False  # the hard partner of each row, where it has one: an image and its caption that are near and wrong
    images_per_person: int = 1  # persons with fewer images are left out
    renumber_persons: bool = False  # identities are 0 ... N-1, as classifiers of identities need them
    group: tuple[int, int] = (1, 1)  # fewest and most rows of one person that follow each other in a batch

    @property
    def least_images(self) -> int:
        """Images that a person must have."""
        return max(self.images_per_person, 2 if self.second_caption == "other_image" else 1)
