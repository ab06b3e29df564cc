from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.cublas import load_cublas12
from models.types import ModelFailure


def test_an_environment_without_it_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ModelFailure, match=r"libcublasLt\.so\.12 is not installed.*make env EXTRA=gpu"):
        load_cublas12([tmp_path])


def test_a_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "libcublasLt.so.12").write_bytes(b"no library")
    with pytest.raises(ModelFailure, match=r"libcublasLt\.so\.12: cannot be loaded"):
        load_cublas12([tmp_path])


LOADING = """
import sys
from pathlib import Path
from models.cublas import load_cublas12
load_cublas12([Path(sys.argv[1], "elsewhere"), Path(sys.argv[1])])
print(Path("/proc/self/maps").read_text())
"""


def test_it_is_loaded_from_where_it_lies(tmp_path: Path) -> None:
    """Any library under its names: the process's own map tells what was loaded."""
    mapped = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libm.so" in line]
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        shutil.copy(mapped[0], tmp_path / name)
    command = [sys.executable, "-c", LOADING, str(tmp_path)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert str(tmp_path / "libcublas.so.12") in loaded
