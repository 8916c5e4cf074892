"""What reads the shop's topics, and streams that have nothing to say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serve.gateway.hub import Hub
from serve.gateway.position import ShopPosition
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.streams import shop_followers, shop_stream
from serve.gateway.testing import RowLog
from tests.shop_site import answer, event, goods_rows, service_of, stock, tell_answers, tell_events
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(pages=tmp_path, shop=True)


@pytest.fixture
def log() -> RowLog:
    return RowLog()


async def test_a_stream_without_news_beats_as_often_as_is_set_and_no_more(
    settings: GatewaySettings, log: RowLog
) -> None:
    service = service_of(settings.model_copy(update={"heartbeat_s": 1e9}), log)
    stream = shop_stream(service, Hub(10), "me", ShopPosition(0))
    assert (await anext(stream)).event == "state"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 1.5)  # it looks every second, and has nothing to say


async def test_answers_and_events_are_taken_in_after_the_catalogue(settings: GatewaySettings, log: RowLog) -> None:
    tell_answers(log, answer("you", ["item-1"], "item-2"))
    tell_events(log, event("you", "view", item_id="item-2"))
    rows = goods_rows(600)
    stock(log, rows)
    service, feeds = service_of(settings, log), log.feeds().shop
    assert feeds is not None
    known = []
    for name in ("apply_answers", "apply_events"):
        apply = getattr(service.board, name)

        def noting(*told: Any, apply: Any = apply) -> set[str]:
            known.append(service.board.catalogue.position)
            return apply(*told)

        setattr(service.board, name, noting)
    running = [asyncio.create_task(one.run()) for one in shop_followers(feeds, service, Hub(10))]
    async with asyncio.timeout(PATIENCE_S):
        while len(known) < 2:
            await asyncio.sleep(0.01)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert known == [600, 600]
