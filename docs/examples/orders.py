"""A business system of a few lines, for docs/agents.md: `python docs/examples/orders.py`."""

import uvicorn
from fastapi import FastAPI, HTTPException

ORDERS = {
    "4711": {"state": "on its way", "arrives": "Thursday"},
    "4712": {"state": "being packed", "arrives": "Friday"},
}
app = FastAPI()


@app.get("/orders/{number}")
def order(number: str) -> dict[str, str]:
    if number not in ORDERS:
        raise HTTPException(404, "no such order")
    return ORDERS[number]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8099, log_level="error")
