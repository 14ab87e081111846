"""Take the documents' pictures of the viewer with a real browser: `python docs/take_screenshots.py`.

Needs the models of the project, its sample photographs, playwright and Debian's chromium. With ``--map`` those of the
detector's map are taken instead, after a run with ``detectors: [patch_memory]``.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from inspection.data.images import read_file  # noqa: E402
from inspection.data.manifest import TEST, read_manifest  # noqa: E402
from inspection.decision.inspector import Inspector  # noqa: E402
from inspection.errors import InspectionError  # noqa: E402
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE  # noqa: E402
from tests.browser import CHROMIUM, browser_page, upload, viewer  # noqa: E402

DOCS = ROOT / "docs"
MODELS = ROOT / "models"
WIDTH = 1280
MIN_HEIGHT = 480


def main() -> None:
    """Write every picture."""
    manifest = read_manifest(ROOT / "data" / "manifest.csv")
    inspector = Inspector(MODELS)
    if "--map" in sys.argv:
        take_maps(first_called_right(inspector, manifest, DEFECTIVE, needs_region=True))
        return
    defective, good = (first_called_right(inspector, manifest, label) for label in (DEFECTIVE, NON_DEFECTIVE))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "viewer.log"
        damaged = Path(folder) / f"{defective.stem}_cut_short.png"
        damaged.write_bytes(defective.read_bytes()[:9000])
        with viewer(MODELS, log) as address:
            take_verdict(address, defective, "viewer-defective.png")
            take_verdict(address, good, "viewer-good.png")
            take_damaged(address, damaged, "viewer-damaged.png")
        with viewer(Path(folder) / "models", log) as address:
            take_verdict(address, defective, "viewer-demo.png", demo=True)


def take_maps(photograph: Path) -> None:
    """Take the page with a map, and the gallery of the report."""
    with tempfile.TemporaryDirectory() as folder, viewer(MODELS, Path(folder) / "viewer.log") as address:
        take_verdict(address, photograph, "viewer-map.png")
    shutil.copy(ROOT / "metrics" / "maps.png", DOCS / "defect-maps.png")


def first_called_right(inspector: Inspector, manifest: pd.DataFrame, label: int, needs_region: bool = False) -> Path:
    """Return the first test photograph whose label is certain and that the models call by it."""
    is_certain = manifest["defect_probability"] == float(label == DEFECTIVE)
    for path in manifest["path"][(manifest["split"] == TEST) & (manifest["label"] == label) & is_certain]:
        verdict = inspector.inspect(read_file(ROOT / path), path)
        if verdict.verdict == CLASS_NAMES[label] and (verdict.regions or not needs_region):
            return ROOT / path
    raise InspectionError(f"the models call no test photograph {CLASS_NAMES[label]} that is certainly so.")


def take_verdict(address: str, photograph: Path, name: str, demo: bool = False) -> None:
    """Upload, analyze, and take the page."""
    with browser_page(WIDTH) as page:
        page.goto(address)
        if demo:
            page.get_by_test_id("stSidebar").locator("label", has_text="Demo Mode").click()
            page.get_by_text("DEMO MODE: SIMULATED PREDICTIONS").wait_for()
        upload(page, photograph)
        page.get_by_text("Not analyzed yet").wait_for()
        page.get_by_role("button", name="Analyze Image").click()
        page.locator(".st-key-confidence svg", has_text="100%").wait_for()
        page.locator(".st-key-votes svg", has_text="Defective").wait_for()
        take(page, name)


def take_damaged(address: str, photograph: Path, name: str) -> None:
    """Upload a damaged file, and take the page."""
    with browser_page(WIDTH) as page:
        page.goto(address)
        upload(page, photograph)
        page.get_by_text("Not inspected").wait_for()
        take(page, name)


def take(page, name: str) -> None:
    """Write the page as tall as its content; Streamlit scrolls inside itself, so the window has to grow."""
    page.mouse.move(WIDTH - 1, 1)
    height = page.evaluate("Math.ceil(document.querySelector('.stMainBlockContainer').getBoundingClientRect().height)")
    page.set_viewport_size({"width": WIDTH, "height": max(MIN_HEIGHT, height)})
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1000)  # Streamlit fades elements in, and charts settle into the new size
    page.screenshot(path=DOCS / name)
    print(f"{name}: {page.viewport_size}")


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("No chromium on the PATH; on Debian: apt-get install chromium")
    try:
        main()
    except InspectionError as problem:
        sys.exit(str(problem))
