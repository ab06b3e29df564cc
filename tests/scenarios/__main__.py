"""Plays scenario files and shows what came of them: `python -m tests.scenarios tests/scenarios/*.yaml`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from models.settings import SettingsError
from tests.scenarios.form import load_scenario
from tests.scenarios.verdict import faults, told
from tests.scenarios.virtual import play


def main(arguments: list[str]) -> int:
    paths = [Path(argument) for argument in arguments if not argument.startswith("-")]
    failed = 0
    for path in paths:
        try:
            scenario = load_scenario(path)
        except SettingsError as error:
            failed += 1
            print(error)
            continue
        began_s = time.perf_counter()
        talk = play(scenario)
        took_s = time.perf_counter() - began_s
        found = faults(scenario, talk)
        failed += bool(found)
        print(f"{'FAILED' if found else 'ok    '} {path.stem}: {talk.log[-1].at_s:.0f} s of call in {took_s:.2f} s")
        for fault in found:
            print(f"       {fault}")
        if "-v" in arguments:
            print(told(talk))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
