"""Values marked in a text: whoever says what, the text stays the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stepdown.core.extraction.form import Span
from stepdown.report.format import clean
from stepdown.report.sections.disagreements import Piece, mark

TEXTS = st.text(max_size=80)
SPANS = st.lists(
    st.builds(Span, st.integers(-5, 90), st.integers(-5, 90), st.sampled_from(["artist", "album", "city"])), max_size=8
)


def marked(text: str, most: int = 600, **spans: list[Span]) -> list[Piece]:
    return mark(text, spans, most)


def test_the_same_span_is_one_piece_that_both_agree_on() -> None:
    span = Span(5, 9, "artist")
    pieces = marked("play abba now", student=[span], incumbent=[span])
    assert [piece.text for piece in pieces] == ["play ", "abba", " now"]
    assert pieces[1].said == {"student": ("artist",), "incumbent": ("artist",)}
    assert pieces[1].agreed
    assert pieces[0].said == pieces[2].said == {}


def test_overlapping_spans_say_who_means_what_of_each_part() -> None:
    pieces = marked("the black keys", student=[Span(0, 14, "artist")], incumbent=[Span(4, 14, "artist")])
    assert [(piece.text, piece.said["incumbent"], piece.agreed) for piece in pieces] == [
        ("the ", (), False),
        ("black keys", ("artist",), True),
    ]


def test_two_fields_may_name_the_same_characters() -> None:
    (piece,) = marked("abba", student=[Span(0, 4, "artist")], incumbent=[Span(0, 4, "album")])
    assert not piece.agreed
    assert piece.said == {"student": ("artist",), "incumbent": ("album",)}


def test_a_long_text_is_shown_round_the_first_difference() -> None:
    text = "x" * 5000 + "abba" + "y" * 5000
    pieces = marked(text, most=600, student=[Span(5000, 5004, "artist")], incumbent=[])
    assert [piece.text for piece in pieces] == ["…", "x" * 120, "abba", "y" * 476, "…"]
    assert [piece.text for piece in marked(text[:5004], most=600, student=[Span(5000, 5004, "a")], incumbent=[])] == [
        "…",
        "x" * 120,
        "abba",
    ]


def test_a_record_cannot_make_pieces_without_end() -> None:
    spans = [Span(place, place + 2, "artist") for place in range(500)]
    assert len(marked("ab" * 300, student=spans, incumbent=[])) <= 202


@given(text=TEXTS, ours=SPANS, theirs=SPANS)
def test_the_pieces_are_the_text(text: str, ours: list[Span], theirs: list[Span]) -> None:
    pieces = mark(text, {"student": ours, "incumbent": theirs}, 600)
    assert "".join(piece.text for piece in pieces) == clean(text)
    said = sum(len(piece.text) for piece in pieces if piece.said)
    covered = {
        place
        for span in (*ours, *theirs)
        if 0 <= span.start < span.end <= len(text)
        for place in range(span.start, span.end)
    }
    assert said == len(covered)
