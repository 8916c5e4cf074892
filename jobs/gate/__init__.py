"""The gate: may a candidate take the place of the version that serves? Judged on matches that it has not learned from.

    criteria.py    figures against bounds: which of two models is better beyond noise, calibrated, as fast
    promises.py    what every answer must keep whatever the weights: camps, sums, time, the unknown
    timing.py      times of two models, taken in turn
    contender.py   a stored version as it would serve
    judge.py       two stored versions and a window of matches in, a verdict out

Every criterion is a row of the verdict, with its figure and its bound.
"""
