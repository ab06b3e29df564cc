"""A language model in a process of its own, which can be killed: it says the fact it is handed.

`python -m tests.chaos.language_model --port N`
"""

from __future__ import annotations

import argparse

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Asked(BaseModel):
    prompt: str


@app.get("/health")
async def health() -> str:
    return "ok"


@app.post("/clauses")
async def clauses(asked: Asked) -> list[str]:
    return [f"Sure, {asked.prompt.partition('Fact: ')[2]}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="error")
