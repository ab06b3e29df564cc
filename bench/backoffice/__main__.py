"""Serve a back office: `python -m bench.backoffice dental --port 8090 [--db FILE] [--now 2026-11-23T10:00]`."""

from __future__ import annotations

import argparse
import importlib
from datetime import datetime, timedelta
from pathlib import Path

import uvicorn

from bench.backoffice.office import Opener

NAMES = ("dental", "logistics", "salon")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backoffice", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--port", type=int, default=8090, help="on the loopback")
    parser.add_argument("--db", type=Path, default=None, help="SQLite file; kept in memory if not given")
    parser.add_argument(
        "--now",
        type=datetime.fromisoformat,
        default=None,
        help="local time there at the start, from which its clock goes on (default: this machine's)",
    )
    chosen = parser.parse_args()
    open_office: Opener = importlib.import_module(f"bench.backoffice.{chosen.name}").open_office
    ahead = chosen.now - datetime.now() if chosen.now else timedelta()
    app = open_office(chosen.db, lambda: datetime.now() + ahead)
    uvicorn.run(app, host="127.0.0.1", port=chosen.port, http="h11", log_level="warning")


if __name__ == "__main__":
    main()
