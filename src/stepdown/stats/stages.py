"""Further looks at one hypothesis with more rows, at one level for all looks together.

A stage tests the hypothesis on rows of its own, which no earlier stage used, and gives a p-value. It rejects at a fixed
share of the level it was given. If it does not reject, its p-value decides how much level the next stage gets: much
after a near miss, almost none after a clear failure. Whether there is a next stage, and how many rows it has, may be
decided after looking at everything so far.

    level = 0.05
    rejected = p_1 <= stage_level(level)           # else, with fresh rows:
    level = level_left(level, p_1)
    rejected = p_2 <= stage_level(level)           # and so on

Why all stages together err with probability at most `level`. Let the hypothesis be true and P be the p-value of the
first stage, so that P(P <= u) <= u for every u. Let B(p) = 1 for p <= s level, where the stage rejects (s is the fixed
share), and B(p) = level_left(level, p) above.

1. B never rises with p, and its integral over [0, 1] is s level + (level - s level) = level, by the choice of
   c below.
2. A function that never rises is a mixture of indicators of [0, u], so E[B(P)] <= integral of B = level for every P
   that is uniform or larger: discrete and conservative p-values lose nothing of the guarantee.
3. Given the first stage, the later stages reject with probability at most level_left(level, p): for one further stage
   because its p-value is valid on fresh rows whatever their number, for k further stages by induction on k. So the
   whole rejects with probability at most E[B(P)] <= level.

The conditional error is that of Fisher's product of p-values, level_left = c / p, with c set by step 1 in closed form:
the integral of c / p from s level to 1 is c log(1 / (s level)) = (1 - s) level. Of the functions tried, the inverse
normal combination has up to one point more power where all stages are of one size; the product is as sharp where later
stages are larger, leaves something after every p-value, and can be checked by hand.

The hypothesis is fixed before its first stage: another candidate, chosen with these rows in sight, is another
hypothesis. The p-value may be the largest of several claims', all of which must hold. Points of a path that is walked
in a fixed order are tested with a level each: a point passes if it passes at any stage, and the walk is made over
those decisions.

Sources: Bauer & Köhne (1994), Evaluation of experiments with adaptive interim analyses, Biometrics 50, for the product;
Müller & Schäfer (2001), Adaptive group sequential designs for clinical trials, Biometrics 57, for conditional errors;
Brannath, Posch & Bauer (2002), Recursive combination tests, JASA 97, for the recursion.
"""

import math

SHARE = 0.75  # of the level: as much for the first look as `spending` gives; docs/log.md has the power of other shares
LARGEST_LEVEL = 0.9  # above it, c / p could exceed 1


def stage_level(level: float) -> float:
    """The part of `level`, from 0 to 0.9, at which this stage may reject."""
    if not 0.0 <= level <= LARGEST_LEVEL:
        raise ValueError(f"Got level {level}; expected a value from 0 to {LARGEST_LEVEL}.")
    return SHARE * level


def level_left(level: float, p_value: float) -> float:
    """Level of the next stage after a stage at `level` that did not reject with `p_value`.

    ValueError if the p-value lies at or below `stage_level(level)`: that stage rejected, and nothing is left to test.
    """
    spent = stage_level(level)
    if not spent < p_value <= 1.0:
        raise ValueError(f"Got p-value {p_value} at a stage level of {spent}; expected one above it and at most 1.")
    return (level - spent) / (math.log(1.0 / spent) * p_value) if spent > 0.0 else 0.0
