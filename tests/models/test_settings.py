"""What a YAML file's mistakes are called: the key, what is wrong, what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from models.settings import SettingsError, StrictModel, load_mapping, parse_settings


class Lamp(StrictModel):
    kind: Literal["lamp"]
    watts: int = 5


class Bell(StrictModel):
    kind: Literal["bell"]
    tune: str = ""


class House(StrictModel):
    street: str
    floors: tuple[str, ...] = ()
    things: dict[str, Annotated[Lamp | Bell, Field(discriminator="kind")]] = Field(default_factory=dict)
    keys: dict[str, str] = Field(default_factory=dict)


HOUSE = """street: Elm
floors: [ground, attic]
things:
  hall: {kind: lamp, watts: 40}
  door:
    kind: bell
    tune: ding
"""


def told(text: str) -> str:
    with pytest.raises(SettingsError) as error:
        parse_settings(text, House, "house.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("floors:", "street: Oak\nfloors:"), "house.yaml: street: this key stands twice, in lines 1 and 2"),
        (("watts: 40", "watts: 40, watts: 60"), "house.yaml: things.hall.watts: this key stands twice, in lines 4 and"),
        (("    tune: ding", "    tune: ding\n    tune: dong"), "things.door.tune: this key stands twice, in lines 7"),
        (("    tune: ding", "    tun: ding"), "things.door.tun: unknown key; did you mean 'tune'?"),
        (("    tune: ding", "    watts: 3"), "things.door.watts: unknown key; expected one of kind, tune"),
        (("street: Elm", "stret: Elm"), "stret: unknown key; did you mean 'street'?"),
        (("kind: bell", "kind: bel"), "things.door.kind: no such kind: 'bel'; did you mean 'bell'?"),
        (("attic", "Yes"), "floors[1]: Input should be a valid string; got True (bool); YAML reads an unquoted yes"),
        (("attic", "12"), "put it in quotes"),
        (("street: Elm", "street: Elm\nkeys: {on: light}"), "keys.on: line 2: YAML takes this key for a truth value"),
        (("    kind: bell", "   kind: bell"), "not valid YAML: line 7, column 9"),
        (("street: Elm", "- Elm"), "not valid YAML: line 2"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_expected(change: tuple[str, str], said: str) -> None:
    assert change[0] in HOUSE
    assert said in told(HOUSE.replace(*change, 1))


def test_an_alias_is_no_second_key_and_merged_keys_may_be_overridden() -> None:
    text = HOUSE.replace("hall: {", "hall: &a {").replace("door:", "yard: *a\n  porch: {<<: *a, watts: 7}\n  door:")
    house = parse_settings(text, House, "house.yaml")
    assert [house.things["yard"], house.things["porch"]] == [Lamp(kind="lamp", watts=40), Lamp(kind="lamp", watts=7)]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read"):
        load_mapping(tmp_path / "none.yaml")
