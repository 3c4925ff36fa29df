"""APTM's losses of captions: contrast (ITC), matching with hard negatives (ITM), masked tokens (MLM).

Shapes: B rows, N rows of all ranks, L tokens of a caption, D width of the embeddings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from pretrain import losses, ranks
from pretrain.host import to_device
from pretrain.method import Batch, Text
from pretrain.methods.aptm.sampling import draw, own_slice
from pretrain.methods.aptm.towers import Question, Towers, first_tokens
from pretrain.precision import cosines
from pretrain.random_rows import generator, own_rows
from pretrain.row_requests import RowRequest, count_requests, request
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
    requests: tuple[RowRequest, RowRequest] | None = None  # of the images and of the texts, where they are of all ranks, once counted


class CaptionLosses(Towers):
    """ITC, ITM and MLM."""

    max_caption: int  # tokens of the longest caption

    def caption_texts(self, batch: Batch) -> dict[str, Texts]:
        """The captions, those that EDA changed, masked ones, wrong ones and those of hard partners, as far as they are needed."""
        host = batch.on_host()
        texts = {"caption": _whole(batch.text, host.text)}
        if self.needs.second_caption == "eda" and batch.second_text is not None:
            texts["eda"] = _whole(batch.second_text, host.second_text)
        if self.needs.masking is not None and batch.masked is not None and host.masked is not None and host.targets is not None:
            texts["masked"] = Texts(batch.masked.ids, batch.masked.mask, host.targets != losses.IGNORED, host_mask=host.masked.mask)
        if batch.negative is not None:
            texts[WRONG] = _whole(batch.negative, host.negative)
        if batch.partner_text is not None:
            texts[PARTNER] = _whole(batch.partner_text, host.partner_text)
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

    def count_negatives(self, negatives: Mapping[str, HardNegatives]) -> list[Tensor]:
        """How many rows the ranks ask each other for, one tensor, on the device; none where there is nothing to ask for."""
        if not self.across_ranks or not negatives:
            return []
        return [count_requests(len(next(iter(negatives.values())).none), *_numbers(negatives))]

    def request_negatives(self, negatives: Mapping[str, HardNegatives], counts: Tensor) -> dict[str, HardNegatives]:
        """The negatives with the requests of their rows; the counts are those of `count_negatives`, on the host."""
        requests = iter(request(len(next(iter(negatives.values())).none), counts, *_numbers(negatives)))
        return {name: replace(each, requests=(next(requests), next(requests))) for name, each in negatives.items()}

    @property
    def across_ranks(self) -> bool:
        """Whether negatives are of all ranks, and there are several."""
        return ranks.world_size() > 1 and self.own.negatives == "all"

    def with_negatives(self, tokens: Tensor, negatives: Mapping[str, HardNegatives]) -> Tensor:
        """The tokens of all images that the cross encoder sees [I, N, C]: the own ones, then the negatives of other ranks."""
        return torch.cat([tokens, *(each.requests[0].fetch(tokens) for each in negatives.values() if each.requests)])

    def masks_of_negatives(self, read: Mapping[str, Texts], negatives: Mapping[str, HardNegatives]) -> dict[str, Tensor]:
        """The masks [B, L] of the hard texts, which the device has drawn."""
        if not self.across_ranks:
            return {name: read[name].mask[hard.texts] for name, hard in negatives.items()}
        wide = {name: ranks.gather_detached(_padded(read[name], self.max_caption).mask) for name in negatives}
        return {name: wide[name][hard.texts] for name, hard in negatives.items()}

    def ask_captions(
        self,
        read: Mapping[str, Texts],
        negatives: Mapping[str, HardNegatives],
        masks_of_negatives: Mapping[str, Tensor],
        batch: Batch,
        means: ranks.Means,
    ) -> dict[str, Question]:
        """ITM of true pairs, hard images of texts, hard texts of images and wrong captions; MLM. The masks are of the host."""
        rows = len(batch.persons)
        own = torch.arange(rows, device=batch.persons.device)
        questions: dict[str, Question] = {}
        for number, (name, hard) in enumerate(negatives.items(), 1):
            texts, images = read[name], hard.images
            if hard.requests is None:
                others = texts.values[hard.texts]
            else:
                texts = _padded(texts, self.max_caption)  # the same on every rank
                others, images = hard.requests[1].fetch(texts.values), own + number * rows
            hard_mask = masks_of_negatives[name]
            hard_texts = Texts(others, to_device(hard_mask, own.device), host_mask=hard_mask)
            false = torch.where(hard.none, losses.IGNORED, 0)
            pairs = [(texts, own, torch.ones_like(false)), (texts, images, false), (hard_texts, own, false)]
            if name == "caption" and WRONG in read and batch.negated is not None:
                wrong = _padded(read[WRONG], texts.mask.shape[1])
                pairs.append((wrong, own, torch.where(batch.negated, 0, losses.IGNORED)))
            pairs_of, images_of, true = zip(*pairs, strict=True)
            matching = self._matching(torch.cat(true), batch.weights, means if self.across_ranks else None)
            questions[f"itm{SUFFIXES[name]}"] = Question(_first_states(pairs_of, torch.cat(images_of)), matching)
        if "masked" in read:
            questions["mlm"] = self.ask_tokens(read["masked"], batch.on_host().targets, means, batch.weights)
        return questions

    def ask_partners(
        self, read: Mapping[str, Texts], partnered: Tensor, first: int, weights: Tensor | None, means: ranks.Means
    ) -> Question:
        """ITM of the images with their hard partners' captions, and of the captions with the partners' images, from token row `first` on.

        Both pairs are wrong, and the loss is the mean over them, 0 where no row [B] is `partnered` (Yang et al., CMP, ICCV 2025).
        """
        own = torch.arange(len(partnered), device=partnered.device)
        width = max(read[name].mask.shape[1] for name in (PARTNER, "caption"))
        pairs = _first_states([_padded(read[name], width) for name in (PARTNER, "caption")], torch.cat([own, own + first]))
        false = torch.where(partnered, 0, losses.IGNORED).repeat(2)
        return Question(pairs, self._matching(false, weights, means))

    def _matching(self, true: Tensor, weights: Tensor | None, means: ranks.Means | None) -> Callable[[Tensor], Tensor]:
        """The loss of pairs [R] that are true (1), false (0) or not to be counted (-100); rows [B] weigh the pairs drawn for them.

        It is the mean over the pairs of this rank, or with `means` over those of all.
        """
        of_pairs = None if weights is None else weights.repeat(len(true) // len(weights))
        count = means.of((true != losses.IGNORED).sum().float()) if means is not None else None
        return lambda fused: losses.matching(self.itm_head(fused), true, count() if count is not None else None, of_pairs)


def _numbers(negatives: Mapping[str, HardNegatives]) -> list[Tensor]:
    """The rows of images and of texts that are asked for, in the order of the requests."""
    return [numbers for each in negatives.values() for numbers in (each.images, each.texts)]


def _whole(text: Text, host: Text | None) -> Texts:
    """A text of which all states are needed that are not padding."""
    assert host is not None
    return Texts(text.ids, text.mask, host.mask, host_mask=host.mask)


def _padded(texts: Texts, width: int) -> Texts:
    """Values [R, width, C] and masks [R, width] of texts that are not longer."""
    assert texts.host_mask is not None
    more = (0, width - texts.mask.shape[1])
    return Texts(pad(texts.values, (0, 0, *more)), pad(texts.mask, more), host_mask=pad(texts.host_mask, more))


def _first_states(texts: Sequence[Texts], images: Tensor) -> Texts:
    """Texts of one width, one after the other, of which the first state is needed, with the numbers of their images."""
    masks, host_masks = torch.cat([each.mask for each in texts]), [each.host_mask for each in texts if each.host_mask is not None]
    host_mask = torch.cat(host_masks)
    return Texts(torch.cat([each.values for each in texts]), masks, first_tokens(host_mask), images, host_mask)
