"""SSAN: features, losses, gradients, running statistics, optimizer and sizes are those of the authors' code; what it does besides."""

import json
import logging
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mals.errors import ModelMissing, UserError
from mals.settings import merge
from pretrain import losses
from pretrain import settings as training_settings
from pretrain.build import open_pairs
from pretrain.config import Training
from pretrain.data.tokenizers import WordList, WordPiece
from pretrain.method import Batch, Text
from pretrain.methods.ssan import LEVELS, Ssan, adapted_margin, published_name, renamed
from pretrain.schedule import factor, groups
from tests.pretrain.packs import pictures, written

GOLDEN = Path(os.environ.get("MALS_GOLDEN") or Path(__file__).parents[2] / "golden") / "methods/ssan"
CASES = [f"{rows}.{mode}.{margin}" for rows in ("drawn", "unique") for mode in ("train", "eval") for margin in ("fixed", "adaptive")]


@cache
def vectors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@cache
def facts(name: str = "facts") -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def words(count: int, longest: int) -> WordList:
    return WordList([f"word{number}" for number in range(count - 1)], longest)


class Recorded(Ssan):
    """The method with the random numbers of the vectors."""

    def random(self, step: int, rows: int, device: torch.device) -> Tensor:
        return vectors()["in.choice"][..., :rows]


def golden() -> Ssan:
    """The authors' small network as our method, with their weights."""
    c = facts("config")
    sizes = {
        "vision": {"stem": c["resnet_stem"], "depths": c["resnet_layers"], "widths": c["resnet_channels"], "start": None},
        "table": c["vocab"],
        "word_width": c["word_width"],
        "word_dropout": 0.0,
        "width": c["feature_length"],
        "relation_width": c["nonlocal_out"],
        "parts": c["parts"],
        "margin": c["margin"],
        "weak_weight": c["beta"],
        "least_margin": c["gate"],
        "adaptive_from": c["epoch_begin"],
        "local_weight": c["weights"]["local"],
    }
    data = {"height": c["image"][0], "width": c["image"][1]}
    config = training_settings.check({"preset": "ssan-cuhk", "data": data, "ssan": sizes})
    method = Recorded(config, words(c["vocab"], c["caption_length_max"]), c["num_ids"])
    state = {name: value.float() for name, value in load_file(GOLDEN / "weights.safetensors").items()}
    method.load_state_dict(renamed(state))
    return method


def batch(rows: str = "drawn", margin: str = "fixed") -> Batch:
    v = vectors()
    chosen = torch.arange(len(v["in.labels"])) if rows == "drawn" else v["in.unique_rows"]
    width = v["in.caption_ids"].shape[1]

    def text(name: str) -> Text:
        return Text(v[f"in.{name}_ids"][chosen], torch.arange(width) < v[f"in.{name}_lengths"][chosen][:, None])

    persons = v["in.labels"] if rows == "drawn" else v["in.unique_labels"]
    first = facts("config")["epoch_begin"]
    return Batch(
        rows=chosen,
        persons=persons,
        images=v["in.images"].float()[chosen],
        text=text("caption"),
        second_text=text("second"),
        epoch=first if margin == "adaptive" else first - 1,
    )


def near(own: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_features_are_the_published_ones(mode: str) -> None:
    method, v, b = golden().train(mode == "train"), vectors(), batch()
    maps = method.image(b.images)
    image = method.image_levels(maps)
    text, second = method.text_levels(b.text), method.text_levels(b.second_text)
    for name, levels in {"image": image, "text": text, "second": second}.items():
        for level in LEVELS:
            near(levels[level].transpose(1, 2), v[f"out.{mode}.{name}_{level}"])
    if mode == "train":
        state = {published_name(name.removeprefix("out.train.bn_after.")): value for name, value in v.items() if "bn_after" in name}
        assert len(state) == 2 * facts("config")["parts"]
        for name, value in state.items():
            near(method.state_dict()[str(name)], value)
    else:
        near(maps, v["out.eval.image_map"])


@pytest.mark.golden
def test_words_embeddings_and_scores_are_the_published_ones() -> None:
    method, v, b = golden().eval(), vectors(), batch()
    for name, table in {"global": method.words_global, "local": method.words_local}.items():
        near(method.reader(table(b.text.ids), b.text.mask).transpose(1, 2), v[f"out.eval.words_{name}"])
    image, text = method.embed_image(b.images), method.embed_text(b.text)
    near(3 * text @ image.T, v["out.eval.similarity"])
    c = facts("config")
    for name, own in {"image": image, "text": text}.items():
        expected = v[f"out.eval.{name}_embedding"]  # a channel has its parts side by side
        sizes = [(1, c["feature_length"]), (c["parts"], c["feature_length"]), (c["parts"], c["nonlocal_out"])]
        blocks = own.split([parts * width for parts, width in sizes], 1)
        theirs = [block.unflatten(1, size).transpose(1, 2).flatten(1) for block, size in zip(blocks, sizes, strict=True)]
        near(3**0.5 * torch.cat(theirs, 1), expected)  # published: each level has length 1


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_the_published_ones(case: str) -> None:
    rows, mode, margin = case.split(".")
    method, v, b = golden().train(mode == "train"), vectors(), batch(rows, margin)
    terms = method(b, 0)
    weights = facts("config")["weights"]
    for level in LEVELS:
        near(terms[f"id_{level}"] / weights[level], v[f"loss.{case}.id_{level}"])
        near(terms[f"rank_{level}"] / weights[level], v[f"loss.{case}.cr_{level}"])
    total = torch.stack(list(terms.values())).sum()
    near(total, v[f"loss.{case}.total"])
    total.backward()
    expected = {str(published_name(name)): value for name, value in facts("grads")[case].items()}
    own = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert own.keys() == expected.keys() and all(value is not None for value in own.values())
    largest = max(value[0] for value in expected.values())
    for name, (norm, _, _) in expected.items():
        assert float(own[name].norm()) == pytest.approx(norm, abs=2e-3 * max(norm, 1e-3 * largest)), name


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_margins_of_second_captions_are_the_published_ones(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, mode, margin = case.split(".")
    used: list[Tensor] = []
    ranking = losses.rank_semihard

    def spy(similarity: Tensor, persons: Tensor, margin: Tensor | float, *rest: Any, **more: Any) -> Tensor:
        if isinstance(margin, Tensor):
            used.append(margin)
        return ranking(similarity, persons, margin, *rest, **more)

    monkeypatch.setattr(losses, "rank_semihard", spy)
    golden().train(mode == "train")(batch(rows, margin), 0)
    near(torch.stack(used), vectors()[f"out.{case}.weak_margin"])


@cache
def full() -> Ssan:
    """The method at full size, as for CUHK-PEDES."""
    config = training_settings.check({"preset": "ssan-cuhk"})
    with torch.device("meta"):
        return Ssan(config, words(4_594, 100), facts()["classes"])


@pytest.mark.golden
def test_sizes_are_the_published_ones() -> None:
    method, expected = full(), facts()["parameters"]
    parts = {
        "ImageExtract": [method.image],
        "TextExtract.embedding": [method.words_global, method.words_local],
        "TextExtract.lstm": [method.reader],
        "conv_local": [method.part_heads],
        "conv_global": [method.global_head],
        "non_local_net": [method.relations],
        "conv_word_classifier": [method.word_attention],
        "id_classifiers": [method.identities],
    }
    counts = {name: sum(parameter.numel() for part in members for parameter in part.parameters()) for name, members in parts.items()}
    total = sum(count for name, count in counts.items() if name != "id_classifiers")  # no module of the authors' is unused
    assert counts | {"total": total, "trainable": total} == expected


@pytest.mark.golden
def test_rates_and_schedule_are_the_published_ones() -> None:
    config, method = training_settings.check({"preset": "ssan-cuhk"}), full()
    optimizer = facts()["optimizer"]
    assert (config.optimizer.kind, config.optimizer.eps, config.optimizer.lr) == ("adam", optimizer["eps"], optimizer["base_lr"])
    assert list(config.optimizer.betas) == optimizer["betas"]
    rates = {
        id(parameter): (group["peak"] / config.optimizer.lr, group["weight_decay"])
        for group in groups(method, method.rules, rate=config.optimizer.lr, decay=config.optimizer.decay)
        for parameter in group["params"]
    }
    own = {name: [list(parameter.shape), *rates[id(parameter)]] for name, parameter in method.named_parameters()}
    published = {}
    for name, shape, rate, decay in facts()["optimizer_groups"]:
        ours = str(published_name(name))
        matrix = shape if ours.startswith("image.") else [size for size in shape if size > 1 or len(shape) < 4]
        published[ours] = [matrix, pytest.approx(rate), decay]
    assert own == published
    factors = [factor(config.optimizer, 100 * epoch, 6_000, 100) for epoch in range(60)]
    assert factors == pytest.approx(facts()["lr_factor_per_epoch"])
    assert [factor(config.optimizer, 100 * epoch + 99, 6_000, 100) for epoch in range(60)] == factors


def settings(columns: int = 48, **own: Any) -> Training:
    """The tiny preset, smaller; `own` are settings of the method."""
    vision = {"stem": 8, "widths": [4, 4, 8, 8]}
    sizes = {"vision": vision, "word_width": 8, "width": 16, "relation_width": 8, "word_dropout": 0.0}
    return training_settings.check({"preset": "tiny-ssan", "data": {"width": columns}, "ssan": merge(sizes, own)})


LONGEST, WORDS, PERSONS = 12, 30, 5


def small(columns: int = 48, **own: Any) -> Ssan:
    """A small method for images with so many columns."""
    config = settings(columns=columns, **own)
    torch.manual_seed(config.seed)
    method = Ssan(config, words(WORDS, LONGEST), PERSONS)
    with torch.no_grad():
        for name, value in method.named_parameters():  # texts and images of the same size, so that neither decides alone
            if not name.startswith("image."):
                torch.nn.init.normal_(value, std=0.3)
    return method


def captions(*lengths: int, seed: int = 0) -> Text:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Text(torch.randint(1, WORDS, mask.shape, generator=torch.Generator().manual_seed(seed)) * mask, mask)


def rows_of(persons: tuple[int, ...] = (0, 1, 1, 2), epoch: int = 0) -> Batch:
    count = len(persons)
    return Batch(
        rows=torch.arange(count),
        persons=torch.tensor(persons),
        images=torch.randn(count, 3, 96, 48, generator=torch.Generator().manual_seed(4)),
        text=captions(*(5 + row for row in range(count))),
        second_text=captions(*(9 - row for row in range(count)), seed=1),
        epoch=epoch,
    )


def test_a_text_has_the_same_embedding_alone_and_among_longer_ones() -> None:
    method, texts = small().eval(), captions(3, LONGEST, 7)
    together = method.embed_text(texts)
    for row, length in enumerate((3, LONGEST, 7)):
        alone = method.embed_text(Text(texts.ids[row : row + 1, :length], texts.mask[row : row + 1, :length]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=1e-5)


def test_only_the_longest_caption_has_a_global_maximum_below_0() -> None:
    method = small()
    states = -torch.ones(2, LONGEST, 3)
    mask = torch.arange(LONGEST) < torch.tensor([LONGEST, LONGEST - 1])[:, None]
    assert method.loudest(states, mask).tolist() == [[-1.0] * 3, [0.0] * 3]
    assert torch.all(method.parts_of(torch.cat([states] * 11, 2)[..., :32], mask) < 0)  # the parts do not see the padding


def test_a_caption_without_a_known_word_has_an_embedding() -> None:
    method = small().eval()
    text = words(WORDS, LONGEST).encode(["nothing here is in the list", "word3 word4"])
    assert text.mask.sum(1).tolist() == [0, 2]
    assert method.embed_text(text).isfinite().all()


def test_losses_of_a_caption_without_a_known_word_are_numbers() -> None:
    method, b = small(), rows_of(epoch=9)
    empty = Text(b.text.ids * 0, b.text.mask & False)
    terms = method(replace(b, text=empty, second_text=empty), 0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(term.isfinite() for term in terms.values()) and float(terms["rank_global"].detach()) >= 0
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize("switches", [{}, {"word_attention": False}, {"non_local": False}, {"word_attention": False, "non_local": False}])
def test_each_ablation_trains_all_of_its_parameters(switches: dict[str, bool]) -> None:
    whole, method, b = small(), small(**switches), rows_of()
    terms = method(b, 0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.parameters())
    modules = [{name.split(".")[0] for name in one.state_dict()} for one in (whole, method)]
    assert modules[0] - modules[1] == {{"word_attention": "word_attention", "non_local": "relations"}[name] for name in switches}
    levels = 3 if switches.get("non_local", True) else 2
    assert len(terms) == 2 * levels
    method.eval()
    image, text = method.embed_image(b.images), method.embed_text(b.text)
    near((image * image).sum(1), torch.ones(4))
    assert image.shape == text.shape == (4, 16 + 6 * 16 + (6 * 8 if levels == 3 else 0))


def test_without_word_attention_every_part_has_the_same_words() -> None:
    text = captions(5, 7)
    for own, same in ((True, False), (False, True)):
        method = small(word_attention=own).eval()
        parts = method.pooled_words(text)[1]
        assert torch.equal(parts, parts[:, :1].expand_as(parts)) == same


def test_where_the_gate_leaves_out_every_anchor_the_weak_ranking_is_0() -> None:
    method, b = small(least_margin=0.5), rows_of(epoch=5)
    image = 1 + torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(0)) / 5  # all similar: there are semi-hard negatives
    strong, weak = method.ranking((image, image.roll(1, 2), image.roll(2, 2)), b, 0, 0)
    assert float(weak) == 0 and float(strong) > 0
    torch.stack(list(method(b, 0).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    before = replace(b, epoch=4)  # the margins do not adapt yet, and none is left out
    assert float(method.ranking((image, image.roll(1, 2), image.roll(2, 2)), before, 0, 0)[1]) > 0


def test_the_margin_adapts_from_an_epoch_on() -> None:
    strong, weak = torch.tensor([0.5, -0.5, 0.2, 0.0]), torch.tensor([0.25, 0.5, 0.4, 0.0])
    near(adapted_margin(strong, weak, 0.2), torch.tensor([0.15, 0.2, 0.2, 0.2]))
    method, terms = small(adaptive_from=3), {}
    for epoch in (0, 2, 3, 4):
        terms[epoch] = method(rows_of(epoch=epoch), 0)["rank_local"]
    assert terms[0] == terms[2] != terms[3] == terms[4]


def test_a_batch_of_one_has_losses_or_is_refused_in_one_sentence() -> None:
    alone = rows_of((3,))
    terms = small(non_local=False)(alone, 0)
    assert terms["rank_global"].item() == 0 < terms["id_global"].item()
    with pytest.raises(UserError, match=r"^batch normalisation needs 2 rows a step; raise batch$"):
        small()(alone, 0)
    method = small().eval()
    assert method.embed_image(alone.images).shape == method.embed_text(alone.text).shape == (1, 160)


def test_random_negatives_follow_from_seed_and_step() -> None:
    method, device = small(), torch.device("cpu")
    assert torch.equal(method.random(3, 8, device), method.random(3, 8, device))
    assert not torch.equal(method.random(3, 8, device), method.random(4, 8, device))


def test_a_map_with_fewer_rows_than_parts_is_refused() -> None:
    with pytest.raises(UserError, match=r"^data\.height = 96 gives the map of the image encoder 6 rows, and ssan\.parts = 7; raise"):
        small(parts=7)


def test_plips_encoder_trains() -> None:
    vision = {"backbone": "plip", "last_stride": 2, "depths": [1, 1, 1, 1], "widths": [8, 16, 32, 64]}
    method, b = small(64, vision=vision, parts=3), rows_of()
    terms = method(replace(b, images=torch.nn.functional.pad(b.images, (0, 16))), 0)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    with pytest.raises(UserError, match=r"ssan\.vision\.backbone = plip has ssan\.vision\.last_stride = 2"):
        settings(vision={"backbone": "plip"})


def test_the_image_encoder_starts_from_weights(tmp_path: Path) -> None:
    method = small()
    save_file({name: value + 1 for name, value in method.image.state_dict().items()}, tmp_path / "model.safetensors")
    method.own = settings(vision={"start": str(tmp_path)}).ssan
    before = method.image.conv1.weight.clone()
    method.load_initial_weights(settings(vision={"start": str(tmp_path)}), None)
    near(method.image.conv1.weight, before + 1)
    with pytest.raises(ModelMissing, match=r"^there are no weights of torchvision's ResNet-50 at ssan\.vision\.start = no/weights: "):
        method.own = settings(vision={"start": "no/weights"}).ssan
        method.load_initial_weights(settings(vision={"start": "no/weights"}), None)


def test_a_word_list_is_trained_or_read_and_must_fit_the_tables(tmp_path: Path) -> None:
    texts = ["a man in red", "a woman in red", "a dog"]
    trained = Ssan.tokenizer(settings(), texts)
    assert isinstance(trained, WordList) and trained.words == ["a", "in", "red"] and trained.max_tokens == 100
    assert Ssan.tokenizer(settings(table=3), texts).words == ["a", "in"]
    trained.save(tmp_path / "words.json")
    config = settings()
    read = config.model_copy(update={"data": config.data.model_copy(update={"tokenizer": str(tmp_path / "words.json")})})
    assert Ssan.tokenizer(read, ()).words == trained.words
    with pytest.raises(UserError, match=r"^ssan\.table = 3 rows are too few for the 3 words of the tokenizer and padding$"):
        Ssan(settings(table=3), trained, None)
    (tmp_path / "words.json").write_text(json.dumps({"kind": "HashedWords"}))
    WordPiece.of(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]).save(tmp_path / "words.json")
    with pytest.raises(UserError, match=r"words\.json is a WordPiece, and SSAN reads a word list$"):
        Ssan.tokenizer(read, ())


def listed(folder: Path, images: tuple[int, ...]) -> Path:
    """A training list of CUHK-PEDES with so many images of each person, two captions each."""
    names = iter(pictures(folder, sum(images)))
    entries = [
        {"image": next(names), "caption": [f"a man number {person} in red", "a man in blue"], "image_id": person}
        for person, count in enumerate(images)
        for _ in range(count)
    ]
    pairs = [{**entry, "caption": caption} for entry in entries for caption in entry["caption"]]
    return written(folder / "images/cuhk_train.json", pairs)


def test_persons_with_one_image_are_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = listed(tmp_path, (2, 1, 3, 1, 1))
    with caplog.at_level(logging.INFO):
        pairs = open_pairs(settings(), [str(data)])
    assert len(pairs) == 10 and pairs.persons.unique().tolist() == [0, 1]
    (message,) = [record.getMessage() for record in caplog.records if "persons" in record.getMessage()]
    assert message == ("3 of 5 persons have fewer than 2 images, which the method needs of each: they are left out, with 6 of 16 rows")
    caplog.clear()
    open_pairs(settings(), [str(listed(tmp_path / "all", (2, 2)))])
    assert not caplog.records


def test_data_of_persons_with_one_image_each_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no person of the data has 2 images, which the method needs$"):
        open_pairs(settings(), [str(listed(tmp_path, (1, 1, 1)))])


def test_the_presets_differ_in_their_data_sets_alone() -> None:
    cuhk, icfg, rstp = (training_settings.check({"preset": f"ssan-{name}"}) for name in ("cuhk", "icfg", "rstp"))
    assert [config.ssan.table for config in (cuhk, icfg, rstp)] == [5000, 2500, None]
    for config in (icfg, rstp):
        same = config.model_copy(update={"preset": cuhk.preset, "ssan": config.ssan.model_copy(update={"table": 5000})})
        assert same.model_dump() == cuhk.model_dump()
    probe = training_settings.check({"preset": "ssan-probe-plip"})
    assert probe.ssan.vision.backbone == "plip" and probe.data.mean == (0.357, 0.323, 0.328)


def test_weights_of_a_training_fix_the_sizes_and_not_the_losses() -> None:
    inherited = Ssan.inherited_settings(settings(margin=0.3, vision={"start": "somewhere"}))
    own = inherited["ssan"]
    assert own["width"] == 16 and own["vision"]["start"] is None and "margin" not in own and inherited["method"] == "ssan"
