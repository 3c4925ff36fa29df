"""What servers did for a run and what it cost, by the receipts of its cells; a run with `run.max_cost` stops before it goes over it.

What is not in a receipt is not counted: the answers for a shard at which a run was stopped, which is asked for again.
"""

from collections.abc import Iterator, Mapping, Sequence

from mals.errors import UserError
from mals.grid.cells import Survey
from mals.grid.receipt import Receipt
from mals.grid.stage import AnyStage, ServedStage, Used
from mals.server_settings import Price

TOKENS = 1_000_000  # that a price is for


class BudgetSpent(UserError):
    """The next shard would cost more than `run.max_cost` leaves; finished cells are kept."""


def add_used(total: Used, used: Used) -> None:
    """Add `used` to `total`, in place."""
    for model, counts in used.items():
        sums = total.setdefault(model, {})
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count


def prices_of(stage: AnyStage) -> dict[str, Price]:
    """The prices of the models that servers run for a stage, by name; empty for a stage that costs nothing."""
    return stage.prices if isinstance(stage, ServedStage) else {}


def cost(used: Used, prices: Mapping[str, Price]) -> float:
    """What was used at these prices, in their currency."""
    total = 0.0
    for model, counts in used.items():
        if price := prices.get(model):
            total += counts.get("prompt_tokens", 0) * price.prompt / TOKENS
            total += counts.get("completion_tokens", 0) * price.completion / TOKENS
            total += counts.get("images", 0) * price.image
    return total


def check_budget(stages: Mapping[str, AnyStage], limit: float | None) -> None:
    """Raise UserError where a limit is set and nothing has a price, so that it would never be reached."""
    if limit is not None and not any(map(prices_of, stages.values())):
        raise UserError(
            f"run.max_cost = {limit:g} would never be reached, since no server has a price; set one, such as "
            "caption.captioners.0.server.price.completion, or set run.max_cost=null"
        )


def affordable(
    stages: Mapping[str, AnyStage], stage: str, shards: Sequence[int], survey: Survey, workers: int, limit: float | None
) -> Iterator[list[int]]:
    """The shards to make: all at once, or where `stage` costs something and there is a limit as many at a time as there are workers.

    `survey` gets the new receipts between them. Raises BudgetSpent before shards that would go over the limit: a shard is taken to cost
    what the dearest finished one of its stage did, and the first one nothing.
    """
    prices = prices_of(stages[stage])
    if limit is None or not prices:
        yield list(shards)
        return
    for start in range(0, len(shards), workers):
        part = list(shards[start : start + workers])
        _refuse_over(limit, stages, stage, survey, len(part))
        yield part


def _refuse_over(limit: float, stages: Mapping[str, AnyStage], stage: str, survey: Survey, shards: int) -> None:
    """Raise BudgetSpent where `shards` more of `stage` would go over the limit."""
    receipts: list[Receipt] = list(survey.receipts[stage].values())
    if any(counts.get("uncounted") for receipt in receipts for counts in receipt.used.values()):
        raise BudgetSpent(
            f"the server of {stage} tells no use of tokens, so run.max_cost cannot be kept; run.max_cost=null goes on without it"
        )
    spent = sum(cost(receipt.used, prices_of(stages[name])) for name in stages for receipt in survey.receipts[name].values())
    expected = shards * max((cost(receipt.used, prices_of(stages[stage])) for receipt in receipts), default=0.0)
    if spent >= limit or spent + expected > limit:
        raise BudgetSpent(
            f"run.max_cost = {limit:g} is used up: the finished cells cost {spent:.4g}, and the next of {stage} would cost about "
            f"{expected:.4g}; the same command goes on with a larger one, such as --set run.max_cost={2 * limit or 1:g}"
        )
