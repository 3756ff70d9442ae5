"""One thing has one name in Chinese too: what is said in the terminal, in reports and in the documents agrees."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
ONE_NAME = {"调优": "微调", "精调": "微调", "基础模型": "基座模型", "底座": "基座", "底模": "基座"}


def test_one_thing_has_one_name() -> None:
    files = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "recipes").rglob("*.yaml"),
        ROOT / "README.zh-CN.md",
    ]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {word} is called {ONE_NAME[word]}"
        for path in files
        for text in [path.read_text(encoding="utf-8")]
        for word in ONE_NAME
        if word in text
    ]
    assert not found
