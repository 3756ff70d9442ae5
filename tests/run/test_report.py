"""The report of a run: its numbers are those of the run's files, nothing in a row becomes markup, nothing is loaded."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from tiny_runs import make_base, run, tune_recipe

from microtune.data.languages import languages_of
from microtune.data.sources import Row
from microtune.errors import InputError, RunError
from microtune.run.folder import read_metrics
from microtune.run.html import el, visible
from microtune.run.report import write_report
from microtune.run.report.charts import thinned, ticks_of
from microtune.run.report.facts import histogram
from microtune.run.report.outcomes import by_length, judged
from microtune.run.report.words import TABLES
from microtune.run.verbs import Run
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.outcomes import Outcomes
from microtune.tasks.regression import Regression

pytestmark = pytest.mark.usefixtures("quick")

EVIL = '<script>alert(1)</script><img src=x onerror="go()">\x1b[31m\u202e" onclick="go()'
WORDS = {"card</style><b>": "my card was declined", "transfer&amp;": "the transfer has not arrived"}
TAGS = (
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "footer", "section", "article", "div"),
    *("p", "h1", "h2", "h3", "a", "span", "b", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"),
    *("dl", "dt", "dd", "details", "summary", "figure", "figcaption"),
    *("svg", "line", "rect", "circle", "polyline", "text"),
)


class Page(HTMLParser):
    """What a browser would make of a page: tags, attributes, text, style sheet."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.sheet = ""
        self.cells: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "every element is closed in its place"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.sheet += data
        else:
            self.texts.append(data)
            if "td" in self._open:
                self.cells[-1] += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on rows that want to be more than text."""
    folder = tmp_path_factory.mktemp("report")
    with open(folder / "data.csv", "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["text", "label", "channel"])
        for i in range(30):
            for label, text in WORDS.items():
                rows.writerow([f"{text} {i} {EVIL if i % 3 == 0 else ''}", label, f"<i>{i % 2}</i>"])
    run(tune_recipe(make_base(folder / "base"), str(folder / "data.csv")), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def record(finished: Path) -> dict[str, Any]:
    return json.loads((finished / "scores.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=["en", "zh"])
def html(finished: Path, request: pytest.FixtureRequest) -> str:
    return write_report(finished, lang=request.param).read_text(encoding="utf-8")


def test_nothing_in_a_row_becomes_markup(html: str) -> None:
    page = Page(html)
    assert page.tags <= set(TAGS)
    assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name, _ in page.attributes)
    text = "".join(page.texts)
    assert "<script>alert(1)</script>" in text, "shown as what it is"
    assert "\\x1b[31m" in text
    assert not re.search("[\x00-\x08\x0e-\x1f\u202e]", html)
    assert "<i>0</i>" in text, "values of fields too"


def test_nothing_is_loaded(html: str) -> None:
    page = Page(html)
    assert "http" not in html.replace("http-equiv", "")
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert "url(" not in page.sheet
    assert "@import" not in page.sheet
    digest = base64.b64encode(hashlib.sha256(page.sheet.encode()).digest()).decode()
    policy = next(value for name, value in page.attributes if name == "content")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_numbers_are_those_of_the_files(html: str, finished: Path, record: dict[str, Any]) -> None:
    page, text = Page(html), "".join(Page(html).texts)
    for split in record["scores"].values():
        for name, value in split["values"].items():
            low, high = split["intervals"][name]
            assert f"{value:.4f}" in page.cells
            assert f"{low:.4f} – {high:.4f}" in page.cells
    steps = [line for line in read_metrics(finished / "metrics.jsonl") if line["kind"] == "step"]
    looks = [m for m in read_metrics(finished / "metrics.jsonl") if m["kind"] == "score" and not m.get("final")]
    assert len(looks) == 2
    for value in (steps[0]["loss"], steps[-1]["loss"], *(look["loss"] for look in looks)):
        assert f"{value:.6g}" in text
    points = re.search(r'<polyline points="([^"]*)" class="line s0"', html)
    assert points is not None
    assert len(points[1].split()) == len(steps)
    facts = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    matrix = np.array(facts["judged"]["confusion"]["matrix"])
    rows = facts["splits"]["test"]["rows"]
    assert matrix.sum() == rows == 10
    accuracy = record["scores"]["test"]["values"]["accuracy"]
    assert np.trace(matrix) / rows == pytest.approx(accuracy, abs=1e-12)
    for group in facts["judged"]["groups"]:
        assert sum(row["rows"] for row in group["rows"]) == rows
        errors = sum(row["rows"] * row["value"] for row in group["rows"]) / rows
        assert errors == pytest.approx(1 - accuracy, abs=1e-12)
    assert {group["by"] for group in facts["judged"]["groups"]} >= {"field"}
    shown = [one for kind in facts["judged"]["examples"].values() for one in kind]
    assert len({one["line"] for one in shown}) == len(shown) == 10, "a row is shown once"


def test_both_languages_have_the_same_texts() -> None:
    en, zh = TABLES["en"], TABLES["zh"]
    assert list(en) == list(zh)
    empty = {key for table in (en, zh) for key, text in table.items() if not text}
    assert empty == {key for key in en if key.startswith("said.")} | {"notes_language"}

    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key, text in en.items():
        assert places(text) == places(zh[key]) or key.startswith("said."), key
        assert not text or zh[key] != text, key


def test_other_folders_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no report in the language "fr"'):
        Run(finished).report("fr")
    with pytest.raises(RunError, match="not a finished run; there is no scores"):
        write_report(tmp_path)
    (tmp_path / "scores.json").write_text('{"scores": {"test": {"values": {"accuracy": "high"}}}}', encoding="utf-8")
    with pytest.raises(RunError, match=r"scores\.json: cannot be read \(scores\.test\.values\.accuracy\)"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_run_of_an_older_version_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"scores": {"test": {"values": {"accuracy": 0.5}}}}', encoding="utf-8")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "0.5000" in text
    assert 'id="curves"' not in text


def test_findings_about_the_data_are_shown(finished: Path) -> None:
    finding = {"kind": "copies", "severity": "warning", "message": "12 rows <b>twice</b>", "advice": "<i>", "count": 12}
    (finished / "lint.json").write_text(json.dumps({"findings": [finding]}), encoding="utf-8")
    try:
        text = write_report(finished).read_text(encoding="utf-8")
        assert "12 rows &lt;b&gt;twice&lt;/b&gt;" in text
        assert '<span class="mark warn">warning</span>' in text
        assert '<td class="n">12</td>' in text
    finally:
        (finished / "lint.json").unlink()


def test_the_card_has_the_header_of_the_hub(finished: Path, record: dict[str, Any]) -> None:
    card = (finished / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == "unknown", "the base's folder has no card"
    assert values["pipeline_tag"] == "text-classification"
    assert values["tags"] == ["microtune", "classification", "top"]
    assert body.startswith("\n# run\n")
    name, results = model_index_to_eval_results(values["model-index"])
    assert name == "run"
    assert {r.metric_type: r.metric_value for r in results} == pytest.approx(
        record["scores"]["test"]["values"], abs=1e-6
    )
    assert ModelCardData(**values).eval_results


def test_regression_has_points_and_errors() -> None:
    task = Regression(text_field="text", label_field="score", mean=1.0, deviation=1.0)
    target = np.arange(8.0)
    columns = {
        "row": np.arange(8),
        "answer": target + np.array([0, 0, 0, 0, 1, 1, 1, 3]),
        "target": target,
        "loss": np.ones(8),
    }
    rows = [Row({"text": f"text {i}", "score": i}, "data.csv", i + 2) for i in range(8)]
    items = [_Sized(4 if i < 4 else 9) for i in range(8)]
    found = judged(task, Outcomes(columns, task.read), Encoded(items, EncodingReport()), rows)  # type: ignore[arg-type]
    assert found["points"] == [[float(t), float(a)] for t, a in zip(target, columns["answer"], strict=True)]
    assert [one["line"] for one in found["examples"]["worst"]][:1] == [9]
    assert [(r["label"], r["rows"], r["value"]) for r in found["groups"][0]["rows"]] == [("4", 4, 0.0), ("9", 4, 1.5)]
    assert found["measured"] == "absolute_error"


class _Sized:
    def __init__(self, size: int) -> None:
        self.size = size
        self.ids = np.zeros(size, dtype=np.int64)
        self.sources = np.zeros(0, dtype=np.int64)


def test_small_parts() -> None:
    assert histogram([3, 3, 5, 26]) == {"starts": list(range(3, 27)), "counts": [2, 0, 1, *[0] * 20, 1]}
    assert [row["rows"] for row in by_length("loss", np.ones(6), [1, 1, 1, 1, 1, 7])["rows"]] == [5, 1]
    assert thinned([(float(i), float(i % 2)) for i in range(1001)], 11)[::10] == [(0.0, 0.0), (1000.0, 0.0)]
    assert ticks_of(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert languages_of(["the card is not in my bag", "我的卡丢了", "xyzzy"]) == ["en", "zh"]
    assert visible("a\x00\ud800\u200e") == "a\\x00\\ud800\\u200e"
    assert el("p", '<a href="x">', title='"><b>') == ('<p title="&quot;&gt;&lt;b&gt;">&lt;a href=&quot;x&quot;&gt;</p>')
