"""The coordinator's side: a Flower ServerApp around the round loop. Taught in chapter 14."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from torch import nn

from fedlab_utils.federate import checkpoint as checkpoints
from fedlab_utils.federate.aggregators import RoundContext, aggregate, first_memory
from fedlab_utils.federate.fit import Run, mean_loss
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.sampling import choose_clients
from fedlab_utils.models.flat import flatten, unflatten
from fedlab_utils.runtimes.flower.asking import Asker, NobodyAnswered
from fedlab_utils.runtimes.flower.messages import Instruction, count_bytes, pack, read_answer
from fedlab_utils.runtimes.flower.plan import Plan
from fedlab_utils.runtimes.updates import UpdateError

OUTPUT = "output"  # the key of the run's configuration that names the coordinator's folder
WEIGHTS, STATUS = "run.npz", "status.json"


@dataclass(frozen=True)
class FlowerRun(Run):
    """A `Run`, and what went wrong on the way.

    Attributes:
        absent: (round, bank, reason) of every bank whose update is missing in a round.
        asked_again: (round, bank) of every question that was lost with a SuperNode and put again.
    """

    absent: tuple[tuple[int, str, str], ...] = ()
    asked_again: tuple[tuple[int, str], ...] = ()


def fingerprint(model: nn.Module, plan: Plan) -> str:
    """A hash of all the coordinator knows that decides the course of a run."""
    digest = hashlib.sha256(repr(plan).encode())
    digest.update(flatten(model).numpy().tobytes())
    return digest.hexdigest()


def run_rounds(
    grid: Grid,
    model: nn.Module,
    plan: Plan,
    output: Path | None = None,
    say: Callable[[str], None] = print,
) -> FlowerRun:
    """The round loop of `fit`, with every update asked of a bank through `grid`.

    Args:
        grid: Flower's connection to the SuperNodes, or a LoopbackGrid.
        model: the start; it is not changed.
        plan: the settings.
        output: folder for a checkpoint after each round; a run that died goes on from it.
        say: gets one line for each round.

    Raises NobodyAnswered for a round without any usable update.
    """
    weights, history = flatten(model), History()
    memory = {"server": plan.server.start(weights), "solver": {}}
    memory["aggregator"] = first_memory(plan.aggregator, weights.numel())
    mark = fingerprint(model, plan)
    if output is not None and (output / WEIGHTS).exists():
        weights, memory, history = checkpoints.load(output / WEIGHTS, mark)
        say(f"going on after round {len(history)}")
    asker = Asker(grid, plan.patience)
    rows_of: dict[str, int] = {}
    absent: list[tuple[int, str, str]] = []
    for round_ in range(len(history), plan.rounds):
        began = time.perf_counter()
        chosen = choose_clients(len(plan.banks), plan.clients_per_round, plan.seed, round_)
        contents = {
            plan.banks[i]: pack(Instruction(weights, round_, int(i), plan.seed)) for i in chosen
        }
        replies, failed = asker.ask(contents, round_)
        updates, losses, rows = [], [], []
        for bank in [bank for bank in contents if bank in replies]:
            try:
                answer = read_answer(replies[bank], bank, weights.numel())
                if rows_of.setdefault(bank, answer.rows) != answer.rows:
                    raise UpdateError(
                        f"{bank}: says it has {answer.rows} rows, at first it had "
                        f"{rows_of[bank]}; refused."
                    )
            except UpdateError as error:
                failed[bank] = str(error)
                continue
            updates.append(answer.update)
            losses.append(answer.loss)
            rows.append(answer.rows)
        absent += [(round_ + 1, bank, failed[bank]) for bank in contents if bank in failed]
        for bank in failed:
            say(f"round {round_ + 1}: without {bank}: {failed[bank]}")
        if contents and not updates:
            raise NobodyAnswered(f"round {round_ + 1}: no usable update. {failed}")
        taking_part = tuple(bank for bank in contents if bank not in failed)
        context = RoundContext(
            plan.seed, round_, taking_part, len(plan.banks), plan.clients_per_round
        )
        matrix = torch.stack(updates) if updates else torch.empty(0, weights.numel())
        sizes = torch.tensor(rows, dtype=torch.float32)
        done = aggregate(plan.aggregator, matrix, sizes, memory["aggregator"], context)
        memory["aggregator"] = done.state
        weights, memory["server"] = plan.server.step(weights, done.update, memory["server"])
        history.rounds.append(
            Round(
                round=round_ + 1,
                clients=taking_part,
                loss=mean_loss(torch.tensor(losses), sizes),
                client_losses=tuple(losses),
                bytes_up=sum(count_bytes(reply) for reply in replies.values()),
                bytes_down=sum(count_bytes(content) for content in contents.values()),
                seconds=time.perf_counter() - began,
                epsilon=done.epsilon,
            )
        )
        say(f"round {round_ + 1}: {len(taking_part)} banks, loss {history[-1].loss:.4f}")
        if output is not None:
            checkpoints.save(output / WEIGHTS, weights, memory, history, mark)
    return FlowerRun(
        unflatten(weights, model),
        history,
        absent=tuple(absent),
        asked_again=tuple(asker.asked_again),
    )


def write_status(output: Path, **values: object) -> None:
    """Tell whoever waits for the run how it ended; the file appears whole or not at all."""
    part = output / (STATUS + ".part")
    part.write_text(json.dumps(values), encoding="utf-8")
    os.replace(part, output / STATUS)


def server_app(model: nn.Module, plan: Plan) -> ServerApp:
    """The app that the SuperLink runs. The result is run.npz in the folder that the run's
    configuration names as `output`, on the SuperLink's machine. Taught in chapter 14.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        output = Path(str(context.run_config[OUTPUT]))
        output.mkdir(parents=True, exist_ok=True)
        try:
            run = run_rounds(grid, model, plan, output)
        except Exception as error:
            write_status(output, state="failed", error=f"{type(error).__name__}: {error}")
            raise
        write_status(output, state="finished", absent=run.absent, asked_again=run.asked_again)

    return app
