"""One run of the viewer in a real browser: what an inspector does, and that nothing leaves the machine."""

import re

import pytest

from tests.browser import CHROMIUM, browser_page, upload, viewer
from tests.parts import draw_part, encode

pytestmark = pytest.mark.browser


@pytest.fixture
def photographs(tmp_path):
    """Return paths of a part and of a file cut short."""
    part, damaged = tmp_path / "part.png", tmp_path / "damaged.png"
    part.write_bytes(encode(draw_part(1, is_defective=True, size=300)))
    damaged.write_bytes(part.read_bytes()[:3000])
    return part, damaged


def test_an_inspector_gets_a_verdict_in_a_browser_and_nothing_leaves_the_machine(models_folder, tmp_path, photographs):
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt-get install chromium")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    part, damaged = photographs
    with viewer(models_folder, tmp_path / "viewer.log") as address, browser_page() as page:
        contacted = watch_requests(page)
        page.goto(address)
        upload(page, part)
        page.get_by_text("Not analyzed yet").wait_for()
        page.get_by_role("button", name="Analyze Image").click()
        verdict = page.locator(".verdict .word")
        verdict.wait_for()
        assert re.search("DEFECTIVE|REVIEW", verdict.inner_text())
        check_charts(page)
        check_demo_banner(page)
        upload(page, damaged)
        page.get_by_text("damaged.png: damaged or incomplete image file").wait_for()
        assert page.locator(".verdict").count() == 0
        assert not page.get_by_role("button", name="Analyze Image").is_enabled()
    assert {re.match(r"\w+://[^/]+", url)[0] for url in contacted} == {address, address.replace("http", "ws")}


def watch_requests(page) -> list[str]:
    """Return a list that collects the address of everything the page asks for."""
    contacted = []
    inline = ("data:", "blob:")
    page.on("request", lambda request: request.url.startswith(inline) or contacted.append(request.url))
    page.on("websocket", lambda socket: contacted.append(socket.url))
    return contacted


def check_charts(page) -> None:
    """Check that gauge and vote chart are drawn, inside the window, with a text equivalent."""
    gauge = page.locator(".st-key-confidence svg", has_text="100%")
    votes = page.locator(".st-key-votes svg", has_text="of 4")
    for chart in (gauge, votes):
        chart.wait_for()
        box = chart.bounding_box()
        assert box["width"] > 150
        assert box["height"] > 100
        assert box["x"] + box["width"] <= 1280
    assert page.get_by_label(re.compile("the overall confidence is")).count() > 0
    assert page.get_by_label(re.compile("^Votes: ")).count() > 0
    assert page.locator("table.votes tbody tr").count() == 4


def check_demo_banner(page) -> None:
    """Check that Demo Mode's banner stays in sight at the end of the page, then switch Demo Mode off."""
    switch = page.get_by_test_id("stSidebar").locator("label", has_text="Demo Mode")
    switch.click()
    page.get_by_text("Not analyzed yet").wait_for()
    page.get_by_role("button", name="Analyze Image").click()
    page.locator(".verdict .simulated").wait_for()
    last_row = page.locator("table.votes tbody tr").last
    last_row.scroll_into_view_if_needed()
    banner = page.get_by_text("DEMO MODE: SIMULATED PREDICTIONS").bounding_box()
    assert 0 <= banner["y"] <= 300
    assert last_row.bounding_box()["y"] > 300
    switch.click()
    page.get_by_text("DEMO MODE: SIMULATED PREDICTIONS").wait_for(state="detached")
