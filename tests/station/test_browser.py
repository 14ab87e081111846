"""Viewer and report in a real browser: what people see, and that nothing leaves the machine."""

import json
import re

import pytest

from tests.browser import CHROMIUM, browser_page, upload, viewer
from tests.operating_points import NO_OVERKILL
from tests.parts import draw_part, encode

pytestmark = pytest.mark.browser


@pytest.fixture
def photographs(tmp_path):
    """Return paths of a part and of a file cut short."""
    part, damaged = tmp_path / "part.png", tmp_path / "damaged.png"
    part.write_bytes(encode(draw_part(1, is_defective=True, size=300)))
    damaged.write_bytes(part.read_bytes()[:3000])
    return part, damaged


@pytest.fixture
def models_with_thresholds(own_models):
    """Return a models folder whose ensemble decides by an operating point."""
    description = json.loads((own_models / "ensemble.json").read_text())
    promise = {"max_escape_rate": 0.05, "confidence": 0.95, "n_defects": 148, "n_escapes": 3} | NO_OVERKILL
    description["operating_point"] = {"pass_below": 0.12, "fail_from": 0.62} | promise
    (own_models / "ensemble.json").write_text(json.dumps(description))
    return own_models


def test_an_inspector_gets_a_verdict_in_a_browser_and_nothing_leaves_the_machine(
    models_with_thresholds, tmp_path, photographs
):
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt-get install chromium")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    part, damaged = photographs
    with viewer(models_with_thresholds, tmp_path / "viewer.log") as address, browser_page() as page:
        contacted = watch_requests(page)
        page.goto(address)
        upload(page, part)
        page.get_by_text("Not analyzed yet").wait_for()
        page.get_by_role("button", name="Analyze Image").click()
        verdict = page.locator(".verdict .word")
        verdict.wait_for()
        assert re.search("DEFECTIVE|REVIEW", verdict.inner_text())
        check_scale(page)
        check_charts(page)
        check_demo_banner(page)
        upload(page, damaged)
        page.get_by_text("damaged.png: damaged or incomplete image file").wait_for()
        assert page.locator(".verdict").count() == 0
        assert not page.get_by_role("button", name="Analyze Image").is_enabled()
    assert {re.match(r"\w+://[^/]+", url)[0] for url in contacted} == {address, address.replace("http", "ws")}


@pytest.mark.parametrize("width", [1280, 794], ids=["screen", "A4"])
def test_the_report_shows_every_picture_offline_and_prints(tiny_project, width):
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH; on Debian: apt-get install chromium")
    report = tiny_project / "metrics" / "report.html"
    with browser_page(width) as page:
        contacted = watch_requests(page)
        page.goto(report.as_uri())
        assert page.get_by_role("heading", level=2).all_inner_texts()[0] == "What to expect of the verdicts"
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) >= 10
        assert min(widths) > 100, "every picture is drawn"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out at the right"
        assert page.pdf(format="A4").count(b"/Type /Page\n") >= 3
    assert contacted == [report.as_uri()]


def watch_requests(page) -> list[str]:
    """Return a list that collects the address of everything the page asks for."""
    contacted = []
    inline = ("data:", "blob:")
    page.on("request", lambda request: request.url.startswith(inline) or contacted.append(request.url))
    page.on("websocket", lambda socket: contacted.append(socket.url))
    return contacted


def check_scale(page) -> None:
    """Check that the zones fill the scale and that the mark stands where the numbers say."""
    scale = page.get_by_label(re.compile("^Scale of the probability of a defect from 0 to 100%"))
    probability = float(re.search(r"This part: [<>]?([\d.]+)%", scale.inner_text())[1])
    bar = scale.locator(".zones").bounding_box()
    mark = scale.locator(".zones i").bounding_box()
    middle = mark["x"] + mark["width"] / 2
    assert middle == pytest.approx(bar["x"] + bar["width"] * probability / 100, abs=2)
    zones = [zone.bounding_box() for zone in scale.locator(".zones span").all()]
    assert [zone["width"] / bar["width"] for zone in zones] == pytest.approx([0.12, 0.5, 0.38], abs=0.01)
    assert all(zone["height"] > 20 for zone in zones)


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
