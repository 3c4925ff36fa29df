"""The step of APTM for `benchmarks.step`: its sizes, a batch, and the repeated work of the authors' code."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import AdamW

from benchmarks.step_case import Case
from mals.attributes import load_space
from mals.settings import merge
from pretrain import losses
from pretrain import settings as training_settings
from pretrain.config import Training
from pretrain.data.tokenizers import Tokenizer, WordPiece
from pretrain.data.tokenizers.masking import WholeWordMasking
from pretrain.data.tokenizers.vocabulary import SPECIAL, train_vocabulary
from pretrain.method import Batch, Text
from pretrain.methods.aptm.method import Aptm
from pretrain.schedule import groups

PRESET = "aptm"  # the full size
LENGTHS = (20, 30)  # tokens of the shortest and the longest caption
WIDTH, SLOTS = 56, 10  # of a caption in the authors' code: tokens with padding, masked places (docs/papers/mals.md, Losses)


def case(preset: str, dtype: str, compiled: bool, rows: int, **top_level: Any) -> Case:
    """What is measured: 214 M parameters at full size, a vocabulary of 30,522, images of 384x128."""
    config = settings(preset, dtype, compiled, **top_level)
    tokenizer = vocabulary(config.data.vocabulary)
    method = Aptm.build(config, tokenizer)
    optimizer = AdamW(groups(method, method.rules, rate=1e-4, decay=0.01))
    batch = batch_of(config, tokenizer, rows)
    return Case(config, method, batch, Published(method), optimizer, tokenizer, partial(batch_of, config, tokenizer, rows))


def settings(preset: str, dtype: str, compiled: bool = False, **top_level: Any) -> Training:
    """A preset from scratch; `top_level` are further settings."""
    scratch = {"preset": preset, "dtype": dtype, "compile": compiled, "aptm": {"text": {"start": None}}}
    return training_settings.check(merge(scratch, top_level), "benchmark")


def vocabulary(size: int) -> Tokenizer:
    """A tokenizer of `size` pieces that knows the words of the prompts, as BERT's does, and otherwise pieces that no caption has."""
    known = train_vocabulary((prompt for pair in load_space("market1501").prompts for prompt in pair), size)
    return WordPiece.of([*known, *(f"unsaid{number}" for number in range(size - len(known)))])


def batch_of(config: Training, tokenizer: Tokenizer, rows: int, seed: int = 0, longest: int = LENGTHS[1]) -> Batch:
    """Noise for images, captions of any words and at most `longest` tokens, some of them masked, and random labels."""
    draw = np.random.default_rng(seed)
    lengths = torch.from_numpy(draw.integers(LENGTHS[0], longest + 1, rows))
    mask = torch.arange(-(-longest // 8) * 8) < lengths[:, None]
    ids = torch.from_numpy(draw.integers(len(SPECIAL), tokenizer.size, mask.shape)).where(mask, tokenizer.pad)
    assert tokenizer.start is not None
    ids[:, 0] = tokenizer.start
    text = Text(ids, mask)
    rule = WholeWordMasking()
    masked, targets = rule.mask(text, draw.random((rows, rule.count(tokenizer.max_tokens))), tokenizer)
    return Batch(
        rows=torch.arange(rows),
        persons=torch.arange(rows),
        images=torch.from_numpy(draw.standard_normal((rows, 3, config.data.height, config.data.width), np.float32)),
        text=text,
        masked=masked,
        targets=targets,
        labels=torch.from_numpy(draw.integers(-1, 2, (rows, len(load_space("market1501").prompts)))),
    )


class Published(nn.Module):
    """The six losses of a method with the work done as often as in the authors' code (docs/papers/mals.md, Cost).

    One pass over the images, four over texts, nine of the cross encoder, each of which projects keys and values of its rows' images
    anew; captions padded to 56 tokens; the vocabulary's scores for all ten places of a row, empty ones too. Attention is ours.
    """

    def __init__(self, method: Aptm) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method."""
        method, bert = self.method, self.method.bert
        weights = method.own.loss_weights
        tokens = method.swin(batch.images).tokens
        image = method.image_features(tokens)
        text = padded(batch.text)
        states = bert.text(text.ids, text.mask)
        values = {"itc": method.contrast_pairs(image, method.text_features(states), batch.persons)}
        values["itm"] = self.itm(tokens, image, states, text.mask, batch.persons, step)
        assert batch.masked is not None and batch.targets is not None and batch.labels is not None
        masked = padded(batch.masked)
        values["mlm"] = self.words(tokens, masked, pad(batch.targets, (0, WIDTH - batch.targets.shape[1]), value=-100))
        values |= self.attributes(batch.labels, tokens, image, step)
        return {name: getattr(weights, name) * loss for name, loss in values.items()}

    def itm(self, tokens: Tensor, image: Tensor, states: Tensor, mask: Tensor, persons: Tensor, step: int) -> Tensor:
        """Image-text matching: the true pairs in one call, the hard negatives in another."""
        own = torch.arange(len(states), device=states.device)
        negatives = self.method.hard_negatives({"caption": self.method.text_features(states)}, image, persons, step)["caption"]
        true = self.match(states, mask, tokens)
        wrong = (
            torch.cat([states, states[negatives.texts]]),
            torch.cat([mask, mask[negatives.texts]]),
            tokens[torch.cat([negatives.images, own])],
        )
        return losses.matching(torch.cat([true, self.match(*wrong)]), (torch.arange(3 * len(own), device=own.device) < len(own)).long())

    def attributes(self, labels: Tensor, tokens: Tensor, image: Tensor, step: int) -> dict[str, Tensor]:
        """IAC, IAM with one call for each prompt, MAM."""
        method, true = self.method, losses.prompt_labels(labels)
        ids, mask, smoothing = method.get_buffer("prompt_ids"), method.get_buffer("prompt_mask"), method.own.smoothing
        prompts = method.bert.text(ids, mask)
        prompt_losses = {"iac": losses.attribute_contrast(image, method.text_features(prompts), labels, method.temp, smoothing)}
        prompt_numbers = method.draw_prompts(len(labels), step).to(ids.device)
        logits = torch.stack([self.match(prompts[column], mask[column], tokens) for column in prompt_numbers.T], 1)
        prompt_losses["iam"] = losses.attribute_matching(logits, true.gather(1, prompt_numbers), smoothing)
        masked, targets = method.prompt_masks(step)
        prompt, shown = (each.to(ids.device) for each in method.draw_images(true.cpu(), len(labels), step))
        chosen = Text(masked.ids.to(ids.device)[prompt], mask[prompt])
        prompt_losses["mam"] = self.words(tokens[shown], chosen, targets.to(ids.device)[prompt])
        return prompt_losses

    def match(self, states: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
        """Logits [R, 2] of texts and the images of their rows [R, N, C]."""
        return self.method.itm_head(self.method.bert.fuse(states, mask, self.method.bert.project(tokens))[:, 0])

    def words(self, tokens: Tensor, text: Text, targets: Tensor) -> Tensor:
        """The loss of masked tokens: all layers, scores at ten positions of each row."""
        bert = self.method.bert
        fused = bert.fuse(bert.text(text.ids, text.mask), text.mask, bert.project(tokens))
        places = (targets == -100).long().argsort(dim=1, stable=True)
        places = pad(places, (0, max(0, SLOTS - places.shape[1])), mode="replicate")[:, :SLOTS]
        return losses.masked_words(bert.words(fused.gather(1, places[..., None].expand(-1, -1, fused.shape[2]))), targets.gather(1, places))


def padded(text: Text) -> Text:
    """The captions padded to the width in the authors' code."""
    more = (0, WIDTH - text.ids.shape[1])
    return Text(pad(text.ids, more), pad(text.mask, more))
