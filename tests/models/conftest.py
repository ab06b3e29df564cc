from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.models.hub import FakeHub, serving


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeHub], None]]:
    """Puts a hub up, to which the hub's client is led until the test ends."""
    with ExitStack() as up:

        def put_up(fake: FakeHub) -> None:
            monkeypatch.setenv("HF_ENDPOINT", up.enter_context(serving(fake)))
            monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
            for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
                monkeypatch.delenv(variable, raising=False)

        yield put_up
