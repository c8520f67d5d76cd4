"""The same sum by other people's programs, as oracle and comparison. Taught in chapter 07."""

from fedlab_utils.privacy.secure.rivals.with_flower import FlowerSum, flower_mean
from fedlab_utils.privacy.secure.rivals.with_mpyc import MpycSum, mpyc_sum

__all__ = ["FlowerSum", "MpycSum", "flower_mean", "mpyc_sum"]
