from __future__ import annotations

from pathlib import Path

import pytest

from models.references import Folder, Listed, Reference, Repository, parse, placed, short_name
from models.sources import WeightsError


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("whisper-tiny.en", Listed("whisper-tiny.en", None)),
        ("team.yaml#clinic", Listed("clinic", Path("team.yaml"))),
        ("../lists/team.yml#clinic-2", Listed("clinic-2", Path("../lists/team.yml"))),
        ("./clinic", Folder(Path("clinic"))),
        ("/srv/Clinic Whisper", Folder(Path("/srv/Clinic Whisper"))),
        ("acme/clinic", Folder(Path("acme/clinic"))),
        ("hf:acme/Clinic_Whisper", Repository("acme/Clinic_Whisper", "main")),
        ("hf:acme/clinic@v1.2", Repository("acme/clinic", "v1.2")),
        ("hf:acme/clinic@refs/pr/3", Repository("acme/clinic", "refs/pr/3")),
    ],
)
def test_how_it_is_written_says_what_it_is(reference: str, named: Reference) -> None:
    assert parse(reference) == named


@pytest.mark.parametrize("reference", ["", "Clinic", "hf:clinic", "hf:a/b/c", "team.yaml#", "team.json#clinic", "a b"])
def test_what_names_no_weights_is_told_with_what_would(reference: str) -> None:
    with pytest.raises(WeightsError, match=r"expected a name of `trunkline models list`, FILE\.yaml#NAME"):
        parse(reference)


def test_paths_are_seen_from_the_file_that_names_them_and_the_rest_stays() -> None:
    here = Path("/srv/stacks")
    assert placed("../clinic", here) == "/srv/clinic"
    assert placed("/opt/clinic/", here) == "/opt/clinic"
    assert placed("team.yaml#clinic", here) == "/srv/stacks/team.yaml#clinic"
    assert placed("~/clinic", here) == str(Path.home() / "clinic")
    for reference in ("whisper-base", "hf:acme/clinic@v1"):
        assert placed(reference, here) == reference


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("team.yaml#clinic", "clinic"),
        ("/srv/Clinic Whisper.en", "clinic-whisper.en"),
        ("hf:acme/Ohren.en@v1", "ohren.en"),
        ("/srv/.cache", "cache"),
        ("/", "weights"),
    ],
)
def test_files_that_belong_to_weights_are_called_after_them(reference: str, name: str) -> None:
    assert short_name(reference) == name
