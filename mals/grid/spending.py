"""What servers did for a run and what it cost, by the receipts of its cells; a run with `run.max_cost` stops before it goes over it.

What is not in a receipt is not counted: the answers for a shard at which a run was stopped, which is asked for again. Of attempts that
failed the command that made them knows what they cost, so that a server whose answers are no use does not cost more than the budget.
"""

from collections.abc import Callable, Mapping

from mals.errors import UserError
from mals.grid.cells import Survey
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


class Budget:
    """What may be started under `run.max_cost`: a shard is taken to cost what the dearest finished one of its stage did."""

    def __init__(self, stages: Mapping[str, AnyStage], limit: float | None, workers: Callable[[str], int]):
        """`workers`: how many a stage has; as many of its shards are at work at most, since the first ones are taken to cost nothing."""
        self.limit, self.workers = limit, workers
        self.prices = {} if limit is None else {name: prices for name, stage in stages.items() if (prices := prices_of(stage))}
        self._failed: dict[str, list[Used]] = {}  # stage -> use of attempts that failed

    def add_failed(self, stage: str, used: Used) -> None:
        """Count what an attempt used that failed."""
        self._failed.setdefault(stage, []).append(used)

    def allows(self, stage: str, at_work: Mapping[str, int], survey: Survey) -> bool:
        """Whether another shard of `stage` may start beside those at work (stage -> shards); False means not before one of them ended.

        Raises BudgetSpent where it would go over the limit in any case.
        """
        if self.limit is None or stage not in self.prices:
            return True
        receipts = {name: survey.receipts[name].values() for name in self.prices if name in survey.receipts}
        uses = {name: [*(receipt.used for receipt in receipts[name]), *self._failed.get(name, [])] for name in receipts}
        if any(counts.get("uncounted") for used in uses[stage] for counts in used.values()):
            raise BudgetSpent(
                f"the server of {stage} tells no use of tokens, so run.max_cost cannot be kept; run.max_cost=null goes on without it"
            )
        costs = {name: [cost(used, self.prices[name]) for used in uses[name]] for name in uses}
        spent, next_one = sum(map(sum, costs.values())), max(costs[stage], default=0.0)
        promised = sum(at_work.get(name, 0) * max(costs[name], default=0.0) for name in costs)
        if spent < self.limit and spent + promised + next_one <= self.limit:
            return at_work.get(stage, 0) < self.workers(stage)
        if any(at_work.get(name, 0) for name in costs):
            return False
        raise BudgetSpent(
            f"run.max_cost = {self.limit:g} is used up: the finished cells cost {spent:.4g}, and the next of {stage} would cost about "
            f"{next_one:.4g}; the same command goes on with a larger one, such as --set run.max_cost={2 * self.limit or 1:g}"
        )
