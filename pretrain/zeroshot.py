"""Zero-shot evaluation: every data set without fine-tuning, retrieval if it has captions, recognition if it has labels, as one table."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mals.errors import UserError
from pretrain import provenance
from pretrain.data.splits import choose_split
from pretrain.evaluate import evaluate, open_gallery
from pretrain.results import DatasetScores, ZeroShotResult
from pretrain.retrieval_protocol import PROTOCOLS, benchmark_of, protocols_of
from pretrain.tables import notes, table
from pretrain.text_scores import Rerank, default_rerank
from pretrain.trained_method import Trained


class _Measured(NamedTuple):
    """A split that is measured: a row of the table."""

    place: str
    name: str
    split: str
    plain: bool  # whether captions are reduced


def zeroshot(
    trained: Trained,
    data: Sequence[str],
    split: str | None = None,
    rerank: Rerank | None = None,
    k: int = 128,
    *,
    batch: int = 64,
    workers: int = 0,
    plain: bool = False,
    protocols: Sequence[str] = (),
    progress: Callable[[str], None] = lambda name: None,
) -> ZeroShotResult:
    """Evaluate a split of each data set, and say whether the method was trained on that data set.

    That is by default `test` or its only split, and all test splits of a benchmark that has several (PAB: test and ucc); with `protocols`,
    those of these names, see `retrieval_protocol.PROTOCOLS`. All are opened before the first is measured. With `plain`, in a named
    protocol, and with `rerank` "published" captions are reduced, in the last two where a set's authors do it. `progress` is called with
    the name of each. Raises UserError for a name that there is not, or that is of none of the data sets.
    """
    _check_names(protocols, data, split)
    rerank = rerank or default_rerank(trained)
    measured = [each for place in data for each in _measured(place, split, plain, rerank == "published", protocols)]
    galleries = [open_gallery(trained, [each.place], each.split, batch=batch, workers=workers, plain=each.plain) for each in measured]
    rows = []
    for each, gallery in zip(measured, galleries, strict=True):
        progress(each.name)
        evaluation = evaluate(trained, gallery, rerank, k)
        rows.append(DatasetScores(each.name, each.split, evaluation, each.place, provenance.trained_on(trained.origins, each.place)))
    return ZeroShotResult(split or "test", rerank, k, tuple(rows))


def _check_names(protocols: Sequence[str], data: Sequence[str], split: str | None) -> None:
    """UserError for names of protocols that cannot be measured."""
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise UserError(f"there is no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}")
    if protocols and split is not None:
        raise UserError(f"--protocol {protocols[0]} measures the split {PROTOCOLS[protocols[0]].split}; leave --split out")
    own = {place: [protocol.name for protocol in protocols_of(place)] for place in data}
    for name in protocols:
        if not any(name in names for names in own.values()):
            raise UserError(
                f"--protocol {name}: no --data is the split {PROTOCOLS[name].split} of {PROTOCOLS[name].info.name}, as imported"
            )
    for place, names in own.items():
        if protocols and not set(names) & set(protocols):
            raise UserError(f"{place} has none of the protocols {', '.join(protocols)}; it has {', '.join(names) or 'no named one'}")


def _measured(place: str, split: str | None, plain: bool, published: bool, names: Sequence[str]) -> list[_Measured]:
    """The splits of a data set that are measured."""
    own = protocols_of(place)
    if names:
        return [_Measured(place, each.title, each.split, plain or each.plain) for each in own if each.name in names]
    info = benchmark_of(place)
    reduced = plain or (published and info is not None and info.published_captions != "none")
    splits = [each.split for each in own] if split is None and len(own) > 1 else [choose_split([place], split)]
    titles = {each.split: each.title for each in own}
    return [_Measured(place, titles.get(each, provenance.about(place)["name"]), each, reduced) for each in splits]


def markdown(result: ZeroShotResult) -> str:
    """The table in percent, with the protocols below it."""
    lines = ["In percent; without fine-tuning.", *notes(result.sets)]
    if names := [row.name for row in result.sets if row.trained_on]:
        lines.append(f"The method was trained on {', '.join(names)} (perhaps on another split): that is not zero-shot.")
    return "\n".join([*table(result.sets), "", *(f"- {line}" for line in lines), ""])
