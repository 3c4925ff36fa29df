"""APTM's losses of captions: contrast (ITC), matching with hard negatives (ITM), masked tokens (MLM).

Shapes: B rows, N rows of all ranks, L tokens of a caption, D width of the embeddings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from pretrain import losses, ranks
from pretrain.method import Batch
from pretrain.methods.aptm.sampling import draw, own_slice
from pretrain.methods.aptm.towers import Question, Towers, first_tokens
from pretrain.precision import cosines
from pretrain.random_rows import generator, own_rows
from pretrain.towers.bert import Texts

WRONG = "wrong"  # the wrong captions among the texts
PARTNER = "partner"  # the captions of hard partners
SUFFIXES = {"caption": "", "eda": "_eda"}  # a text of a row -> the ending of the names of its losses
NEGATIVES = 0x41BA15  # sets the random numbers of hard negatives apart from others


@dataclass(frozen=True)
class HardNegatives:
    """For B rows their hard negatives, by number among all N, or among the B where ranks keep to their own."""

    images: Tensor  # [B]: an image for each text
    texts: Tensor  # [B]: a text for each image
    none: Tensor  # [B], True where all rows are of the same person


class CaptionLosses(Towers):
    """ITC, ITM and MLM."""

    max_caption: int  # tokens of the longest caption

    def caption_texts(self, batch: Batch) -> dict[str, Texts]:
        """The captions, those that EDA changed, masked ones, wrong ones and those of hard partners, as far as they are needed."""
        texts = {"caption": Texts(batch.text.ids, batch.text.mask, batch.text.mask)}
        if self.needs.second_caption == "eda" and batch.second_text is not None:
            texts["eda"] = Texts(batch.second_text.ids, batch.second_text.mask, batch.second_text.mask)
        if self.needs.masking is not None and batch.masked is not None and batch.targets is not None:
            texts["masked"] = Texts(batch.masked.ids, batch.masked.mask, batch.targets != losses.IGNORED)
        if batch.negative is not None:
            texts[WRONG] = Texts(batch.negative.ids, batch.negative.mask, batch.negative.mask)
        if batch.partner_text is not None:
            texts[PARTNER] = Texts(batch.partner_text.ids, batch.partner_text.mask, batch.partner_text.mask)
        return texts

    def contrast_captions(
        self, features: Mapping[str, Tensor], image: Tensor, batch: Batch, wrong: Texts | None = None
    ) -> dict[str, Tensor]:
        """ITC of the captions, beside wrong ones that are read, and of those that EDA changed, features [B, D] each."""
        weighed = {f"itc{SUFFIXES[name]}": text for name, text in features.items() if self.weighs(f"itc{SUFFIXES[name]}")}
        beside = {}
        if wrong is not None and batch.negated is not None and "itc" in weighed:
            beside["itc"] = losses.wrong_cosines(image, self.text_features(wrong.values), batch.negated)
        return {loss: self.contrast_pairs(image, text, batch.persons, batch.weights, beside.get(loss)) for loss, text in weighed.items()}

    def contrast_pairs(
        self, image: Tensor, text: Tensor, persons: Tensor, weights: Tensor | None = None, wrong: Tensor | None = None
    ) -> Tensor:
        """ITC of images and texts [B, D]; `wrong` [B] are cosines with wrong captions."""
        everyone = ranks.gather_detached(persons)
        if self.own.itc_gather == "reference":  # every rank has the loss of all rows, and passes on the gradient of its own
            image, text, persons = own_slice(image), own_slice(text), everyone
            everybody = None if weights is None else ranks.gather_detached(weights)
            beside = None if wrong is None else own_slice(wrong)
            return losses.itc(image, text, image, text, persons[:, None] == everyone, self.temp, everybody, beside)
        same = persons[:, None] == everyone
        return losses.itc(image, text, ranks.gather(image), ranks.gather(text), same, self.temp, weights, wrong)

    @torch.no_grad()
    def hard_negatives(self, features: Mapping[str, Tensor], image: Tensor, persons: Tensor, step: int) -> dict[str, HardNegatives]:
        """For each text that ITM uses an image, and for its image a text, of another person, drawn by their similarity."""
        used = {name: text for name, text in features.items() if self.weighs(f"itm{SUFFIXES[name]}")}
        if not used:
            return {}
        collect = ranks.gather_detached if self.across_ranks else Tensor.detach
        images, everyone = collect(image), collect(persons)
        same, negatives = persons[:, None] == everyone, {}
        for number, (name, text) in enumerate(used.items()):
            random = own_rows(len(persons), 2, generator(image.device, self.seed, step, NEGATIVES + number))
            for_texts = draw(cosines(text, images) / self.temp, same, random[:, 0])
            for_images = draw(cosines(image, collect(text)) / self.temp, same, random[:, 1])
            negatives[name] = HardNegatives(for_texts, for_images, same.all(1))
        return negatives

    @property
    def across_ranks(self) -> bool:
        """Whether negatives are of all ranks, and there are several."""
        return ranks.world_size() > 1 and self.own.negatives == "all"

    def with_negatives(self, tokens: Tensor, negatives: Mapping[str, HardNegatives]) -> Tensor:
        """The tokens of all images that the cross encoder sees [I, N, C]: the own ones, then the negatives of other ranks."""
        if not negatives or not self.across_ranks:
            return tokens
        everyone = ranks.gather(tokens)
        return torch.cat([tokens, *(everyone.index_select(0, each.images) for each in negatives.values())])

    def ask_captions(self, read: Mapping[str, Texts], negatives: Mapping[str, HardNegatives], batch: Batch) -> dict[str, Question]:
        """ITM of true pairs, hard images of texts, hard texts of images and wrong captions; MLM."""
        rows = len(batch.persons)
        own = torch.arange(rows, device=batch.persons.device)
        questions: dict[str, Question] = {}
        for number, (name, hard) in enumerate(negatives.items(), 1):
            states, mask = read[name].values, read[name].mask
            others, masks, images = states, mask, hard.images
            if self.across_ranks:
                states, mask = _padded(read[name], self.max_caption)  # the same on every rank
                others, masks, images = ranks.gather(states), ranks.gather_detached(mask), own + number * rows
            false = torch.where(hard.none, losses.IGNORED, 0)
            pairs = [(states, mask, own, torch.ones_like(false)), (states, mask, images, false)]
            pairs.append((others[hard.texts], masks[hard.texts], own, false))
            if name == "caption" and WRONG in read and batch.negated is not None:
                pairs.append((*_padded(read[WRONG], mask.shape[1]), own, torch.where(batch.negated, 0, losses.IGNORED)))
            values, masks, images, true = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            texts = Texts(values, masks, first_tokens(masks), images)
            questions[f"itm{SUFFIXES[name]}"] = Question(texts, self._matching(true, batch.weights, self.across_ranks))
        if "masked" in read:
            questions["mlm"] = self.ask_tokens(read["masked"], batch.targets, batch.weights)
        return questions

    def ask_partners(self, read: Mapping[str, Texts], partnered: Tensor, first: int, weights: Tensor | None) -> Question:
        """ITM of the images with their hard partners' captions, and of the captions with the partners' images, from token row `first` on.

        Both pairs are wrong, and the loss is the mean over them, 0 where no row [B] is `partnered` (Yang et al., CMP, ICCV 2025).
        """
        own = torch.arange(len(partnered), device=partnered.device)
        texts = (read[PARTNER], read["caption"])
        width = max(each.mask.shape[1] for each in texts)
        values, masks = (torch.cat(parts) for parts in zip(*(_padded(each, width) for each in texts), strict=True))
        false = torch.where(partnered, 0, losses.IGNORED).repeat(2)
        pairs = Texts(values, masks, first_tokens(masks), torch.cat([own, own + first]))
        return Question(pairs, self._matching(false, weights, over_ranks=True))

    def _matching(self, true: Tensor, weights: Tensor | None, over_ranks: bool) -> Callable[[Tensor], Tensor]:
        """The loss of pairs [R] that are true (1), false (0) or not to be counted (-100); rows [B] weigh the pairs drawn for them.

        It is the mean over the pairs of this rank, or `over_ranks` over those of all.
        """
        of_pairs = None if weights is None else weights.repeat(len(true) // len(weights))
        count = ranks.mean_over_ranks((true != losses.IGNORED).sum().float()) if over_ranks else None
        return lambda fused: losses.matching(self.itm_head(fused), true, count, of_pairs)


def _padded(texts: Texts, width: int) -> tuple[Tensor, Tensor]:
    """Values [R, width, C] and mask [R, width] of texts that are not longer."""
    more = (0, width - texts.mask.shape[1])
    return pad(texts.values, (0, 0, *more)), pad(texts.mask, more)
