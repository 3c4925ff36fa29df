"""Metrics of retrieval by sorting integers, beside a stable sort of the scores: seconds of both in turn, and their ratio.

    python -m benchmarks.ranking                                  # 2,000 captions and 19,848 images, as many as ICFG-PEDES has
    python -m benchmarks.ranking --device cuda --queries 19848

Scores are cosines of random embeddings of 256 dimensions; every person has `--images` images. Both ways must give the same numbers.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import normalize

from pretrain import metrics

ROWS = 211  # of scores at once, in the old way: as many as it took of this gallery


def by_stable_sort(scores: Tensor, query_persons: Tensor, gallery_persons: Tensor) -> dict[str, float]:
    """The metrics by the order of all images, as they were computed before: of each query a stable sort."""
    tables = []
    for chunk, persons in zip(scores.split(ROWS), query_persons.split(ROWS), strict=True):
        order = chunk.argsort(dim=1, descending=True, stable=True)
        hits = (persons[:, None] == gallery_persons[None]).gather(1, order)
        row, column = hits.nonzero(as_tuple=True)
        rank, count = (column + 1).double(), hits.sum(1)
        number = torch.arange(1, len(row) + 1, device=row.device) - (count.cumsum(0) - count)[row]
        table = torch.zeros(len(chunk), 4, dtype=torch.float64, device=scores.device)
        best, worst = number == 1, number == count[row]
        table[row[best], 0] = rank[best]
        table[:, 1] = table[:, 1].index_add(0, row, number / rank) / count.clamp(min=1)
        table[row[worst], 2] = number[worst] / rank[worst]
        table[:, 3] = count
        tables.append(table.cpu())
    return metrics.retrieval_means(torch.cat(tables))


def main(
    queries: Annotated[int, typer.Option(help="Captions.")] = 2000,
    gallery: Annotated[int, typer.Option(help="Images.")] = 19848,
    images: Annotated[int, typer.Option(help="Images of a person.")] = 20,
    rounds: Annotated[int, typer.Option(help="Of both ways.")] = 5,
    threads: Annotated[int, typer.Option(help="Of PyTorch.")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    torch.set_num_threads(threads)
    draw = torch.Generator().manual_seed(0)
    persons = torch.arange(gallery) // images
    described = persons[torch.randint(gallery, (queries,), generator=draw)]
    centres = torch.randn(int(persons.max()) + 1, 256, generator=draw)
    shown, texts = (normalize(centres[of] + 2 * torch.randn(len(of), 256, generator=draw)) for of in (persons, described))
    scores, persons, described = (texts @ shown.T).to(device), persons.to(device), described.to(device)
    ways: dict[str, Callable[..., Any]] = {"stable sort": by_stable_sort, "integers": metrics.retrieval}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        results = []
        for name, way in ways.items():
            started = time.perf_counter()
            results.append(way(scores, described, persons))
            seconds[name].append(time.perf_counter() - started)
        assert all(abs(results[0][name] - results[1][name]) < 1e-12 for name in results[0]), results
    best = {name: min(values) for name, values in seconds.items()}
    print(f"{queries:,} captions, {gallery:,} images, {device}: " + ", ".join(f"{name} {value:.2f} s" for name, value in best.items()))
    ratios = sorted(new / old for old, new in zip(seconds["stable sort"], seconds["integers"], strict=True))
    print(f"ratio {ratios[len(ratios) // 2]:.3f} (median of {rounds} pairs), mAP {results[0]['mAP']:.4f}")


if __name__ == "__main__":
    typer.run(main)
