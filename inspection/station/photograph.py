"""The photograph on the page, and the map of where it is unlike good parts laid over it."""

import io
from dataclasses import dataclass
from html import escape

import numpy as np
import streamlit as st
from PIL import Image

from inspection.data.images import Decoding, decode
from inspection.decision.defect_map import DefectMap
from inspection.decision.map_pictures import OPACITY, draw_map
from inspection.decision.verdict import Verdict
from inspection.decision.wording import averaged_words
from inspection.errors import ImageError
from inspection.files import sha256_bytes

PREVIEW_SIDE = 900
"""Longest side in pixels of the picture sent to the browser; the models get the whole photograph."""
_ENSEMBLE = "the ensemble"
_LEAST_SIDE = 600
"""Longer side in pixels of a photograph with its map."""


@dataclass(frozen=True)
class Picture:
    """What the page shows of a photograph: a preview as PNG, and the size of the original."""

    preview: bytes
    width: int
    height: int


def look_at(data: bytes, name: str, decoding: Decoding) -> tuple[Picture | None, str]:
    """Decode an upload for display, once; None and one sentence when it cannot be inspected.

    Parameters
    ----------
    data : bytes
        Content of the upload.
    name : str
        Used in error messages only.
    decoding : Decoding
    """
    key = (sha256_bytes(data), name, decoding)
    if st.session_state.get("looked_at", (None,))[0] != key:
        st.session_state["looked_at"] = (key, decode_preview(data, name, decoding))
    return st.session_state["looked_at"][1]


def decode_preview(data: bytes, name: str, decoding: Decoding) -> tuple[Picture | None, str]:
    """Do the work of `look_at`.

    Parameters
    ----------
    data : bytes
    name : str
    decoding : Decoding
    """
    try:
        image = Image.fromarray(decode(data, name, decoding).pixels)
    except ImageError as problem:
        return None, str(problem)
    width, height = image.size
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return Picture(stream.getvalue(), width, height), ""


def show_photograph(name: str, preview: bytes, verdict: Verdict | None) -> None:
    """Show a photograph and, where a verdict brings a map, the map over it with what controls it.

    Parameters
    ----------
    name : str
        Of the file.
    preview : bytes
        PNG of the photograph, perhaps scaled.
    verdict : Verdict or None
        None before the photograph is analyzed.
    """
    place, sentence = st.container(), st.container()
    if verdict is None or verdict.defect_map is None:
        place.image(preview, alt=f"Photograph {name}", width="stretch")
        return
    sentence.html(f'<p class="whereabouts">{verdict.whereabouts}</p>')
    is_shown = st.checkbox("Show where it is unlike good parts", value=True)
    with st.expander("Whose map, and how strong"):
        voter, opacity = _ask(verdict.defect_map, is_shown)
    if not is_shown:
        place.image(preview, alt=f"Photograph {name}", width="stretch")
        return
    place.image(
        _lay_over(preview, verdict.defect_map, opacity, voter),
        alt=f"Photograph {name} with its map. {verdict.whereabouts}",
        width="stretch",
    )
    whose = averaged_words([voter] if voter else verdict.defect_map.averaged)
    st.html(
        f'<p class="map-key"><span class="ramp" aria-hidden="true"></span> The map is {escape(whose)}. Coloured: '
        "further from what good parts show than 99.9% of their places. Framed: hardly any good part shows the like.</p>"
    )


def _ask(defect_map: DefectMap, is_shown: bool) -> tuple[str | None, float]:
    """Ask whose map, and how strongly it covers the photograph."""
    voters = list(defect_map.by_voter)
    chosen = _ENSEMBLE
    if len(voters) > 1:
        chosen = st.selectbox("Map of", [_ENSEMBLE, *voters], disabled=not is_shown)
    percentage = st.slider("Opacity of the map", 5, 100, round(100 * OPACITY), 5, "%d%%", disabled=not is_shown)
    return (None if chosen == _ENSEMBLE else chosen), percentage / 100


def _lay_over(preview: bytes, defect_map: DefectMap, opacity: float, voter: str | None) -> bytes:
    picture = Image.open(io.BytesIO(preview)).convert("RGB")
    # Of a small photograph the browser would enlarge the frames with it.
    factor = max(1, _LEAST_SIDE / max(picture.size))
    pixels = np.asarray(picture.resize([round(factor * side) for side in picture.size], Image.Resampling.BICUBIC))
    stream = io.BytesIO()
    Image.fromarray(draw_map(pixels, defect_map, opacity, voter)).save(stream, "PNG")
    return stream.getvalue()
