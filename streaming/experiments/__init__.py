"""What came of what was offered: feedback joined to answers, what another policy would be worth, and A/B tests.

answers, impressions, clicks ─► outcomes ─► policy_value   (inverse propensity, from what was explored)
                                        ├─► compare        (two arms, looked at as often as one likes)
                                        └─► figures        (both, for every arm)
"""

from streaming.experiments.feedback import by_unit, outcomes
from streaming.experiments.policy_value import PolicyValue, policy_value
from streaming.experiments.report import ArmFigures, figures
from streaming.experiments.sequential import Comparison, Tally, compare

__all__ = ["ArmFigures", "Comparison", "PolicyValue", "Tally", "by_unit", "compare", "figures", "outcomes",
           "policy_value"]  # fmt: skip
