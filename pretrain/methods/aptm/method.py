"""APTM (Yang et al., ACM MM 2023): contrast, matching and masked words, of captions and of attribute prompts.

What is costly happens once: one pass over the pictures, one over all texts (captions as they are, changed by EDA and masked, prompts
and masked prompts); keys and values of a picture are projected once a layer; one pass of the cross encoder, and one over the vocabulary.

Pretraining wants ITC, ITM, MLM and the losses of attributes; fine-tuning for retrieval ITC and ITM of captions and of what EDA makes of
them, and MLM; fine-tuning for recognition the losses of attributes, or a plain classifier instead (aptm.md 3).

No loss depends on how many processes train: what looks across rows looks across those of all, and the hard negatives of ITM are of any
process (as published, with `negatives: process`, of the same one). Only dropout and drop path are drawn by each process for itself, and the
plain classifier normalises by its own rows.

Shapes: B rows, N rows of all processes, L tokens of a caption, A attributes, P tokens of a prompt, D width of the embeddings, C channels.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from mals.attributes import load_space
from mals.errors import UserError
from pretrain import losses, ranks
from pretrain.config import Aptm as Settings
from pretrain.config import Training
from pretrain.data.random_numbers import uniform
from pretrain.data.rows import ImageTextPairs
from pretrain.data.tokenizers.wordpiece import Tokenizer
from pretrain.method import Ability, Batch, DataNeeds, Method, ParameterRule, Text
from pretrain.methods.aptm import published_weights
from pretrain.methods.aptm.classifier import classifier
from pretrain.methods.aptm.initial_weights import CLASSIFIER, EMBEDDED, late, start_vision
from pretrain.precision import cosines
from pretrain.towers.bert import Bert, KeysValues, Texts
from pretrain.towers.swin import Swin
from pretrain.weights import load_state

Masked = Callable[[int], tuple[Text, Tensor]]  # step -> prompts with some tokens replaced, and which ones: [2A, P], -100 elsewhere

SAID = {"caption": "", "eda": "_eda"}  # a text of a row -> the ending of the names of its losses
CONTRAST, MATCH = ("itc", "itc_eda", "iac"), ("itm", "itm_eda", "iam")  # losses of cosines, and of the matching head
WORDS = ("mlm", "mam")  # losses of words behind masks
CROSSED = (*MATCH, *WORDS)  # losses behind the cross encoder
SCORES = {("contrast",): "cosine", ("match",): "matching logit", ("contrast", "match"): "matching logit + cosine / temperature"}
RAREST = 0.05  # the share of a value from which on it counts no more, so that no picture counts more than ten times
PROMPTS = 0x9207  # sets the masks of the prompts apart from other random numbers
NEED_CAPTIONS = "the losses itc, itm and mlm need (give their weights 0, or a data set with captions)"
NEED = "the losses iac, iam and mam need (give their weights 0, or a data set with labels)"
ASKED, SHOWN, RIVALS = 0xA54ED, 0x5403A, 0x41BA15  # what random numbers are for: one use does not move those of another


@dataclass(frozen=True)
class Rivals:
    """Hard negatives of B rows, by their number among all N, or among the B where processes keep to their own."""

    pictures: Tensor  # [B]: a picture for each text
    texts: Tensor  # [B]: a text for each picture
    none: Tensor  # [B], True where nobody else is there


@dataclass(frozen=True)
class Question:
    """Texts that are set against pictures, and the loss of what the cross encoder makes of them."""

    texts: Texts
    loss: Callable[[Tensor], Tensor]  # of the wanted states [M, C], or of their scores for words [M, vocabulary]


class Aptm(Method):
    """Swin, a BERT in two halves and three heads; its parameters have the names that `pretrain.methods.aptm.published_weights` knows."""

    title = "APTM (Yang et al., ACM MM 2023)"

    @classmethod
    def data_needs(cls, config: Training) -> DataNeeds:
        settings, weights = settings_of(config), settings_of(config).weights
        return DataNeeds(
            captions=settings.reads,
            masked=settings.reads and weights.mlm > 0,
            second_caption="eda" if settings.reads and (weights.itc_eda or weights.itm_eda) else "none",
            attributes=settings.recognises,
            space=settings.space,
            need="the classifier needs" if settings.classifier else NEED,
            need_captions=NEED_CAPTIONS,
            padding=settings.count_padding,
        )

    @classmethod
    def vocabulary_texts(cls, config: Training) -> list[str]:
        return [prompt for pair in load_space(settings_of(config).space).prompts for prompt in pair]

    @classmethod
    def build(cls, config: Training, tokenizer: Tokenizer) -> Self:
        prompts = tokenizer.encode(cls.vocabulary_texts(config), multiple=1)

        def masked(step: int) -> tuple[Text, Tensor]:
            chance = uniform((config.seed, step, PROMPTS), range(len(prompts.ids)), tokenizer.numbers)
            return tokenizer.mask(prompts, chance, settings_of(config).count_padding)

        torch.manual_seed(config.seed)
        return cls(config, tokenizer.size, prompts, masked)

    @classmethod
    def inherited_settings(cls, config: Training) -> dict[str, Any]:
        sizes = {part: {**getattr(config, part).model_dump(mode="json"), "start": None} for part in ("vision", "words")}
        return {**sizes, "aptm": {"proj": settings_of(config).proj}}

    @classmethod
    def read_weights(cls, source: str) -> dict[str, Tensor]:
        return published_weights.read_aptm(source)

    def __init__(self, config: Training, vocabulary: int, prompts: Text, masked_prompts: Masked) -> None:
        super().__init__()
        vision, words, data = config.vision, config.words, config.data
        self.settings, self.seed, self.longest = settings_of(config), config.seed, data.max_tokens
        self.positions = words.positions
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
            config.checkpointing,
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
        self.needs = self.data_needs(config)
        self.abilities = self._learnt()
        if not self.settings.reads and not self.settings.recognises:
            raise UserError("aptm.weights are all 0: there is nothing to train")
        self._freeze_untrained()

    def load_initial_weights(self, config: Training, pairs: ImageTextPairs) -> None:
        """Weights of the whole instead of those of its towers; what words.start does not have of the text encoder learns faster."""
        new: list[str] = []
        if self.settings.balanced and pairs.labels is not None:
            self.balance(pairs.labels)
        if config.start:
            load_state(self, self.read_weights(config.start), config.start, CLASSIFIER)
        else:
            if config.vision.start:
                start_vision(self.swin, config.vision.start)
            if config.words.start:
                new = [f"bert.{name}" for name in published_weights.start_bert(self.bert, config.words.start)]
        if new:
            self.rules = (*self.rules, ParameterRule("|".join(f"^{re.escape(name)}$" for name in new), rate=config.optimizer.new_rate))
        if config.optimizer.late_rate != 1:
            self.rules = (*self.rules, ParameterRule(late(config), rate=config.optimizer.late_rate))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {
            "vision encoder (Swin)": [self.swin],
            "text encoder (BERT, first layers)": [self.bert.embeddings, *self.bert.layers[: self.bert.fusion]],
            "cross encoder (BERT, last layers)": list(self.bert.cross_layers),
        }

    def initial_weights(self, config: Training) -> dict[str, tuple[str | None, bool]]:
        vision = config.vision.start
        return {"The vision encoder": (vision, vision not in (None, EMBEDDED)), "The text encoder": (config.words.start, False)}

    def balance(self, labels: Tensor) -> None:
        """Let both values of an attribute count half each in IAC and IAM, however rare one is among the labels [N, A] of the data."""
        shares = torch.stack([(labels == value).sum(0) for value in (0, 1)], 1).float()
        shares /= shares.sum(1, keepdim=True).clamp(min=1)
        self.get_buffer("value_weights").copy_(0.5 / shares.clamp(min=RAREST))

    def forward(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """See pretrain.method.Method; which losses there are follows from the weights."""
        tokens = self.swin(batch.images).tokens
        if self.classifier is not None and batch.labels is not None:
            known = ranks.mean_over_ranks((batch.labels >= 0).sum().float())
            return {"classifier": losses.classified(self.classifier(tokens[:, 0]), batch.labels, known)}
        image = self._image(tokens)
        texts = self._captions(batch) if self.needs.captions else {}
        targets = None
        if self.needs.attributes:
            prompts, targets = self._prompts(step)
            texts |= prompts
        read = {name: replace(texts[name], given=states) for name, states in zip(texts, self.bert.read(list(texts.values())), strict=True)}
        found: dict[str, Tensor] = {}
        questions: dict[str, Question] = {}
        if self.needs.captions:
            features = {name: self._text(read[name].given) for name in SAID if name in read}
            found |= self._contrast(features, image, batch.persons)
            rivals = self._rivals(features, image, batch.persons, step)
            questions |= self._ask_captions(read, rivals, batch)
            tokens = self._with_rivals(tokens, rivals)
        if self.needs.attributes:
            assert batch.labels is not None
            found |= self._contrast_prompts(read, image, batch.labels)
            questions |= self._ask_prompts(read, batch.labels, targets, step)
        found |= self._answers(questions, tokens)
        return {name: weight * found[name] for name, weight in self.settings.weights if name in found}

    def weighs(self, *names: str) -> bool:
        """Whether one of these losses is trained."""
        return any(getattr(self.settings.weights, name) for name in names)

    def _learnt(self) -> frozenset[Ability]:
        """What the losses teach: by a matching head that never saw a caption nothing is ordered."""
        if self.settings.classifier:
            return frozenset({"classify"})
        taught: dict[Ability, bool] = {
            "embed": self.weighs(*CONTRAST),
            "match": self.weighs(*CONTRAST) and self.weighs("itm", "itm_eda"),  # of what is best by cosine
            "recognise": self.weighs(*CONTRAST, *MATCH),
        }
        return frozenset(ability for ability, is_taught in taught.items() if is_taught)

    def _freeze_untrained(self) -> None:
        """Only what a loss reaches is trained: DistributedDataParallel waits for the gradient of every parameter that is."""
        parts: dict[tuple[str, ...], list[nn.Module | nn.Parameter]] = {
            CONTRAST: [self.vision_proj, self.text_proj, self.temp],
            MATCH: [self.itm_head],
            WORDS: [self.bert.head],
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
        assert self.classifier is not None
        return self.classifier(self.swin(images).tokens[:, 0])

    def embed_image(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D] of length 1."""
        return self._image(self.swin(images).tokens)

    def embed_text(self, text: Text) -> Tensor:
        """[B, L] -> [B, D] of length 1."""
        return self._text(self.bert.text(text.ids, text.mask))

    def keys(self, images: Tensor) -> KeysValues:
        return self.bert.project(self.swin(images).tokens)

    def states(self, text: Text) -> Tensor:
        return self.bert.text(text.ids, text.mask)

    def match(self, states: Tensor, mask: Tensor, keys: KeysValues, images: Tensor | None = None) -> Tensor:
        return self.itm_head(self.bert.fuse(states, mask, keys, images, starts(mask)))

    def score_prompts(self, prompts: Text, states: Tensor, images: Tensor, published: bool = False) -> Tensor:
        tokens, asked = self.swin(images).tokens, self._judges(published)
        found = torch.zeros(len(images), len(states), device=states.device)
        if "contrast" in asked:
            found += cosines(self._image(tokens), self._text(states)) / self.temp
        if "match" in asked:
            found += self.match_all(states, prompts.mask, self.bert.project(tokens), len(images)).T
        return found

    def score_name(self, published: bool = False) -> str:
        return SCORES[self._judges(published)]

    def _judges(self, published: bool) -> tuple[str, ...]:
        """What is asked whether a prompt is true: what was trained of contrast and match; as published the match alone, if it was.

        Both together are surer than each: mA 0.752, of the cosine 0.745, of the match 0.742 (a small APTM from scratch on the pedestrian
        world, docs/log.md).
        """
        found = tuple(name for name, losses in {"contrast": CONTRAST, "match": MATCH}.items() if self.weighs(*losses))
        return ("match",) if published and "match" in found else found

    def _image(self, tokens: Tensor) -> Tensor:
        return normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def _text(self, states: Tensor) -> Tensor:
        return normalize(self.text_proj(states[:, 0]).float(), dim=-1)

    def _captions(self, batch: Batch) -> dict[str, Texts]:
        """The captions, what EDA made of them and the masked ones, as far as they are wanted."""
        found = {"caption": Texts(batch.text.ids, batch.text.mask, batch.text.mask)}
        if self.needs.second_caption == "eda" and batch.second_text is not None:
            found["eda"] = Texts(batch.second_text.ids, batch.second_text.mask, batch.second_text.mask)
        if self.needs.masked and batch.masked is not None and batch.targets is not None:
            found["masked"] = Texts(batch.masked.ids, batch.masked.mask, batch.targets != -100)
        return found

    def _prompts(self, step: int) -> tuple[dict[str, Texts], Tensor | None]:
        """The prompts, the masked ones where they are wanted, and the targets of these [2A, P]."""
        ids, mask = self.get_buffer("prompt_ids"), self.get_buffer("prompt_mask")
        found = {"prompt": Texts(ids, mask, mask)}
        if not self.settings.weights.mam:
            return found, None
        text, targets = self.masked_prompts(step)
        wide = ids.shape[1]
        masked = pad(text.ids, (0, wide - text.ids.shape[1]))[:, :wide].to(ids.device, non_blocking=True)
        targets = pad(targets, (0, wide - targets.shape[1]), value=-100).to(ids.device, non_blocking=True)
        return found | {"masked_prompt": Texts(masked, mask, targets != -100)}, targets

    def _itc(self, image: Tensor, text: Tensor, persons: Tensor) -> Tensor:
        everyone = ranks.gather_detached(persons)
        if self.settings.itc_gather == "reference":  # every process has the loss of all rows, and passes on the gradient of its own
            image, text, persons = own_slice(image), own_slice(text), everyone
            return losses.itc(image, text, image, text, persons[:, None] == everyone, self.temp)
        return losses.itc(image, text, ranks.gather(image), ranks.gather(text), persons[:, None] == everyone, self.temp)

    def _contrast(self, features: Mapping[str, Tensor], image: Tensor, persons: Tensor) -> dict[str, Tensor]:
        """ITC of the captions and of what EDA made of them, features [B, D] each."""
        weighed = {f"itc{SAID[name]}": text for name, text in features.items() if self.weighs(f"itc{SAID[name]}")}
        return {loss: self._itc(image, text, persons) for loss, text in weighed.items()}

    @torch.no_grad()
    def _rivals(self, features: Mapping[str, Tensor], image: Tensor, persons: Tensor, step: int) -> dict[str, Rivals]:
        """For each text that ITM is about a picture, and for its picture a text, of another person, drawn by their likeness to it."""
        asked = {name: text for name, text in features.items() if self.weighs(f"itm{SAID[name]}")}
        if not asked:
            return {}
        collect = ranks.gather_detached if self._everywhere else Tensor.detach
        images, everyone = collect(image), collect(persons)
        same, found = persons[:, None] == everyone, {}
        for number, (name, text) in enumerate(asked.items()):
            chance = self._chance(len(persons), step, RIVALS + number, image.device)
            pictures = draw(cosines(text, images) / self.temp, same, chance[:, 0])
            texts = draw(cosines(image, collect(text)) / self.temp, same, chance[:, 1])
            found[name] = Rivals(pictures, texts, same.all(1))
        return found

    @property
    def _everywhere(self) -> bool:
        """Whether negatives are of all processes, and there are several."""
        return ranks.world_size() > 1 and self.settings.negatives == "all"

    def _chance(self, rows: int, step: int, use: int, device: torch.device) -> Tensor:
        """Two numbers for each row in [0, 1), [B, 2], which follow from its place in the whole batch."""
        own = slice(ranks.rank() * rows, (ranks.rank() + 1) * rows)
        draws = generator(device, self.seed, step, use)
        return torch.rand(ranks.world_size() * rows, 2, generator=draws, device=device, dtype=torch.float64)[own]

    def _with_rivals(self, tokens: Tensor, rivals: Mapping[str, Rivals]) -> Tensor:
        """The tokens of all pictures that are looked at [I, N, C]: the own ones, and after them those of other processes' rivals."""
        if not rivals or not self._everywhere:
            return tokens
        everyone = ranks.gather(tokens)
        return torch.cat([tokens, *(everyone.index_select(0, one.pictures) for one in rivals.values())])

    def _ask_captions(self, read: Mapping[str, Texts], rivals: Mapping[str, Rivals], batch: Batch) -> dict[str, Question]:
        """ITM of true pairs, hard pictures of texts and hard texts of pictures; MLM."""
        rows = len(batch.persons)
        found, own = {}, torch.arange(rows, device=batch.persons.device)
        for number, (name, one) in enumerate(rivals.items(), 1):
            states, mask = read[name].given, read[name].mask
            others, masks, pictures = states, mask, one.pictures
            if self._everywhere:
                wide = (0, self.longest - mask.shape[1])  # the same on every process
                states, mask = pad(states, (0, 0, *wide)), pad(mask, wide)
                others, masks, pictures = ranks.gather(states), ranks.gather_detached(mask), own + number * rows
            masks = torch.cat([mask, mask, masks[one.texts]])
            pairs = Texts(torch.cat([states, states, others[one.texts]]), masks, starts(masks), torch.cat([own, pictures, own]))
            wrong = torch.where(one.none, -100, 0)
            found[f"itm{SAID[name]}"] = Question(pairs, self._matched(torch.cat([torch.ones_like(wrong), wrong, wrong])))
        if "masked" in read:
            found["mlm"] = self._ask_words(read["masked"], batch.targets)
        return found

    def _matched(self, true: Tensor) -> Callable[[Tensor], Tensor]:
        """The loss of pairs that are true, false or not to be counted [R]."""
        count = ranks.mean_over_ranks((true != -100).sum().float()) if self._everywhere else None
        return lambda fused: losses.matching(self.itm_head(fused), true, count)

    def _ask_words(self, texts: Texts, targets: Tensor | None) -> Question:
        """The words behind the masks of texts, targets [R, L]."""
        assert targets is not None
        hidden = targets != -100
        count = ranks.mean_over_ranks(hidden.sum().float())
        return Question(texts, lambda scores: losses.masked_words(scores, targets[hidden], count))

    def _answers(self, questions: Mapping[str, Question], tokens: Tensor) -> dict[str, Tensor]:
        """The losses of all questions, in one pass of the cross encoder and one over the vocabulary."""
        if not questions:
            return {}
        states = self.bert.look([one.texts for one in questions.values()], self.bert.project(tokens))
        found = dict(zip(questions, states, strict=True))
        if words := [name for name in WORDS if name in questions]:
            scores = self.bert.words(torch.cat([found[name] for name in words]))
            found |= zip(words, scores.split([len(found[name]) for name in words]), strict=True)
        return {name: one.loss(found[name]) for name, one in questions.items()}

    def _contrast_prompts(self, read: Mapping[str, Texts], image: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """IAC."""
        if not self.settings.weights.iac:
            return {}
        known, prompts = ranks.mean_over_ranks((labels >= 0).sum(0).float()), self._text(read["prompt"].given)
        loss = losses.attribute_contrast(image, prompts, labels, self.temp, self.settings.smoothing, known, self._weighed(labels))
        return {"iac": loss}

    def _ask_prompts(self, read: Mapping[str, Texts], labels: Tensor, targets: Tensor | None, step: int) -> dict[str, Question]:
        """IAM and MAM."""
        found, true = {}, losses.prompt_labels(labels)
        if self.settings.weights.iam:
            states, mask = read["prompt"].given, read["prompt"].mask
            asked = self._asked(len(labels), step)
            answers = true.gather(1, asked)
            count, weights = ranks.mean_over_ranks((answers >= 0).sum(0).float()), self._weighed(answers, asked)

            def matched(fused: Tensor) -> Tensor:
                logits = self.itm_head(fused).unflatten(0, asked.shape)
                return losses.attribute_matching(logits, answers, self.settings.smoothing, count, weights)

            pictures = torch.arange(len(labels), device=labels.device).repeat_interleave(asked.shape[1])
            masks = mask[asked.flatten()]
            found["iam"] = Question(Texts(states[asked.flatten()], masks, starts(masks), pictures), matched)
        if "masked_prompt" in read:
            assert targets is not None
            of, (prompt, shown) = read["masked_prompt"], self._shown(true, step)
            behind = targets[prompt]
            found["mam"] = self._ask_words(Texts(of.given[prompt], of.mask[prompt], behind != -100, shown), behind)
        return found

    def _weighed(self, labels: Tensor, asked: Tensor | None = None) -> Tensor | None:
        """What labels [B, A] count, or the answers [B, prompts] to the prompts that were asked; None where all count the same."""
        if not self.settings.balanced:
            return None
        weights = self.get_buffer("value_weights")
        if asked is None:
            return torch.where(labels == 1, weights[:, 1], weights[:, 0])
        return torch.where(labels == 1, weights.flatten()[asked], weights.flip(1).flatten()[asked])

    def _asked(self, rows: int, step: int) -> Tensor:
        """The numbers of the prompts that IAM asks each row about, no two alike: [B, prompts], drawn for the rows of all processes."""
        prompts = self.get_buffer("prompt_ids")
        draws = generator(prompts.device, self.seed, step, ASKED)
        everyone = ranks.world_size() * rows if self.settings.prompts_per_image else 1
        order = torch.rand(everyone, len(prompts), generator=draws, device=prompts.device).argsort(1)[:, : self.settings.prompts]
        return order[ranks.rank() * rows :][:rows] if everyone > 1 else order.expand(rows, -1)

    def _shown(self, true: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """For each prompt that is true of any row of any process one of these rows: those that are this process's, prompts and rows [M]."""
        everyone = ranks.gather_detached(true)
        draws = generator(true.device, self.seed, step, SHOWN)
        chance = torch.rand(everyone.shape, generator=draws, device=true.device).masked_fill(everyone != 1, -1.0)
        best, row = chance.max(0)
        mine = (best >= 0) & (row // len(true) == ranks.rank())
        (prompt,) = mine.nonzero(as_tuple=True)
        return prompt, row[prompt] % len(true)


def settings_of(config: Training) -> Settings:
    """The settings of this method, which a training of it has."""
    assert config.aptm is not None
    return config.aptm


def draw(scores: Tensor, same: Tensor, chance: Tensor) -> Tensor:
    """For each row of scores [B, N] a column, likelier the higher the score, none of the same person where there are others.

    `chance` [B] in [0, 1) picks it from their sums, and nothing is read back to the host.
    """
    likely = scores.double().softmax(1).nan_to_num(0)  # scores that are no numbers are for the loop to tell, which sees the loss
    likely = likely.add(1e-5).masked_fill(same, 0)  # the authors' constant: nothing is impossible
    sums = torch.where(same.all(1, keepdim=True), 1.0, likely).cumsum(1)
    return (sums <= chance[:, None] * sums[:, -1:]).sum(1).clamp(max=scores.shape[1] - 1)


def starts(mask: Tensor) -> Tensor:
    """True at the first token of each text, of as many as a mask [R, L]."""
    return torch.zeros_like(mask, dtype=torch.bool).index_fill_(1, torch.zeros(1, dtype=torch.int64, device=mask.device), True)


def own_slice(own: Tensor) -> Tensor:
    """Rows of all ranks, of which only this one's carry a gradient: 1 / ranks of the whole one, as the authors' gather gives."""
    everyone = ranks.gather_detached(own.detach())
    if len(everyone) == len(own):
        return own
    first = ranks.rank() * len(own)
    return torch.cat([everyone[:first], own, everyone[first + len(own) :]])


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Random numbers that are a function of `numbers`."""
    import numpy as np

    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) & ((1 << 63) - 1)
    return torch.Generator(device).manual_seed(seed)
