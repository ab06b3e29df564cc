"""The page of all settings."""

from __future__ import annotations

import re

from serve.settings_page import PAGE, settings_page


def test_the_page_is_up_to_date() -> None:
    hint = "run: trunkline agent schema --markdown --out docs/settings.md"
    assert PAGE.read_text(encoding="utf-8") == settings_page(), hint


def test_its_links_lead_somewhere_and_its_sections_are_told_apart() -> None:
    page = settings_page()
    sections = [title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)]
    assert len(sections) == len(set(sections))
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(sections)
    files = re.findall(r"\]\(([^#)]+)(?:#[^)]*)?\)", page)
    assert [name for name in files if not (PAGE.parent / name).is_file()] == []
