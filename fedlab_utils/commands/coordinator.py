"""Commands of whoever trains and signs. Taught in chapter 14."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from fedlab_utils.errors import FedlabError

SETTINGS = "settings.json"
PASSWORD = "FEDLAB_KEY_PASSWORD"  # environment variable; never on the command line


def _raw(settings: dict[str, Any]) -> Any:
    import fedlab_utils as fl

    clients = {} if settings["clients"] is None else {"clients": settings["clients"]}
    return fl.load(settings["dataset"], scaler=None, seed=settings["seed"], **clients)


def train(given: Namespace) -> None:
    """Train, going on from the checkpoint if there is one, and write bundle and settings."""
    import fedlab_utils as fl
    from fedlab_utils.data.standardise import federated_scaler
    from fedlab_utils.detect import ScoreHistogram
    from fedlab_utils.serving import export, write_bundle

    folder = Path(given.run)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: getattr(given, key) for key in ("dataset", "clients", "seed")}
    raw = _raw(settings)
    scaler = federated_scaler(client.x_train for client in raw)
    federation = raw.standardised()
    run = fl.fit(
        fl.dense_autoencoder(federation.n_features, seed=given.seed),
        federation,
        rounds=given.rounds,
        local=fl.SGD(lr=given.lr, epochs=given.epochs, batch_size=given.batch_size),
        seed=given.seed,
        checkpoint=folder / "checkpoint.npz",
    )
    histogram = ScoreHistogram.total(
        ScoreHistogram.of(fl.reconstruction_error(run.model, client.x_calibration))
        for client in federation
    )
    bundle = export(
        run.model,
        scaler,
        federation.features,
        histogram,
        name=given.name or f"{given.dataset.replace('_', '-')}-autoencoder",
        alarm_rate=given.alarm_rate,
        notes={"dataset": given.dataset, "rounds": str(given.rounds), "seed": str(given.seed)},
    )
    write_bundle(folder, bundle)
    (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    print(
        f"{bundle.card.name}: {len(federation)} clients, {given.rounds} rounds, last loss "
        f"{run.history.loss[-1]:.4f}, threshold {bundle.card.threshold:.4g}; written to {folder}"
    )


def evaluate(given: Namespace) -> None:
    """Print AP and AUC of the exported model on the data set it was trained for."""
    import fedlab_utils as fl
    from fedlab_utils.serving import read_bundle, to_model

    folder = Path(given.run)
    bundle = read_bundle(folder)
    raw = _raw(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    report = fl.evaluate({bundle.card.name: to_model(bundle)}, raw.standardised())
    print(report.table().round(3).to_string())
    print(report.caption())


def keys(given: Namespace) -> None:
    """Make a key pair."""
    from fedlab_utils.serving.keys import fingerprint, make_keys, read_public_key

    private, public = make_keys(Path(given.folder), os.environ.get(PASSWORD))
    print(f"{private}: keep it; {public}: give it to the banks")
    print(f"fingerprint {fingerprint(read_public_key(public))}: read it out to them, too")


def publish(given: Namespace) -> None:
    """Sign a bundle and put it into a registry."""
    from fedlab_utils.serving import Registry, read_bundle, read_private_key

    key = read_private_key(Path(given.key), os.environ.get(PASSWORD))
    released = Registry(given.registry).publish(read_bundle(Path(given.run)), key, days=given.days)
    print(f"{released.name} {released.version}, valid until {released.valid_until}")


def certificates(given: Namespace) -> None:
    """Make what a SuperLink and its SuperNodes need to know each other."""
    from fedlab_utils.runtimes.flower import make_certificates, make_node_key

    if not given.host:
        raise FedlabError("name the SuperLink: --host superlink.example.org, repeatable.")
    folder = Path(given.folder)
    made = make_certificates(folder / "superlink", given.host, given.days)
    print(f"{made.certificate}, {made.key}: for the SuperLink; {made.authority}: for everybody")
    for bank in given.bank or ():
        key = make_node_key(folder / "nodes", bank)
        print(f"{key.private}: for {bank} only; {key.public}: to be registered")
