"""Homomorphic aggregation: the server adds what it cannot read. Taught in chapter 08."""

from fedlab_utils.privacy.he.aggregators import CKKSMean, PaillierMean
from fedlab_utils.privacy.he.bench import compare_costs
from fedlab_utils.privacy.he.ckks import CKKSClient, CKKSKeyHolder, CKKSServer
from fedlab_utils.privacy.he.ckks_parameters import SUM, SUM_AND_SCALE, CKKSParameters
from fedlab_utils.privacy.he.messages import CiphertextError, Plan, RangeError
from fedlab_utils.privacy.he.packing import Packing
from fedlab_utils.privacy.he.paillier import (
    FixedPoint,
    PaillierClient,
    PaillierKeyHolder,
    PaillierServer,
)
from fedlab_utils.privacy.he.threshold import combine, deal

__all__ = [
    "SUM",
    "SUM_AND_SCALE",
    "CKKSClient",
    "CKKSKeyHolder",
    "CKKSMean",
    "CKKSParameters",
    "CKKSServer",
    "CiphertextError",
    "FixedPoint",
    "Packing",
    "PaillierClient",
    "PaillierKeyHolder",
    "PaillierMean",
    "PaillierServer",
    "Plan",
    "RangeError",
    "combine",
    "compare_costs",
    "deal",
]
