"""Attacks that test the defences: gradient inversion, membership inference (chapters 06-08), and
poisoning, free riding and backdoors from inside the federation (chapter 13).

    from fedlab_utils.attacks import invert_update, reconstruction_success
    inversion = invert_update(model, updates[0], local=SGD(0.05, batch_size=None), rows=8)
    reconstruction_success(client.x_train, inversion.rows, reference=public_rows).recovered

    from fedlab_utils.attacks import demo_setting, membership_inference
    demo = demo_setting()
    membership_inference(demo.train_many, demo.pool, members=demo.members).to_frame()

    from fedlab_utils.attacks import ALIE, Attacked
    fl.fit(model, federation, aggregator=Attacked(fl.Mean(), ALIE(), ("bank 3",), knows="all"))

To attack another training procedure, write a `train_many(parts, seed)` that returns a model for
each array of rows. Everything is imported on first use; nothing in the package depends on this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.lazy import lazy_names

if TYPE_CHECKING:
    from fedlab_utils.attacks.backdoor import (
        Fraud,
        FraudPattern,
        RecordedFraud,
        poison,
        record,
    )
    from fedlab_utils.attacks.free_riding import FreeRider
    from fedlab_utils.attacks.gradient_inversion import Inversion, invert_update
    from fedlab_utils.attacks.membership import (
        AttackScores,
        MembershipReport,
        lira,
        mean_range,
        membership_inference,
        tpr_bound,
        true_positive_rate,
    )
    from fedlab_utils.attacks.poisoning import Attacked, Knowledge, UpdateAttack
    from fedlab_utils.attacks.reconstruction import Reconstruction, reconstruction_success
    from fedlab_utils.attacks.success import (
        BackdoorSuccess,
        backdoor_success,
        success_table,
        summarise_success,
    )
    from fedlab_utils.attacks.trainers import Setting, demo_setting, local_trainer, one_client_each
    from fedlab_utils.attacks.update_attacks import (
        ALIE,
        Colluding,
        Gaussian,
        InnerProduct,
        ModelReplacement,
        Scaling,
        SignFlip,
        alie_deviations,
    )

_HOME = {
    "Fraud": "backdoor",
    "RecordedFraud": "backdoor",
    "record": "backdoor",
    "FraudPattern": "backdoor",
    "poison": "backdoor",
    "FreeRider": "free_riding",
    "Attacked": "poisoning",
    "Knowledge": "poisoning",
    "UpdateAttack": "poisoning",
    "BackdoorSuccess": "success",
    "backdoor_success": "success",
    "success_table": "success",
    "summarise_success": "success",
    "ALIE": "update_attacks",
    "Colluding": "update_attacks",
    "Gaussian": "update_attacks",
    "InnerProduct": "update_attacks",
    "ModelReplacement": "update_attacks",
    "Scaling": "update_attacks",
    "SignFlip": "update_attacks",
    "alie_deviations": "update_attacks",
    "AttackScores": "membership",
    "Inversion": "gradient_inversion",
    "MembershipReport": "membership",
    "Reconstruction": "reconstruction",
    "Setting": "trainers",
    "demo_setting": "trainers",
    "invert_update": "gradient_inversion",
    "lira": "membership",
    "local_trainer": "trainers",
    "mean_range": "membership",
    "membership_inference": "membership",
    "one_client_each": "trainers",
    "reconstruction_success": "reconstruction",
    "tpr_bound": "membership",
    "true_positive_rate": "membership",
}
__all__ = [
    "ALIE",
    "AttackScores",
    "Attacked",
    "BackdoorSuccess",
    "Colluding",
    "Fraud",
    "FraudPattern",
    "FreeRider",
    "Gaussian",
    "InnerProduct",
    "Inversion",
    "Knowledge",
    "MembershipReport",
    "ModelReplacement",
    "Reconstruction",
    "RecordedFraud",
    "Scaling",
    "Setting",
    "SignFlip",
    "UpdateAttack",
    "alie_deviations",
    "backdoor_success",
    "demo_setting",
    "invert_update",
    "lira",
    "local_trainer",
    "mean_range",
    "membership_inference",
    "one_client_each",
    "poison",
    "reconstruction_success",
    "record",
    "success_table",
    "summarise_success",
    "tpr_bound",
    "true_positive_rate",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
