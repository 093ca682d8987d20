"""What a student is asked, and how it is masked."""

from __future__ import annotations

from stepdown.core.calls import masked_input
from stepdown.core.inputs import Input, Passage, inputs_of

REQUEST = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi Ann"}],
}


def test_messages_are_those_of_the_request_and_otherwise_the_text_alone() -> None:
    assert Input("hi Ann", REQUEST).messages == REQUEST["messages"]
    assert Input("hi Ann").messages == [{"role": "user", "content": "hi Ann"}]
    assert inputs_of("ab") == [Input("a"), Input("b")]


def test_every_text_of_an_input_is_masked_and_the_input_itself_stays() -> None:
    given = Input("hi Ann", REQUEST, (Passage("Ann lives here.", "page 3"),))
    shown = masked_input(given, lambda text: text.replace("Ann", "[NAME]"))
    assert "Ann" not in repr(shown)
    assert shown.messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi [NAME]"}]
    assert shown.passages == (Passage("[NAME] lives here.", "page 3"),)
    assert given.messages[1]["content"] == "hi Ann"
    assert masked_input(Input("Bob"), str.upper) == Input("BOB")
