"""Whose name a variable holds."""

from __future__ import annotations

import pytest

from pipeline.slots.bearers import Bearer, bearer_of


@pytest.mark.parametrize(
    ("description", "bearer"),
    [
        ("name of the pet", "pet"),
        ("the dog's name", "pet"),
        ("what the caller's cat is called", "pet"),
        ("nombre de la mascota del dueño", "pet"),
        ("name of the caller", "caller"),
        ("your name", "caller"),
        ("the pet's owner", "caller"),
        ("name of the pet owner", "caller"),
        ("owner's last name", "caller"),
        ("nombre de quien llama", "caller"),
        ("nombre del dueño de la mascota", "caller"),
        ("", "person"),
        ("who the appointment is for", "person"),
        ("the patient to whom the caller's number belongs", "person"),
        ("el nombre del paciente", "person"),
    ],
)
def test_a_description_tells_whose_name_it_is(description: str, bearer: Bearer) -> None:
    assert bearer_of(description) == bearer
