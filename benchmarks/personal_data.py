"""How much personal data is found, on labelled text of the shared data folder beside the repository.

python -m benchmarks.personal_data                               formats: what is found where nothing is
STEPDOWN_NAMES=tagger python -m benchmarks.personal_data         names too, by the tagger that comes with stepdown
STEPDOWN_NAMES=PIPELINE python -m benchmarks.personal_data       or by a spaCy pipeline
python -m benchmarks.personal_data --train FILE                  train the tagger anew

The tagger learns from WNUT17's training set, the first seven tenths of wikigold and the first eight of BTC; all are
measured on WNUT17's test set and on the rest of the others. A name counts as found where every character of it is
masked, as precise where every masked word is part of some name.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stepdown.curation.names import ORGANISATION, PERSON, TOKEN, VARIABLE, names_in, packed_weights, train
from stepdown.curation.personal_data import find

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "ner"
SETS = {
    "wikigold": ("wikigold/CONLL-format/data/wikigold.conll.txt", 0.7),
    "WNUT17": ("WNUT17/CONLL-format/data/test/emerging.test.annotated", 0.0),
    "BTC": ("BTC/CONLL-format/data/*.conll", 0.8),
}
"""Files, and the share of their sentences that the tagger learns from."""
WNUT17_TRAIN = "WNUT17/CONLL-format/data/train/wnut17train.conll"
KINDS = {
    "PER": "PERSON",
    "person": "PERSON",
    "ORG": "ORGANISATION",
    "corporation": "ORGANISATION",
    "group": "ORGANISATION",
}
TAGGED = (PERSON, ORGANISATION)

Span = tuple[str, int, int]


def read_labelled(pattern: str) -> Iterator[tuple[str, list[Span]]]:
    """(text, the spans of its names as (kind, start, end), other entities under their own label) of each sentence."""
    for path in sorted(FOLDER.glob(pattern)):
        for block in path.read_text("utf-8", "replace").split("\n\n"):
            rows = [line.split() for line in block.splitlines() if len(line.split()) >= 2]
            text, last = "", "O"
            spans: list[Span] = []
            for word, label in ((row[0], row[-1]) for row in rows):
                start = len(text) + bool(text)
                text = f"{text} {word}" if text else word
                kind = label.partition("-")[2]
                if label != "O" and not label.startswith("B-") and last.partition("-")[2] == kind:
                    spans[-1] = (*spans[-1][:2], len(text))
                elif label != "O":
                    spans.append((KINDS.get(kind, kind), start, len(text)))
                last = label
            if text:
                yield text, spans


def train_tagger(to: Path) -> None:
    """Two rounds of wikigold count for one: it alone is edited text."""
    learned = [*read_labelled(WNUT17_TRAIN)]
    for name, (pattern, share) in SETS.items():
        sentences = [*read_labelled(pattern)]
        learned += sentences[: int(share * len(sentences))] * (2 if name == "wikigold" else 1)
    examples = []
    for text, spans in learned:
        at = {place: kind for kind, begin, end in spans for place in range(begin, end)}
        found = [*TOKEN.finditer(text)]
        kinds = [at.get(token.start(), "") for token in found]
        examples.append(([token[0] for token in found], [kind if kind in TAGGED else "" for kind in kinds]))
    to.write_bytes(packed_weights(train(examples, rounds=4, seed=7)))


def main() -> None:
    if "--train" in sys.argv:
        train_tagger(Path(sys.argv[-1]))
        return
    chosen = os.environ.get(VARIABLE, "")
    print(f"names: {chosen or 'not looked for, because ' + VARIABLE + ' is not set'}")
    for name, (pattern, share) in SETS.items():
        sentences = [*read_labelled(pattern)]
        sentences = sentences[int(share * len(sentences)) :]
        formats: Counter[str] = Counter(one.kind for text, _ in sentences for one in find(text))
        print(f"\n{name}: {len(sentences):,} sentences; formats found: {dict(formats) or 'none'}")
        if not chosen:
            continue
        there: Counter[str] = Counter()
        found: Counter[str] = Counter()
        said: Counter[str] = Counter()
        right: Counter[str] = Counter()
        start = time.process_time()
        for text, spans in sentences:
            masked = [*names_in(text)]
            covered = {at for _, begin, end in masked for at in range(begin, end)}
            names = {at for _, begin, end in spans for at in range(begin, end)}
            for kind, begin, end in spans:
                there[kind] += 1
                found[kind] += all(at in covered for at in range(begin, end))
            for kind, begin, end in masked:
                said[kind] += 1
                right[kind] += all(at in names or text[at] == " " for at in range(begin, end))
        seconds = time.process_time() - start
        for kind in ("PERSON", "ORGANISATION"):
            recall, precision = found[kind] / max(there[kind], 1), right[kind] / max(said[kind], 1)
            print(f"  {kind}: recall {recall:.1%} of {there[kind]:,}, precision {precision:.1%} of {said[kind]:,}")
        print(f"  {1000 * seconds / max(len(sentences), 1):.2f} ms a sentence")


if __name__ == "__main__":
    main()
