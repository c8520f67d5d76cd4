"""What coordinator and banks agree on before the first round. Taught in chapter 14."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregator, Mean, RoundAggregator
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import SGD, LocalSolver, RoundSolver

_NEEDS_PARTIES = ("fedlab_utils.privacy.secure", "fedlab_utils.privacy.he")


@dataclass(frozen=True)
class Plan:
    """The settings of a run, the same objects that `fit` takes.

    Attributes:
        banks: names of the banks, in the order of the federation. A SuperNode is registered under
            its bank's name; the SuperLink vouches for it by the node's key.
        rounds: how many rounds.
        local: what a bank does with its rows. One that remembers something from round to round
            (SCAFFOLD, Ditto) does not fit, because each message starts a new process at the bank.
        aggregator: how the server combines the updates. It gets them in the clear, so the secure
            and encrypted means of chapters 07 and 08, which play all parties in one process, are
            refused: here they would protect nobody.
        server: how the global weights move.
        clients_per_round: as in `fit`.
        seed: as in `fit`; same seed, same weights.
        patience: seconds that a round waits for a bank that does not answer.

    Raises FedlabError for settings that make no sense. Taught in chapter 14.
    """

    banks: tuple[str, ...]
    rounds: int
    local: LocalSolver = field(default_factory=SGD)
    aggregator: Aggregator | RoundAggregator = field(default_factory=Mean)
    server: ServerOptimizer = field(default_factory=ServerSGD)
    clients_per_round: int | Poisson | None = None
    seed: int = 0
    patience: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "banks", tuple(self.banks))
        if not self.banks or len(set(self.banks)) < len(self.banks):
            raise FedlabError(f"banks={self.banks}: give at least one name, none of them twice.")
        if self.rounds < 1 or int(self.rounds) != self.rounds:
            raise FedlabError(f"rounds={self.rounds} must be a whole number of at least 1.")
        if not self.patience > 0:
            raise FedlabError(f"patience={self.patience} must be a positive number of seconds.")
        choose_clients(len(self.banks), self.clients_per_round, 0, 0)  # raises if it makes no sense
        if isinstance(self.local, RoundSolver):
            raise FedlabError(
                f"{type(self.local).__name__} remembers something from round to round, and a bank "
                f"starts a new process for each message. Use SGD, FedProx or DPSGD."
            )
        if type(self.aggregator).__module__.startswith(_NEEDS_PARTIES):
            raise FedlabError(
                f"{type(self.aggregator).__name__} plays all parties in one process. In a real "
                f"network the server would get the updates in the clear before it, and nobody "
                f"would be protected. Use Flower's SecAgg+ workflow, or a mean."
            )
