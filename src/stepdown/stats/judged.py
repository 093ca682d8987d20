LEAST_GOLD = 30


def judged_p_value(judged, gold, probability, margin, error):
    return 1.0


def judged_upper_bound(judged, gold, probability, error):
    return 1.0
