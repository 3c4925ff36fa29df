"""Re-ranking and recognition on a small method."""

import torch
from torch.nn.functional import pad

from pretrain.evaluate import embed_images, embed_texts, gallery_keys, recognised, reranked
from pretrain.method import Text
from tests.pretrain.test_aptm import small


def queries(count: int = 5) -> Text:
    torch.manual_seed(1)
    ids = torch.randint(5, 90, (count, 9))
    mask = torch.arange(9) < torch.randint(4, 10, (count, 1))
    return Text(ids * mask, mask)


def test_the_best_are_ordered_by_the_cross_encoder_and_the_tail_by_the_cosine_below_them() -> None:
    method = small()[0].eval()
    images, text = torch.randn(12, 3, 64, 32), queries()
    cosine = embed_texts(method, [text]) @ embed_images(method, [images]).T
    found = reranked(method, cosine, images.split(5), [text], k=4)
    with torch.no_grad():
        states = method.bert.text(text.ids, text.mask)
        keys = gallery_keys(method, [images])
        for row in range(5):
            pairs = torch.stack(
                [method.match(states[row : row + 1], text.mask[row : row + 1], keys, torch.tensor([g]))[0, 1] for g in range(12)]
            )
            best = cosine[row].topk(4).indices
            assert found[row].argsort(descending=True)[:4].tolist() == best[pairs[best].argsort(descending=True)].tolist()
            tail = [g for g in cosine[row].argsort(descending=True).tolist() if g not in best.tolist()]
            assert found[row].argsort(descending=True)[4:].tolist() == tail


def test_without_re_ranking_the_cosine_stays_and_padding_does_not_matter() -> None:
    method = small()[0].eval()
    images, text = torch.randn(6, 3, 64, 32), queries()
    cosine = embed_texts(method, [text]) @ embed_images(method, [images]).T
    assert reranked(method, cosine, [images], [text], "none") is cosine
    wide = Text(pad(text.ids, (0, 7)), pad(text.mask, (0, 7)))
    for mode in ("itm", "published"):
        one, two = (reranked(method, cosine, [images], [given], mode, k=3) for given in (text, wide))
        torch.testing.assert_close(one, two)


def test_each_attribute_is_the_prompt_that_is_truer() -> None:
    method = small()[0].eval()
    images = torch.randn(4, 3, 64, 32)
    found = recognised(method, images.split(3), Text(method.prompt_ids, method.prompt_mask))
    assert found.shape == (4, 27) and set(found.unique().tolist()) <= {0, 1}
    with torch.no_grad():
        keys = method.bert.project(method.swin(images).tokens)
        states = method.bert.text(method.prompt_ids[6:8], method.prompt_mask[6:8])
        logits = [method.match(states[at : at + 1], method.prompt_mask[6:7], keys, torch.tensor([2]))[0, 1] for at in (0, 1)]
    assert found[2, 3] == int(logits[1] > logits[0])
