"""Reasons for a win probability, and how true they are.

    contributions, details        the model's own: exact in log-odds, by group and within a group
    by_captum, by_shap            the same question put to Captum and SHAP, for comparison
    fidelity.table                all methods judged on the same frames
    change, key_moments           what a swing consists of; the frames that swung most
    without_event                 what it would be without the second dragon

Group order is the order of the model's config. Nothing here knows Kafka, Ray or a title.
"""

from models.attribution.coalitions import Coalitions, shapley
from models.attribution.histories import Attribution, Histories, WinNet
from models.attribution.own import Details, contributions, details

__all__ = ["Attribution", "Coalitions", "Details", "Histories", "WinNet", "contributions", "details", "shapley"]
