"""The viewer: upload a photograph of a part, get the ensemble's verdict. `streamlit run streamlit_app.py`.

Widgets only: what is said about a photograph comes from `inspection.inspector`, or in Demo Mode from `inspection.demo`.
File names and model names are other people's words. They reach the page as escaped HTML, never as Markdown, in which
a file called ``**GOOD**.png`` would shout and one called ``www.example.com.png`` would become a link.
"""

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image

from inspection.ensemble import ENSEMBLE_FILE
from inspection.errors import ImageError, ModelsError
from inspection.files import sha256_bytes, sha256_file
from inspection.images import AS_STORED, EXTENSIONS, Decoding, decode
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW

if TYPE_CHECKING:
    from inspection.inspector import Inspector, Verdict, Vote

# Comments, because Streamlit prints a text that stands alone onto the page.
# Environment variable that names another models folder than the one beside this file:
MODELS_VARIABLE = "INSPECTION_MODELS"
# In place of the fingerprint of an ensemble, which is 64 digits long:
DEMO_KEY = "demo"
# Longest side in pixels of the picture sent to the browser; the models get the whole photograph:
PREVIEW_SIDE = 900


@dataclass(frozen=True)
class Look:
    """How a verdict or a vote is shown: by symbol, word and colour, so that none of them is needed alone."""

    symbol: str
    word: str
    colour: str
    on_colour: str
    tint: str


# Blue, vermilion and amber stay apart under every common colour blindness, and in grey by their lightness.
LOOKS = {
    CLASS_NAMES[NON_DEFECTIVE]: Look("✓", "NON-DEFECTIVE", "#1f77b4", "#ffffff", "#eaf3fa"),
    CLASS_NAMES[DEFECTIVE]: Look("✕", "DEFECTIVE", "#d55e00", "#ffffff", "#fdf0e6"),
    REVIEW: Look("?", "REVIEW", "#f0b400", "#1c2733", "#fff8e1"),
}
VOTING_WORDS = {
    "hard": "majority of the models (hard)",
    "soft": "mean probability (soft)",
    "weighted": "weighted majority (weighted)",
}
FONT = "Source Sans, sans-serif"
INK = "#1c2733"
SMALL_TEXT = {"fill": "#52606d", "fontSize": 13, "fontFamily": FONT}
LARGE_TEXT = {"color": INK, "fontSize": 15, "fontWeight": 700, "fontFamily": FONT}
CHART_HEIGHT = 150
ICON = (
    '<svg viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1a5a8a"/><circle cx="14" cy="14" r="7"'
    ' fill="none" stroke="#fff" stroke-width="3"/><path d="M19 19l7 7" stroke="#fff" stroke-width="4"/></svg>'
)


@dataclass(frozen=True)
class Judge:
    """Who gives the verdicts: the models of the folder, or Demo Mode.

    Attributes
    ----------
    key : str
        Under which verdicts are kept: SHA-256 of ensemble.json, or ``demo``. New models never inherit old verdicts.
    inspect : callable
        ``inspect(data, name)`` returns a Verdict.
    voters : tuple of str
    voting : str
    threshold : float
    trained_on : dict
        Empty in Demo Mode.
    decoding : Decoding
        How photographs are read.
    """

    key: str
    inspect: Callable[[bytes, str], "Verdict"]
    voters: tuple[str, ...]
    voting: str
    threshold: float
    trained_on: dict
    decoding: Decoding = AS_STORED


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Defect inspection", page_icon=ICON, layout="wide")
    st.html(Path(__file__).parent / ".streamlit" / "viewer.css")
    st.title("Defect inspection", anchor=False)
    st.html('<p class="lead">Upload the photograph of a part; every model votes, and the ensemble gives a verdict.</p>')
    judge, problem = find_models(models_folder())
    with st.sidebar:
        sidebar = st.container()
        st.divider()
        if ask_for_demo(beside_models=judge is not None):
            judge = demo_judge()
    with sidebar:
        describe(judge)
    if judge is None:
        explain_missing_models(problem)
    elif judge.key == DEMO_KEY:
        show_demo_banner()
    upload = st.file_uploader("Photograph of a part", type=EXTENSIONS, disabled=judge is None)
    if judge is not None:
        inspect_upload(judge, upload)


# Who judges


def models_folder() -> Path:
    """Return the folder the models are read from."""
    return Path(os.environ.get(MODELS_VARIABLE) or Path(__file__).parent / "models")


def find_models(folder: Path) -> tuple[Judge | None, str]:
    """Return the judge made of the models in ``folder``, or None and one sentence that says what is wrong."""
    path = folder / ENSEMBLE_FILE
    try:
        fingerprint = sha256_file(path) if path.is_file() else ""
        inspector = load_inspector(str(folder), fingerprint)
    except ModelsError as problem:
        return None, str(problem)
    except OSError as problem:
        # A running pipeline deletes its outputs first, and may do so between two lines of this viewer.
        return None, f"The models are changing at this moment ({problem.strerror}); check again when `dvc repro` ends."
    judge = Judge(
        fingerprint,
        inspector.inspect,
        inspector.voters,
        inspector.voting,
        inspector.threshold,
        inspector.trained_on,
        inspector.decoding,
    )
    return judge, ""


@st.cache_resource(max_entries=2, show_spinner="Loading the models and checking their fingerprints…")
def load_inspector(folder: str, fingerprint: str) -> "Inspector":
    """Load the ensemble once for all sessions; a new ``fingerprint`` of ensemble.json loads it anew.

    Raises
    ------
    ModelsError
        See `Inspector`. Streamlit keeps no errors, so the next rerun looks again.
    """
    from inspection.inspector import Inspector  # brings ONNX Runtime: the page's frame is drawn before it

    inspector = Inspector(folder)
    if sha256_file(Path(folder) / ENSEMBLE_FILE) != fingerprint:
        raise ModelsError(f"{ENSEMBLE_FILE} changed while it was read; check again when `dvc repro` has ended.")
    return inspector


def demo_judge() -> Judge:
    """Return the judge that makes its verdicts up."""
    from inspection import demo

    return Judge(DEMO_KEY, demo.simulate, demo.VOTERS, demo.VOTING, demo.THRESHOLD, {})


# Sidebar and notices


def ask_for_demo(beside_models: bool) -> bool:
    """Offer Demo Mode, and return whether the user switched it on.

    The switch beside real models is another widget than the one without: when training ends while someone plays with
    Demo Mode, the viewer goes over to the real models and simulates nothing unasked.
    """
    is_on = st.toggle("Demo Mode", key="demo_beside_models" if beside_models else "demo_without_models")
    with_models = "Shows simulated predictions instead of those of the models."
    without_models = "No models are needed: predictions are simulated, and say nothing about a part."
    st.html(f'<p class="note">{with_models if beside_models else without_models}</p>')
    return is_on


def describe(judge: Judge | None) -> None:
    """Say in the sidebar which ensemble is at work."""
    if judge is None:
        st.html("<h2>Ensemble</h2><p>None is loaded.</p>")
        return
    voters = "".join(f"<li>{breakable(voter)}</li>" for voter in judge.voters)
    facts = {
        "Voting rule": VOTING_WORDS.get(judge.voting, judge.voting),
        "Threshold": f"defective at {judge.threshold:g} or more",
    }
    if judge.trained_on:
        facts["Trained on"] = f"{judge.trained_on['n_images']:,} photographs of {judge.trained_on['source']}"
        facts["Fingerprint of the data"] = judge.trained_on["manifest_sha256"][:12]
        facts["Fingerprint of the ensemble"] = judge.key[:12]
    heading = "Ensemble" if judge.trained_on else "Simulated ensemble"
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(fact)}</dd>" for term, fact in facts.items())
    st.html(f"<h2>{heading}</h2><p>{len(judge.voters)} models vote:</p><ul>{voters}</ul><dl>{rows}</dl>")


def explain_missing_models(problem: str) -> None:
    """Say why there is nobody to judge, and what to run."""
    st.html(
        f"""<section class="notice" role="alert"><h2>The models are not ready</h2><p>{sentence(problem)}</p>
        <p>Training writes <code>{ENSEMBLE_FILE}</code> last: press “Check again” when <code>dvc repro</code> has
        ended.</p>
        <p>To look around without models, switch on Demo Mode in the sidebar: its predictions are simulated.</p>
        </section>"""
    )
    st.button("Check again")


def show_demo_banner() -> None:
    """Say that everything is simulated, in a band that stays in sight while the page scrolls."""
    with st.container(key="demo_banner"):
        st.html(
            """<div class="demo" role="alert"><strong>DEMO MODE: SIMULATED PREDICTIONS</strong>
            <span>No model looks at the photograph. Never accept or reject a part on what this page shows.</span>
            </div>"""
        )


# One photograph


def inspect_upload(judge: Judge, upload: Any) -> None:
    """Show the uploaded photograph and, once asked for, its verdict."""
    data = upload.getvalue() if upload else b""
    picture, problem = look_at(data, upload.name, judge.decoding) if upload else (None, "")
    is_asked = st.button("Analyze Image", type="primary", disabled=picture is None)
    if problem:
        show_not_inspected(problem)
    if picture is None:
        return
    # Kept by content, so that no photograph ever meets the verdict on another one.
    key = (judge.key, sha256_bytes(data))
    verdicts = st.session_state.setdefault("verdicts", {})
    if is_asked:
        with st.spinner("The models are voting…"):
            verdicts[key] = judge.inspect(data, upload.name)
    show_inspection(judge, upload.name, picture, verdicts.get(key))


@dataclass(frozen=True)
class Picture:
    """What the page shows of a photograph: a preview as PNG, and the size of the original."""

    preview: bytes
    width: int
    height: int


def look_at(data: bytes, name: str, decoding: Decoding) -> tuple[Picture | None, str]:
    """Decode an upload for display, once; None and one sentence when it cannot be inspected."""
    key = (sha256_bytes(data), name, decoding)
    if st.session_state.get("looked_at", (None,))[0] != key:
        st.session_state["looked_at"] = (key, decode_preview(data, name, decoding))
    return st.session_state["looked_at"][1]


def decode_preview(data: bytes, name: str, decoding: Decoding) -> tuple[Picture | None, str]:
    """Do the work of `look_at`."""
    try:
        image = Image.fromarray(decode(data, name, decoding).pixels)
    except ImageError as problem:
        return None, str(problem)
    width, height = image.size
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return Picture(stream.getvalue(), width, height), ""


def show_not_inspected(problem: str) -> None:
    """Say why a file got no verdict."""
    st.html(f"""<section class="notice" role="alert"><h2>Not inspected</h2><p>{sentence(problem)}</p></section>""")


def show_inspection(judge: Judge, name: str, picture: Picture, verdict: "Verdict | None") -> None:
    """Show the photograph, and beside it the verdict or that there is none yet."""
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="photograph"):
        st.image(picture.preview, alt=f"Photograph {name}", width="stretch")
        st.html(f"""<p class="file"><bdi>{escape(name)}</bdi><br>{picture.width:,} × {picture.height:,} pixels</p>""")
    with right:
        if verdict is None:
            st.html('<p class="waiting">Not analyzed yet. Press “Analyze Image”.</p>')
            return
        show_verdict(verdict)
        with st.container(horizontal=True, gap="small"):
            show_confidence(verdict)
            show_vote_distribution(verdict)
        st.html(f'<p class="note">{confidence_words(judge.voting, verdict.verdict)}</p>')
    with st.container(border=True):
        st.html("<h3>Votes and confidence of each model</h3>" + vote_table(verdict.votes))


def show_verdict(verdict: "Verdict") -> None:
    """Show the verdict, large, with its reason."""
    look = LOOKS[verdict.verdict]
    simulated = '<span class="simulated">SIMULATED</span>' if verdict.simulated else ""
    st.html(
        f"""<section class="verdict" role="status" style="border-color: {look.colour}; background: {look.tint}">
        <p class="word" style="background: {look.colour}; color: {look.on_colour}">{simulated}
        <span aria-hidden="true">{look.symbol}</span> {look.word}</p>
        <p class="reason">{escape(verdict.reason)}</p></section>"""
    )


def show_confidence(verdict: "Verdict") -> None:
    """Show the gauge of the overall confidence."""
    with st.container(border=True, key="confidence"):
        st.html("<h3>Overall confidence</h3>")
        st.echarts_chart(
            gauge_options(verdict.confidence, LOOKS[verdict.verdict].colour),
            height=CHART_HEIGHT,
            renderer="svg",
            theme=None,
            alt=f"Gauge from 0 to 100%: the overall confidence is {percent(verdict.confidence)}.",
            key="confidence_gauge",
        )


def show_vote_distribution(verdict: "Verdict") -> None:
    """Show how many models voted for each class."""
    counts = {name: sum(vote.label == name for vote in verdict.votes) for name in CLASS_NAMES}
    with st.container(border=True, key="votes"):
        st.html("<h3>Vote distribution</h3>")
        st.echarts_chart(
            vote_options(counts),
            height=CHART_HEIGHT,
            renderer="svg",
            theme=None,
            alt="Votes: " + ", ".join(f"{count} {LOOKS[name].word.lower()}" for name, count in counts.items()) + ".",
            key="vote_chart",
        )


# Text, charts and tables from plain values


def sentence(message: str) -> str:
    """Return an error message as HTML, commands in it as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(message))


def percent(probability: float) -> str:
    """Return a probability as text that never claims certainty by rounding."""
    if 0.9995 <= probability < 1:
        return ">99.9%"
    if 0 < probability < 0.0005:
        return "<0.1%"
    return f"{probability:.1%}"


def confidence_words(voting: str, verdict: str) -> str:
    """Say what the overall confidence is; see `inspection.ensemble.Decisions`."""
    mean = "mean probability, weighted like the votes," if voting == "weighted" else "mean probability"
    if verdict == REVIEW:
        return (
            f"Overall confidence: the {mean} that the models give to the likelier class, although the votes are tied."
        )
    words = f"Overall confidence: the {mean} that the models give to this verdict."
    if voting == "soft":
        return words
    return words + " Below 50%, the outvoted models are surer than the others."


def breakable(name: str) -> str:
    """Return a name as HTML that may break after an underscore."""
    return escape(name).replace("_", "_<wbr>")


def gauge_options(confidence: float, colour: str) -> dict:
    """Return the ECharts options of a half-circle gauge."""
    band, radius, centre = 22, 100, 112
    ends = [
        {"type": "text", "x": side * (radius - band / 2), "style": {"text": text, "textAlign": "center"} | SMALL_TEXT}
        for side, text in ((-1, "0%"), (1, "100%"))
    ]
    return {
        "animation": False,
        "graphic": [{"type": "group", "left": "center", "top": centre + 8, "children": ends}],
        "series": [
            {
                "type": "gauge",
                "startAngle": 180,
                "endAngle": 0,
                "center": ["50%", centre],
                "radius": radius,
                "progress": {"show": True, "width": band, "itemStyle": {"color": colour}},
                "axisLine": {"lineStyle": {"width": band, "color": [[1, "#dfe5ea"]]}},
                "axisTick": {"show": False},
                "axisLabel": {"show": False},
                "splitLine": {"show": False},
                "pointer": {"show": False},
                "detail": LARGE_TEXT | {"formatter": percent(confidence), "fontSize": 34, "offsetCenter": [0, -18]},
                "data": [{"value": 100 * confidence}],
            }
        ],
    }


def vote_options(counts: dict[str, int]) -> dict:
    """Return the ECharts options of one bar per class."""
    n_votes = sum(counts.values())
    bars = [
        {"value": count, "itemStyle": {"color": LOOKS[name].colour, "borderRadius": [3, 3, 0, 0]}}
        for name, count in counts.items()
    ]
    return {
        "animation": False,
        "textStyle": {"fontFamily": FONT},
        "grid": {"left": 0, "right": 0, "top": 24, "bottom": 42},
        "xAxis": {
            "type": "category",
            "data": [f"{LOOKS[name].symbol}\n{LOOKS[name].word.capitalize()}" for name in counts],
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": "#b6c0ca"}},
            "axisLabel": {"fontSize": 14, "lineHeight": 18, "color": INK, "interval": 0},
        },
        "yAxis": {"type": "value", "min": 0, "max": n_votes, "show": False},
        "series": [
            {
                "type": "bar",
                "barWidth": "56%",
                "data": bars,
                "label": LARGE_TEXT | {"show": True, "position": "top", "formatter": f"{{c}} of {n_votes}"},
            }
        ],
    }


def vote_table(votes: tuple["Vote", ...]) -> str:
    """Return the HTML table of the votes, with a bar for each confidence."""
    rows = "".join(vote_row(vote) for vote in votes)
    return f"""<div class="wide"><table class="votes"><thead><tr><th scope="col">Model</th><th scope="col">Vote</th>
        <th scope="col" colspan="2">Confidence</th><th scope="col" class="number">Defect probability</th></tr></thead>
        <tbody>{rows}</tbody></table></div>"""


def vote_row(vote: "Vote") -> str:
    """Return one row of `vote_table`."""
    look = LOOKS[vote.label]
    bar = f'<div class="bar"><div style="width: {vote.confidence:.1%}; background: {look.colour}"></div></div>'
    return (
        f'<tr><th scope="row">{breakable(vote.voter)}</th>'
        f'<td class="vote"><b style="color: {look.colour}">{look.symbol}</b> {look.word.capitalize()}</td>'
        f'<td class="bars">{bar}</td><td class="number">{percent(vote.confidence)}</td>'
        f'<td class="number">{percent(vote.defect_proba)}</td></tr>'
    )


if __name__ == "__main__":
    main()
