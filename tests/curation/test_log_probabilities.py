from __future__ import annotations

from stepdown.core.calls import Call
from stepdown.curation.log_probabilities import read_log_probabilities


def recorded(*tokens: tuple[str, float, dict[str, float]]) -> Call:
    content = [
        {"token": token, "logprob": value, "top_logprobs": [{"token": t, "logprob": v} for t, v in others.items()]}
        for token, value, others in tokens
    ]
    message = {"role": "assistant", "content": "".join(token for token, _, _ in tokens)}
    return Call(id="1", request={}, response={"choices": [{"message": message, "logprobs": {"content": content}}]})


def test_plain_label():
    call = recorded(("spam", -0.1, {"spam": -0.1, "ham": -2.5, "Sure": -4.0}))
    assert read_log_probabilities(call, "spam", ("ham", "spam")) == {"spam": -0.1, "ham": -2.5}


def test_a_label_inside_json_starts_in_the_middle_of_a_token():
    call = recorded(('{"c":', 0.0, {}), ('"ca', -0.3, {'"ca': -0.3, '"lo': -1.5}), ('rd"}', -0.01, {}))
    assert read_log_probabilities(call, "card", ("card", "loan", "other")) == {"card": -0.3, "loan": -1.5}


def test_a_token_that_begins_several_labels_counts_for_none():
    call = recorded(("top", -0.1, {"card": -2.0, "pay": -3.0}))
    labels = ("top", "card_arrival", "card_lost", "pay_in")
    assert read_log_probabilities(call, "top", labels) == {"top": -0.1, "pay_in": -3.0}


def test_none_where_none_were_recorded_or_they_are_rubbish():
    plain = Call(id="1", request={}, response={"choices": [{"message": {"content": "spam"}}]})
    assert read_log_probabilities(plain, "spam", ()) is None
    odd = {"choices": [{"message": {"content": "spam"}, "logprobs": {"content": [{"token": 5}, None]}}]}
    assert read_log_probabilities(Call(id="1", request={}, response=odd), "spam", ()) is None
    assert read_log_probabilities(recorded(("spam", float("nan"), {})), "spam", ()) is None
