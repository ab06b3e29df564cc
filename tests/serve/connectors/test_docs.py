"""docs/connectors.md: its YAML is real, and its guide keeps its word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from serve.connectors.opening import open_connectors
from serve.connectors.presets import PRESETS, Expanded, expand
from serve.connectors.secret_values import SecretReader
from tests.serve.connectors.fakes import Answer, FakeVendor, Seen
from tests.serve.connectors.rig import FakeClock, http_rig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "connectors.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def expanded(block: str) -> Expanded:
    document = yaml.safe_load(block)
    # The page's OpenAPI file lies beside this test.
    return expand(document["connections"], document["tools"], source=str(Path(__file__).with_name("agent.yaml")))


class FakeShop(FakeVendor):
    name = "shop"

    def authorized(self, request: Seen) -> bool:
        return request.headers["x-api-key"] == "shop-key-value"


def test_the_guide_is_a_whole_tool_in_under_20_lines() -> None:
    assert len(BLOCKS[0].splitlines()) < 20
    [(name, tool)] = expanded(BLOCKS[0]).tools.items()
    assert name == "order_state"
    assert tool.http is not None


async def test_the_guides_tool_works() -> None:
    document = yaml.safe_load(BLOCKS[0])
    vendor = FakeShop()
    async with vendor.running():
        document["connections"]["shop"] |= {"base_url": f"{vendor.url}/v1", "allow_private": True}
        async with http_rig(document["connections"], document["tools"], {"SHOP_KEY": "shop-key-value"}) as rig:
            vendor.answers.append(Answer(200, {"status": "sent", "delivery": {"date": "2026-12-01"}}))
            result = await rig.call("order_state", number="A/7")
    assert result.values == {"state": "sent", "arrives": "2026-12-01"}
    seen: Seen = vendor.seen[0]
    assert (seen.method, seen.target) == ("GET", "/v1/orders/A%2F7")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
async def test_every_example_opens(block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "shop"
    secret.write_text("x", encoding="utf-8")
    names = re.findall(r"env: (\w+)", block)
    found = expanded(block.replace("/run/secrets/shop", str(secret)))
    async with open_connectors(found, secrets=SecretReader(dict.fromkeys(names, "x")), clock=FakeClock()):
        assert found.tools


def test_the_table_of_presets_is_complete() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", TEXT, re.MULTILINE))
    assert rows == {
        path.stem: ", ".join(yaml.safe_load(path.read_text(encoding="utf-8"))["tools"])
        for path in PRESETS.glob("*.yaml")
    }
