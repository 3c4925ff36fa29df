"""APTM (Yang et al., ACM MM 2023): contrast, matching and masked words, of captions and of attribute prompts.

What is costly happens once: one pass over the pictures, one over captions (as they are, changed by EDA, masked), one over prompts and
masked ones; keys and values of a picture are projected once a layer, and the cross encoder is called twice, for captions and for prompts.

Pretraining wants ITC, ITM, MLM and the losses of attributes; fine-tuning for retrieval ITC and ITM of captions and of what EDA makes of
them, and MLM; fine-tuning for recognition the losses of attributes, or a plain classifier instead (aptm.md 3).

Of the losses only ITM depends on how many processes train: its hard negatives come from the rows of the same process, as the authors' do.
Dropout, too, is drawn by each process for itself.

Shapes: B rows, L tokens of a caption, A attributes, P tokens of a prompt, D width of the embeddings, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from mals.errors import UserError
from pretrain import losses, ranks
from pretrain.config import Training
from pretrain.method import Batch, Rule, Text, Wants
from pretrain.methods.classifier import classifier
from pretrain.models.bert import Bert, KeysValues
from pretrain.models.swin import Swin

Masked = Callable[[int], tuple[Text, Tensor]]  # step -> prompts with some tokens replaced, and which ones: [2A, P], -100 elsewhere

SAID = {"caption": "", "eda": "_eda"}  # a text of a row -> the ending of the names of its losses
CONTRAST, MATCH = ("itc", "itc_eda", "iac"), ("itm", "itm_eda", "iam")  # losses of cosines, and of the matching head
CROSSED = ("itm", "itm_eda", "mlm", "iam", "mam")  # losses behind the cross encoder
RAREST = 0.05  # the share of a value from which on it counts no more, so that no picture counts more than ten times
ASKED, SHOWN = 0xA54ED, 0x5403A  # set what all processes draw alike apart from what each draws for itself, by its number


@dataclass(frozen=True)
class Read:
    """Texts as the text encoder has read them."""

    states: Tensor  # [B, L, C]
    mask: Tensor  # [B, L] bool, True for real tokens
    wanted: Tensor  # [B, L] bool: states that a loss asks for


class Aptm(nn.Module):
    """Swin, a BERT in two halves and three heads; names of the parameters are those that `pretrain.official` knows."""

    def __init__(self, config: Training, vocabulary: int, prompts: Text, masked_prompts: Masked) -> None:
        super().__init__()
        vision, words, data = config.vision, config.words, config.data
        self.settings, self.seed = config.aptm, config.seed
        self.swin = Swin(
            data.height, data.width, vision.embed, vision.depths, vision.heads, vision.window, vision.drop_path, config.checkpointing
        )
        width = self.swin.width
        self.bert = Bert(
            vocabulary,
            words.hidden,
            words.layers,
            words.fusion,
            words.heads,
            words.inter,
            words.positions,
            width,
            words.dropout,
        )
        self.vision_proj = nn.Linear(width, self.settings.proj)
        self.text_proj = nn.Linear(words.hidden, self.settings.proj)
        self.temp = nn.Parameter(torch.tensor(self.settings.temperature))
        twice = 2 * words.hidden
        self.itm_head = nn.Sequential(nn.Linear(words.hidden, twice), nn.LayerNorm(twice), nn.GELU(), nn.Linear(twice, 2))
        self.masked_prompts = masked_prompts
        self.register_buffer("prompt_ids", prompts.ids, persistent=False)
        self.register_buffer("prompt_mask", prompts.mask, persistent=False)
        self.register_buffer("value_weights", torch.ones(len(prompts.ids) // 2, 2), persistent=False)
        self.classifier = classifier(width, len(prompts.ids) // 2) if self.settings.classifier else None
        self.wants = Wants(
            captions=self.settings.reads,
            masked=self.settings.reads and self.weighs("mlm"),
            other="eda" if self.settings.reads and self.weighs("itc_eda", "itm_eda") else "none",
            attributes=self.settings.recognises,
        )
        self.rules: tuple[Rule, ...] = ()
        if not self.settings.reads and not self.settings.recognises:
            raise UserError("aptm.weights are all 0: there is nothing to train")
        self._freeze_untrained()

    def balance(self, labels: Tensor) -> None:
        """Let both values of an attribute count half each in IAC and IAM, however rare one is among the labels [N, A] of the data."""
        shares = torch.stack([(labels == value).sum(0) for value in (0, 1)], 1).float()
        shares /= shares.sum(1, keepdim=True).clamp(min=1)
        self.get_buffer("value_weights").copy_(0.5 / shares.clamp(min=RAREST))

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method; which losses there are follows from the weights."""
        draws = generator(batch.images.device, self.seed, step, ranks.rank())
        tokens = self.swin(batch.images).tokens
        if self.classifier is not None and batch.labels is not None:
            known = ranks.average((batch.labels >= 0).sum().float())
            return {"classifier": losses.classified(self.classifier(tokens[:, 0]), batch.labels, known)}
        image = self._image(tokens)
        keys = self.bert.project(tokens) if self.weighs(*CROSSED) else []
        found: dict[str, Tensor] = {}
        if self.wants.captions:
            found |= self._captions(batch, image, keys, draws)
        if self.wants.attributes:
            found |= self._attributes(batch, image, keys, step)
        return {name: getattr(self.settings.weights, name) * loss for name, loss in found.items()}

    def weighs(self, *names: str) -> bool:
        """Whether one of these losses is trained."""
        return any(getattr(self.settings.weights, name) for name in names)

    def _freeze_untrained(self) -> None:
        """Only what a loss reaches is trained: DistributedDataParallel waits for the gradient of every parameter that is."""
        parts: dict[tuple[str, ...], list[nn.Module | nn.Parameter]] = {
            CONTRAST: [self.vision_proj, self.text_proj, self.temp],
            MATCH: [self.itm_head],
            ("mlm", "mam"): [self.bert.head],
            CROSSED: [*self.bert.cross_layers],
        }
        for names, some in parts.items():
            if not self.weighs(*names):
                for part in some:
                    part.requires_grad_(False)
        if self.classifier is not None:
            for part in (self.vision_proj, self.text_proj, self.temp, self.itm_head, self.bert):
                part.requires_grad_(False)

    def classify(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, A] in {0, 1}: what the classifier says of each attribute."""
        assert self.classifier is not None
        return (self.classifier(self.swin(images).tokens[:, 0]) > 0).long()

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D] of length 1."""
        return self._image(self.swin(images).tokens)

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D] of length 1."""
        return self._text(self.bert.text(text.ids, text.mask))

    def match(self, states: Tensor, mask: Tensor, keys: KeysValues, images: Tensor | None = None) -> Tensor:
        """Whether texts [R, L, C] are true of pictures, by number [R] (None: each its own): logits [R, 2], the second for yes."""
        return self.itm_head(self.bert.fuse(states, mask, keys, images, starts(mask)))

    def _image(self, tokens: Tensor) -> Tensor:
        return normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def _text(self, states: Tensor) -> Tensor:
        return normalize(self.text_proj(states[:, 0]).float(), dim=-1)

    def _read(self, batch: Batch) -> dict[str, Read]:
        """The captions, what EDA made of them and the masked ones, as far as they are wanted, in one pass."""
        texts = {"caption": (batch.text, batch.text.mask)}
        if self.wants.other == "eda" and batch.other is not None:
            texts["eda"] = (batch.other, batch.other.mask)
        if self.wants.masked and batch.masked is not None and batch.targets is not None:
            texts["masked"] = (batch.masked, batch.targets != -100)
        wide = max(text.ids.shape[1] for text, _ in texts.values())
        rows = [[pad(one, (0, wide - one.shape[1])) for one in (text.ids, text.mask, wanted)] for text, wanted in texts.values()]
        ids, mask, wanted = (torch.cat(column) for column in zip(*rows, strict=True))
        parts = zip(*(whole.split(len(batch.rows)) for whole in (self.bert.text(ids, mask, wanted), mask, wanted)), strict=True)
        return {name: Read(*part) for name, part in zip(texts, parts, strict=True)}

    def _itc(self, image: Tensor, text: Tensor, persons: Tensor) -> Tensor:
        everyone = ranks.gather_ids(persons)
        if self.settings.itc_gather == "reference":  # every process has the loss of all rows, and passes on the gradient of its own
            image, text, persons = own_slice(image), own_slice(text), everyone
            return losses.itc(image, text, image, text, persons[:, None] == everyone, self.temp)
        return losses.itc(image, text, ranks.gather(image), ranks.gather(text), persons[:, None] == everyone, self.temp)

    def _captions(self, batch: Batch, image: Tensor, keys: KeysValues, draws: torch.Generator) -> dict[str, Tensor]:
        """ITC; ITM and MLM in one call of the cross encoder: true pairs, hard pictures of texts, hard texts of pictures, masked texts."""
        read, found, own = self._read(batch), {}, torch.arange(len(image), device=image.device)
        rows: list[tuple[Tensor, ...]] = []  # states, mask, picture, and which states are wanted
        matches = []
        for name, ending in SAID.items():
            if name in read:
                states, mask = read[name].states, read[name].mask
                text = self._text(states)
                if self.weighs(f"itc{ending}"):
                    found[f"itc{ending}"] = self._itc(image, text, batch.persons)
                if self.weighs(f"itm{ending}"):
                    matches.append(f"itm{ending}")
                    picture, other = self._negatives(image, text, batch.persons, draws)
                    first = starts(mask)
                    rows += [(states, mask, own, first), (states, mask, picture, first), (states[other], mask[other], own, first)]
        if "masked" in read:
            rows.append((read["masked"].states, read["masked"].mask, own, read["masked"].wanted))
        if not rows:
            return found
        states, mask, images, wanted = (torch.cat(column) for column in zip(*rows, strict=True))
        fused = self.bert.fuse(states, mask, keys, images, wanted)
        wrong = torch.where((batch.persons[:, None] == batch.persons).all(1), -100, 0)  # nobody else there: no negative, not counted
        for name in matches:
            pairs, fused = fused[: 3 * len(own)], fused[3 * len(own) :]
            found[name] = losses.matching(self.itm_head(pairs), torch.cat([torch.ones_like(wrong), wrong, wrong]))
        if batch.targets is not None and "masked" in read:
            found["mlm"] = self._words(fused, batch.targets)
        return found

    @torch.no_grad()
    def _negatives(self, image: Tensor, text: Tensor, persons: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """A picture for each text and a text for each picture [B], of another person, drawn by their likeness to it."""
        scores = image @ text.T / self.temp
        same = persons[:, None] == persons
        return draw(scores.T, same, draws), draw(scores, same, draws)

    def _words(self, states: Tensor, targets: Tensor) -> Tensor:
        """MLM of the states [M, C] of the places of targets [R, L] where a word is asked for."""
        asked = targets != -100
        count = ranks.average(asked.sum().float())
        return losses.masked_words(self.bert.words(states), targets[asked], count)

    def _attributes(self, batch: Batch, image: Tensor, keys: KeysValues, step: int) -> dict[str, Tensor]:
        """IAC, and IAM and MAM in one call of the cross encoder."""
        assert batch.labels is not None
        weights, labels = self.settings.weights, batch.labels
        prompts, prompt_mask, masked, targets = self._prompts(step)
        known = ranks.average((labels >= 0).sum(0).float())
        found = {}
        if weights.iac:
            features = self._text(prompts)
            found["iac"] = losses.attribute_contrast(
                image, features, labels, self.temp, self.settings.smoothing, known, self._weighed(labels)
            )
        texts, masks, images, wanted = [], [], [], []
        true = losses.prompt_labels(labels)
        if weights.iam:
            asked = self._asked(len(labels), step)
            texts, masks = [prompts[asked.flatten()]], [prompt_mask[asked.flatten()]]
            images = [torch.arange(len(labels), device=labels.device).repeat_interleave(asked.shape[1])]
            wanted = [starts(masks[0])]
        if weights.mam and masked is not None and targets is not None:
            prompt, shown = self._shown(true, step)
            texts, masks, images = [*texts, masked[prompt]], [*masks, prompt_mask[prompt]], [*images, shown]
            wanted += [targets[prompt] != -100]
        if not texts:
            return found
        fused = self.bert.fuse(torch.cat(texts), torch.cat(masks), keys, torch.cat(images), torch.cat(wanted))
        if weights.iam:
            answers = true.gather(1, asked)
            count = ranks.average((answers >= 0).sum(0).float())
            logits = self.itm_head(fused[: asked.numel()]).unflatten(0, asked.shape)
            found["iam"] = losses.attribute_matching(logits, answers, self.settings.smoothing, count, self._weighed(answers, asked))
        if weights.mam and targets is not None:
            found["mam"] = self._words(fused[asked.numel() if weights.iam else 0 :], targets[prompt])
        return found

    def _weighed(self, labels: Tensor, asked: Tensor | None = None) -> Tensor | None:
        """What labels [B, A] count, or the answers [B, prompts] to the prompts that were asked; None where all count the same."""
        if not self.settings.balanced:
            return None
        weights = self.get_buffer("value_weights")
        if asked is None:
            return torch.where(labels == 1, weights[:, 1], weights[:, 0])
        return torch.where(labels == 1, weights.flatten()[asked], weights.flip(1).flatten()[asked])

    def _prompts(self, step: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """States [2A, P, C] and mask of the prompts; states and targets of the masked ones where they are wanted."""
        ids, mask = self.prompt_ids, self.prompt_mask
        assert isinstance(ids, Tensor) and isinstance(mask, Tensor)
        if not self.settings.weights.mam:
            return self.bert.text(ids, mask, mask), mask, None, None
        text, targets = self.masked_prompts(step)
        wide = ids.shape[1]
        masked = pad(text.ids, (0, wide - text.ids.shape[1]))[:, :wide].to(ids.device)
        targets = pad(targets, (0, wide - targets.shape[1]), value=-100).to(ids.device)
        states = self.bert.text(torch.cat([ids, masked]), torch.cat([mask, mask]), torch.cat([mask, targets != -100]))
        return states[: len(ids)], mask, states[len(ids) :], targets

    def _asked(self, rows: int, step: int) -> Tensor:
        """The numbers of the prompts that IAM asks each row about, no two alike: [B, prompts], drawn for the rows of all processes."""
        prompts = self.prompt_ids
        assert isinstance(prompts, Tensor)
        draws = generator(prompts.device, self.seed, step, ASKED)
        everyone = ranks.world() * rows if self.settings.prompts_per_image else 1
        order = torch.rand(everyone, len(prompts), generator=draws, device=prompts.device).argsort(1)[:, : self.settings.prompts]
        return order[ranks.rank() * rows :][:rows] if everyone > 1 else order.expand(rows, -1)

    def _shown(self, true: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """For each prompt that is true of any row of any process one of these rows: those that are this process's, prompts and rows [M]."""
        everyone = ranks.gather_ids(true)
        draws = generator(true.device, self.seed, step, SHOWN)
        chance = torch.rand(everyone.shape, generator=draws, device=true.device).masked_fill(everyone != 1, -1.0)
        best, row = chance.max(0)
        mine = (best >= 0) & (row // len(true) == ranks.rank())
        (prompt,) = mine.nonzero(as_tuple=True)
        return prompt, row[prompt] % len(true)


def draw(scores: Tensor, same: Tensor, draws: torch.Generator) -> Tensor:
    """For each row of scores [B, B] another one, likelier the higher the score, none of the same person where there are others."""
    likely = scores.softmax(1).nan_to_num(0)  # scores that are no numbers are for the loop to tell, which sees the loss
    likely = likely.add(1e-5).masked_fill(same, 0)  # the authors' constant: nothing is impossible
    likely = torch.where(same.all(1, keepdim=True), 1.0, likely)
    return torch.multinomial(likely, 1, generator=draws).squeeze(1)


def starts(mask: Tensor) -> Tensor:
    """True at the first token of each text, of as many as a mask [R, L]."""
    return torch.zeros_like(mask, dtype=torch.bool).index_fill_(1, torch.zeros(1, dtype=torch.int64, device=mask.device), True)


def own_slice(own: Tensor) -> Tensor:
    """Rows of all ranks, of which only this one's carry a gradient: 1 / ranks of the whole one, as the authors' gather gives."""
    everyone = ranks.gather_ids(own.detach())
    if len(everyone) == len(own):
        return own
    first = ranks.rank() * len(own)
    return torch.cat([everyone[:first], own, everyone[first + len(own) :]])


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Random numbers that are a function of `numbers`."""
    import numpy as np

    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) & ((1 << 63) - 1)
    return torch.Generator(device).manual_seed(seed)
