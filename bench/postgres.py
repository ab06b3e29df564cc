"""A PostgreSQL server of our own on loopback, for as long as a test or a measurement runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.stack import free_port


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """Its URL, or None if PostgreSQL is not installed; ended and removed afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="trunkline-postgres-"))
    # It refuses to run as root.
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    bin_ = programs[-1].parent
    port = free_port("127.0.0.1")
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(bin_ / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=folder)

    try:
        run("initdb", "-A", "trust", "-U", "trunkline")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://trunkline@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
