"""The same federation on Flower: in this process, or in real processes with TLS and node keys.

    from fedlab_utils.runtimes.flower import FlowerFederation, Plan, fit_flower

    run = fit_flower(model, federation, plan)              # messages in memory
    with FlowerFederation(federation) as engine:           # a SuperLink and a SuperNode per bank
        run = engine.fit(model, plan)

Importing this does not import flwr. Taught in chapter 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.lazy import lazy_names

if TYPE_CHECKING:
    from fedlab_utils.runtimes.flower.asking import NobodyAnswered
    from fedlab_utils.runtimes.flower.certificates import (
        Certificates,
        NodeKey,
        make_certificates,
        make_node_key,
    )
    from fedlab_utils.runtimes.flower.client import client_app, write_bank
    from fedlab_utils.runtimes.flower.federation import FlowerFederation
    from fedlab_utils.runtimes.flower.loopback import LoopbackGrid, fit_flower
    from fedlab_utils.runtimes.flower.plan import Plan
    from fedlab_utils.runtimes.flower.project import read_start, write_project
    from fedlab_utils.runtimes.flower.server import FlowerRun, server_app
    from fedlab_utils.runtimes.flower.submitted import Submitted

_HOME = {
    "Certificates": "certificates",
    "FlowerFederation": "federation",
    "FlowerRun": "server",
    "LoopbackGrid": "loopback",
    "NobodyAnswered": "asking",
    "NodeKey": "certificates",
    "Plan": "plan",
    "Submitted": "submitted",
    "client_app": "client",
    "fit_flower": "loopback",
    "make_certificates": "certificates",
    "make_node_key": "certificates",
    "read_start": "project",
    "server_app": "server",
    "write_bank": "client",
    "write_project": "project",
}
__all__ = [
    "Certificates",
    "FlowerFederation",
    "FlowerRun",
    "LoopbackGrid",
    "NobodyAnswered",
    "NodeKey",
    "Plan",
    "Submitted",
    "client_app",
    "fit_flower",
    "make_certificates",
    "make_node_key",
    "read_start",
    "server_app",
    "write_bank",
    "write_project",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
