"""Flower's simulation (Ray). The engine is started once; a round is one send_and_receive."""

import functools
import os
import queue
import threading
import time
from typing import Any

import numpy as np
from worker import Job, torch_model

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")


@functools.lru_cache
def read_job(file: str) -> Job:
    """The job, read once in each process: Ray sends what a client app refers to with each task."""
    return Job.read(file)


def client_update(job: Job, client: int, start: np.ndarray) -> np.ndarray:
    """Weights [P] of one client after its batches, as Flower's PyTorch examples train."""
    import torch

    model = torch_model(job, start)
    optimiser = torch.optim.SGD(model.parameters(), lr=job.lr)
    for batch in torch.from_numpy(job.batches[client]):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(model(batch), batch).backward()
        optimiser.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy()


def rounds(job: Job):  # type: ignore[no-untyped-def]
    """Start the engine in a thread of its own; return the function that plays a round."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    file, clients = job.file, len(job.batches)
    client_app, server_app = ClientApp(), ServerApp()
    asked: queue.Queue = queue.Queue()
    answered: queue.Queue = queue.Queue()

    @client_app.train()
    def train(message, context):  # type: ignore[no-untyped-def]
        start = message.content["weights"].to_numpy_ndarrays()[0]
        client = int(context.node_config["partition-id"])
        weights = ArrayRecord([client_update(read_job(file), client, start)])
        content: dict[str, Any] = {"weights": weights, "metrics": MetricRecord({"client": client})}
        return Message(content=RecordDict(content), reply_to=message)

    @server_app.main()
    def serve(grid, context):  # type: ignore[no-untyped-def]
        while asked.get():
            while len(nodes := list(grid.get_node_ids())) < clients:
                time.sleep(0.05)
            record = RecordDict({"weights": ArrayRecord([job.start])})
            messages = [
                Message(content=record, message_type="train", dst_node_id=node) for node in nodes
            ]
            replies = list(grid.send_and_receive(messages))
            if failed := [reply.error for reply in replies if reply.has_error()]:
                raise RuntimeError(f"{len(failed)} clients failed: {failed[0]}")
            each = [r.content["weights"].to_numpy_ndarrays()[0] for r in replies]
            answered.put(np.mean(each, axis=0))

    def simulate() -> None:
        resources: Any = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        try:
            run_simulation(server_app, client_app, clients, backend_config=resources)
        except BaseException as error:
            answered.put(error)

    threading.Thread(target=simulate, daemon=True).start()

    def play_round() -> np.ndarray:
        asked.put(True)
        answer = answered.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return play_round
