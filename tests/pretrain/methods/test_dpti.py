"""DPTI: its equations in closed form, gradients by finite differences, its settings, and its way from data to scores."""

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mals.errors import UserError
from pretrain import losses, settings
from pretrain.config import Training
from pretrain.data.batch import Batch, Text
from pretrain.data.tokenizers import NoWords
from pretrain.methods.dpti import Attention, Dpti, PartHead, adaptive_weights

TINY = ["dpti.vision.stem=4", "dpti.vision.widths=[2,2,4,4]", "dpti.width=8", "dpti.heads=2", "dpti.parts=3"]
TINY += ["dpti.images_per_person=2", "batch=4", "data.height=64", "data.width=32", "dpti.smoothing=0.0"]
PERSONS = 5


def config(*sets: str) -> Training:
    return settings.check(settings.assign({"preset": "tiny-dpti"}, [*TINY, *sets]))


def small(*sets: str, persons: int | None = PERSONS) -> Dpti:
    data = None if persons is None else SimpleNamespace(persons=torch.arange(persons), person_count=persons)
    return Dpti.build(config(*sets), NoWords(), data)  # type: ignore[arg-type]


def batch_of(images: Tensor) -> Batch:
    empty = Text(torch.zeros(len(images), 0, dtype=torch.int64), torch.zeros(len(images), 0, dtype=torch.bool))
    return Batch(torch.arange(len(images)), torch.arange(len(images)) // 2, images, empty)


def drawn_images(rows: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(rows, 3, 64, 32, dtype=dtype, generator=torch.Generator().manual_seed(7))


def test_adaptive_weights_sum_to_the_number_of_parts_and_are_one_for_equal_scores() -> None:
    scores = 3 * torch.randn(4, 6, 18, generator=torch.Generator().manual_seed(0))
    weights = adaptive_weights(scores)
    assert weights.shape == (4, 6) and weights.sum(1).tolist() == pytest.approx([6.0] * 4, rel=1e-5) and (weights > 0).all()
    torch.testing.assert_close(weights, 6 * (scores.sum(2) / 18).exp() / (scores.sum(2) / 18).exp().sum(1, keepdim=True))
    torch.testing.assert_close(adaptive_weights(torch.full((2, 5, 7), 1.7)), torch.ones(2, 5))
    shuffled = scores[:, :, torch.randperm(18)]
    torch.testing.assert_close(adaptive_weights(shuffled), weights)  # where a query finds a part does not matter, how much does
    raised = scores.clone()
    raised[:, 2] += 1
    assert (adaptive_weights(raised)[:, 2] > weights[:, 2]).all() and (adaptive_weights(raised)[:, 3] < weights[:, 3]).all()


def test_the_attention_is_that_of_the_equations() -> None:
    torch.manual_seed(1)
    layer, x, memory = Attention(8, 2, 2), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    ours = layer(x, memory)
    for image in range(2):
        for row in range(3):
            read = []
            for head in (slice(0, 4), slice(4, 8)):
                keys, values = memory[image] @ layer.key.weight[head].T, memory[image] @ layer.value.weight[head].T
                shares = (keys @ (layer.query.weight[head] @ x[image, row]) / 4**0.5).softmax(0)
                read.append(shares @ values)
            g = torch.cat(read)
            torch.testing.assert_close(ours[image, row], layer.feed(g + x[image, row]) + g)


def test_templates_and_parts_are_those_of_the_equations() -> None:
    torch.manual_seed(2)
    head = PartHead(config().dpti, 6, 10)  # type: ignore[attr-defined]
    middle, last = torch.randn(2, 6, 3, 2), torch.randn(2, 10, 3, 2)
    seen = head(middle, last)
    a, encoded = head.early(middle), head.late(last)
    assert a.shape == encoded.shape == (2, 6, 8)
    torch.testing.assert_close(seen.whole, encoded.mean(1))
    for image in range(2):
        for part in range(3):
            gamma = a[image] @ head.queries[part]
            torch.testing.assert_close(seen.scores[image, part], gamma)
            template = head.template.weight @ (a[image].T @ gamma.softmax(0))
            torch.testing.assert_close(seen.parts[image, part], head.attention(template[None, None], encoded[image : image + 1])[0, 0])
    torch.testing.assert_close(seen.weights, adaptive_weights(seen.scores))
    weighted = [seen.weights[:, part, None] * seen.parts[:, part] for part in range(3)]
    torch.testing.assert_close(seen.descriptor(), torch.cat([seen.whole, *weighted], 1))


def test_templates_depend_on_the_image_and_places_are_read_row_by_row() -> None:
    torch.manual_seed(3)
    head = PartHead(config().dpti, 6, 10)  # type: ignore[attr-defined]
    maps = torch.randn(1, 6, 3, 2)
    torch.testing.assert_close(head.early.reduce(maps).flatten(2)[0, :, 3], head.early.reduce(maps)[0, :, 1, 1])
    one, two = (head(torch.randn(1, 6, 3, 2), torch.ones(1, 10, 3, 2)).scores.softmax(2) for _ in range(2))
    assert not torch.allclose(one, two)


def terms_of(method: Dpti, images: Tensor) -> Mapping[str, Tensor]:
    return method(batch_of(images), 0)


def test_the_losses_are_of_the_whole_descriptor() -> None:
    method = small("dpti.loss_weights.triplet=2.0", "dpti.loss_weights.diversity=0.5")
    images = drawn_images()
    terms = terms_of(method, images)
    assert set(terms) == {"identity", "triplet", "diversity"}
    seen = method.head(*method.backbone.maps(images))  # type: ignore[misc]
    persons = torch.tensor([0, 0, 1, 1])
    descriptor, same = seen.descriptor(), persons[:, None] == persons[None]
    assert descriptor.shape == (4, 4 * 8)
    torch.testing.assert_close(terms["identity"], cross_entropy(method.classifier(descriptor), persons))  # type: ignore[misc]
    unit = descriptor / descriptor.norm(dim=1, keepdim=True)
    torch.testing.assert_close(terms["triplet"], 2 * losses.triplet_hard(unit, unit, same, 0.3), rtol=1e-4, atol=1e-5)
    as_they_are = terms_of(small("dpti.unit_triplets=false"), images)["triplet"]
    torch.testing.assert_close(as_they_are, losses.triplet_hard(descriptor, descriptor, same, 0.3), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["diversity"], 0.5 * losses.part_diversity(seen.parts))
    assert 0 <= float(terms["diversity"].detach()) <= 0.5
    assert set(terms_of(small("dpti.loss_weights.diversity=0"), images)) == {"identity", "triplet"}


def test_the_initial_identity_loss_is_the_logarithm_of_the_number_of_persons() -> None:
    assert float(terms_of(small(persons=40), drawn_images())["identity"].detach()) == pytest.approx(
        torch.tensor(40.0).log().item(), abs=0.05
    )


@pytest.mark.parametrize("sets", [[], ["dpti.adaptive=false", "dpti.unit_triplets=false"], ["dpti.pooling=global"]])
def test_gradients_equal_finite_differences(sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("triplet_hard", "part_diversity"):
        monkeypatch.setattr(losses, name, getattr(losses, name).__wrapped__)  # in float64
    monkeypatch.setattr(Tensor, "float", lambda value: value)
    method, images = small(*sets).double().train(), drawn_images(dtype=torch.float64)
    method.classifier.weight.data.normal_(std=0.3)  # type: ignore[union-attr]
    parameters = {name: value for name, value in method.named_parameters() if value.requires_grad}
    total = torch.stack(list(terms_of(method, images).values())).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()))
    draw = torch.Generator().manual_seed(11)
    for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
        direction = torch.randn(value.shape, dtype=torch.float64, generator=draw)
        direction /= direction.norm()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                value += sign * 1e-6 * direction
                values.append(float(torch.stack(list(terms_of(method, images).values())).sum()))
                value -= sign * 1e-6 * direction
        measured, expected = (values[0] - values[1]) / 2e-6, float((gradient * direction).sum())
        assert measured == pytest.approx(expected, rel=2e-4, abs=2e-6), name
        assert gradient.abs().max() > 0, name


def test_without_adaptive_weights_all_parts_count_the_same_and_the_backbone_alone_has_no_parts() -> None:
    images = drawn_images()
    plain, weighted = small("dpti.adaptive=false").eval(), small().eval()
    plain.load_state_dict(weighted.state_dict())
    with torch.no_grad():
        one, two = (method.head(*method.backbone.maps(images)) for method in (plain, weighted))  # type: ignore[misc]
        assert one.weights.equal(torch.ones(4, 3)) and one.parts.equal(two.parts)
        assert not torch.allclose(plain.embed_image(images), weighted.embed_image(images))
        backbone = small("dpti.pooling=global").eval()
        assert backbone.head is None and set(terms_of(backbone.train(), images)) == {"identity", "triplet"}
        last = backbone.eval().backbone(images).mean((2, 3))
        torch.testing.assert_close(backbone.embed_image(images), last / last.norm(dim=1, keepdim=True))
    with pytest.raises(UserError, match=r"dpti\.pooling = global: it has no templates"):
        backbone.look(images)


def test_where_templates_look_is_a_share_of_each_place() -> None:
    method = small().eval()
    with torch.no_grad():
        shares, weights = method.look(drawn_images())
    assert shares.shape == (4, 3, 4, 2) and weights.shape == (4, 3)
    torch.testing.assert_close(shares.sum((2, 3)), torch.ones(4, 3))


def test_a_release_has_no_classifier_and_embeddings_have_length_one() -> None:
    method = small().eval()
    bare = small(persons=None).eval()
    assert bare.classifier is None
    bare.load_state_dict(Dpti.without_training_only(method.state_dict()))
    with torch.no_grad():
        embeddings = bare.embed_image(drawn_images())
        torch.testing.assert_close(embeddings, method.embed_image(drawn_images()))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_full_size_has_the_parameters_of_its_parts() -> None:
    full = settings.check({"preset": "dpti-market", "dpti": {"vision": {"start": None}}})
    with torch.device("meta"):
        method = Dpti(full, 751)
        maps = method.backbone.maps(torch.empty(2, 3, 256, 128))
        descriptor = method.head(*maps).descriptor()  # type: ignore[misc]
    assert [tuple(value.shape) for value in maps] == [(2, 1024, 16, 8), (2, 2048, 16, 8)] and descriptor.shape == (2, 7 * 256)
    count = {name: sum(value.numel() for value in part.parameters()) for name, part in method.named_children()}
    layer = 3 * 256**2 + (256 * 512 + 512) + (512 * 256 + 256)
    encoders = (1024 * 256 + 2 * 256 + layer) + (2048 * 256 + 2 * 256 + layer)  # with batch normalisation
    assert count == {
        "backbone": 23_508_032,
        "head": encoders + 6 * 256 + 256**2 + layer,
        "classifier": 7 * 256 * 751 + 751,
    }


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["batch=2"], r"^a batch of 2 rows has one person with dpti\.images_per_person = 2, and triplets need another one; raise batch$"),
        (["dpti.heads=3"], r"dpti\.width = 8 does not divide into dpti\.heads = 3"),
        (["dpti.images_per_person=1"], r"dpti\.images_per_person = 1"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(sets: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(*sets)


def test_a_fine_tuning_inherits_the_sizes() -> None:
    inherited = Dpti.inherited_settings(config("dpti.vision.start=timm/x", "dpti.adaptive=false"))
    assert inherited["method"] == "dpti" and inherited["dpti"]["vision"]["start"] is None
    assert (inherited["dpti"]["width"], inherited["dpti"]["adaptive"], "margin" in inherited["dpti"]) == (8, False, False)
