"""The door to the viewer: `streamlit run streamlit_app.py`. What it shows is in `inspection.station.page`."""

from pathlib import Path

from inspection.station.page import draw_page

if __name__ == "__main__":
    draw_page(Path(__file__).parent)
