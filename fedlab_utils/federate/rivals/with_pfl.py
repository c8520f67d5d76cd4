"""pfl: FederatedAveraging on its simulated backend, with a torch model."""

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.common_types import Population
from pfl.context import CentralContext
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.model.pytorch import PyTorchModel
from worker import Job, torch_model


class Net(torch.nn.Module):
    """The job's model with the `loss` and `metrics` that pfl asks for."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.layers = torch_model(job, job.start)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        self.train()
        return torch.nn.functional.mse_loss(self.layers(x), x)

    def metrics(self, x: torch.Tensor) -> dict:
        return {}


def rounds(job: Job):  # type: ignore[no-untyped-def]
    """Return the function that plays a round."""
    net = Net(job)
    fresh = [p.detach().clone() for p in net.parameters()]
    model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), lr=1.0))
    rows = [torch.from_numpy(b.reshape(-1, b.shape[-1])) for b in job.batches]
    turn = iter(range(len(rows)))

    def sampler():  # type: ignore[no-untyped-def]
        return next(turn)

    data = FederatedDataset(lambda k: Dataset((rows[k],), user_id=str(k)), sampler)
    algorithm, backend = FederatedAveraging(), SimulatedBackend(data, data)
    context = CentralContext(
        current_central_iteration=0,
        do_evaluation=False,
        cohort_size=len(rows),
        population=Population.TRAIN,
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=1,
            evaluation_frequency=1,
            train_cohort_size=len(rows),
            val_cohort_size=0,
        ),
        model_train_params=NNTrainHyperParams(
            local_batch_size=job.batches.shape[2],
            local_num_epochs=1,
            local_learning_rate=job.lr,
        ),
        seed=0,
    )

    def play_round() -> np.ndarray:
        nonlocal turn
        turn = iter(range(len(rows)))
        for parameter, value in zip(net.parameters(), fresh, strict=True):
            parameter.data.copy_(value)
        statistics, metrics = backend.gather_results(model, algorithm, central_context=context)
        algorithm.process_aggregated_statistics(context, metrics, model, statistics)
        return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()

    return play_round
