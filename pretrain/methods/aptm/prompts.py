"""APTM's losses of attribute prompts: contrast (IAC), matching (IAM), masked tokens (MAM).

Shapes: B rows, A attributes, P tokens of a prompt. Prompt 2a + v says that attribute a has the value v.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from mals.attributes import load_space
from pretrain import losses, ranks
from pretrain.data.random_numbers import uniform
from pretrain.data.tokenizers.base import Tokenizer
from pretrain.data.tokenizers.masking import Masked, MaskingRule
from pretrain.host import to_device
from pretrain.method import Text
from pretrain.methods.aptm.towers import Question, Towers, first_tokens
from pretrain.random_rows import generator
from pretrain.towers import attention
from pretrain.towers.bert import Texts

RAREST = 0.05  # the share of a value below which its weight grows no more, so that no image counts more than ten times
HOST = torch.device("cpu")
MASKS, IAM_PROMPTS, MAM_IMAGES = 0x9207, 0xA54ED, 0x5403A  # set the random numbers of each use apart from the others


def prompts_of(space: str) -> list[str]:
    """The 2A prompts of an attribute space."""
    return [prompt for pair in load_space(space).prompts for prompt in pair]


class PromptMasks:
    """The masked prompts of a step."""

    def __init__(self, prompts: Text, tokenizer: Tokenizer, rule: MaskingRule, seed: int) -> None:
        self.prompts, self.tokenizer, self.rule, self.seed = prompts, tokenizer, rule, seed

    def __call__(self, step: int) -> Masked:
        """The prompts with some tokens masked, and their targets: [2A, P], -100 elsewhere."""
        count = self.rule.count(self.tokenizer.max_tokens)
        random = uniform((self.seed, step, MASKS), range(len(self.prompts.ids)), count)
        return self.rule.mask(self.prompts, random, self.tokenizer)


class PromptLosses(Towers):
    """IAC, IAM and MAM."""

    prompt_masks: Callable[[int], Masked]  # step -> the masked prompts, and their targets

    def register_prompts(self, prompts: Text) -> None:
        """Keep the prompts [2A, P] on the device of the parameters, and their mask on the host."""
        self.register_buffer("prompt_ids", prompts.ids.clone(), persistent=False)
        self.register_buffer("prompt_mask", prompts.mask.clone(), persistent=False)
        self.prompt_mask_on_host = prompts.mask
        self.register_buffer("value_weights", torch.ones(len(prompts.ids) // 2, 2), persistent=False)

    def balance(self, labels: Tensor) -> None:
        """Give both values of an attribute half of the weight in IAC and IAM, however rare one is among the labels [N, A] of the data."""
        shares = torch.stack([(labels == value).sum(0) for value in (0, 1)], 1).float()
        shares /= shares.sum(1, keepdim=True).clamp(min=1)
        self.get_buffer("value_weights").copy_(0.5 / shares.clamp(min=RAREST))

    def prompt_texts(self, step: int) -> tuple[dict[str, Texts], Tensor | None]:
        """The prompts, the masked ones where they are needed, and the targets of these [2A, P], on the host."""
        ids, mask, host_mask = self.get_buffer("prompt_ids"), self.get_buffer("prompt_mask"), self.prompt_mask_on_host
        texts = {"prompt": Texts(ids, mask, host_mask, host_mask=host_mask)}
        if not self.weighs("mam"):
            return texts, None
        text, targets = self.prompt_masks(step)
        wide = ids.shape[1]
        masked = to_device(pad(text.ids, (0, wide - text.ids.shape[1]))[:, :wide], ids.device)
        targets = pad(targets, (0, wide - targets.shape[1]), value=losses.IGNORED)
        return texts | {"masked_prompt": Texts(masked, mask, targets != losses.IGNORED, host_mask=host_mask)}, targets

    def contrast_prompts(
        self, read: Mapping[str, Texts], image: Tensor, labels: Tensor, means: ranks.Means
    ) -> Callable[[], dict[str, Tensor]]:
        """IAC, once all counts were named to `means`."""
        if not self.weighs("iac"):
            return dict
        known, prompts = means.of((labels >= 0).sum(0).float()), self.text_features(read["prompt"].values)
        weights = self._label_weights(labels)
        return lambda: {"iac": losses.attribute_contrast(image, prompts, labels, self.temp, self.own.smoothing, known(), weights)}

    def ask_prompts(
        self, read: Mapping[str, Texts], labels: Tensor, targets: Tensor | None, true_of_all: Tensor, step: int, means: ranks.Means
    ) -> dict[str, Question]:
        """IAM and MAM; the targets, and which prompts are true of the rows of all ranks [N, 2A], are of the host."""
        questions, device = {}, labels.device
        if self.weighs("iam"):
            states, mask = read["prompt"].values, read["prompt"].mask
            on_host = self.draw_prompts(len(labels), step)
            drawn = to_device(on_host, device)
            answers = losses.prompt_labels(labels).gather(1, drawn)
            count, weights = means.of((answers >= 0).sum(0).float()), self._label_weights(answers, drawn)

            def matching(fused: Tensor) -> Tensor:
                logits = self.itm_head(fused).unflatten(0, drawn.shape)
                return losses.attribute_matching(logits, answers, self.own.smoothing, count(), weights)

            host_masks, count_of_each = self.prompt_mask_on_host[on_host.flatten()], drawn.shape[1]
            texts = Texts(states[drawn.flatten()], mask[drawn.flatten()], first_tokens(host_masks), None, host_masks, count_of_each)
            if not attention.on_gpu(device):  # where copies of an image's keys and values cost little
                texts = texts.paired()
            questions["iam"] = Question(texts, matching)
        if "masked_prompt" in read:
            assert targets is not None
            masked, (prompts, rows) = read["masked_prompt"], self.draw_images(true_of_all, len(labels), step)
            hidden, shown = targets[prompts], to_device(prompts, device)
            selected, host_masks = hidden != losses.IGNORED, self.prompt_mask_on_host[prompts]
            texts = Texts(masked.values[shown], masked.mask[shown], selected, to_device(rows, device), host_masks)
            questions["mam"] = self.ask_tokens(texts, hidden, means)
        return questions

    def _label_weights(self, labels: Tensor, prompts: Tensor | None = None) -> Tensor | None:
        """The weights of labels [B, A], or of answers [B, P] to the prompts of these numbers; None where all are equal."""
        if not self.own.balanced:
            return None
        weights = self.get_buffer("value_weights")
        if prompts is None:
            return torch.where(labels == 1, weights[:, 1], weights[:, 0])
        return torch.where(labels == 1, weights.flatten()[prompts], weights.flip(1).flatten()[prompts])

    def draw_prompts(self, rows: int, step: int) -> Tensor:
        """The numbers of the prompts that IAM uses for each row, all different: [B, prompts] of the host, drawn for all ranks' rows."""
        draws = generator(HOST, self.seed, step, IAM_PROMPTS)
        everyone = ranks.world_size() * rows if self.own.prompts_per_image else 1
        count = len(self.prompt_mask_on_host)
        order = torch.rand(everyone, count, generator=draws).argsort(1)[:, : self.own.prompts]
        return order[ranks.rank() * rows :][:rows] if everyone > 1 else order.expand(rows, -1)

    def draw_images(self, true_of_all: Tensor, rows: int, step: int) -> tuple[Tensor, Tensor]:
        """For each prompt that is true of a row of any rank, [N, 2A], one such row: of the `rows` on this rank prompts [M] and rows [M].

        All of it is of the host.
        """
        draws = generator(HOST, self.seed, step, MAM_IMAGES)
        random = torch.rand(true_of_all.shape, generator=draws).masked_fill(true_of_all != 1, -1.0)
        best, row = random.max(0)
        mine = (best >= 0) & (row // rows == ranks.rank())
        (prompts,) = mine.nonzero(as_tuple=True)
        return prompts, row[prompts] % rows
