"""The page of the viewer: upload a photograph of a part, get the ensemble's verdict.

Widgets only: what is said about a photograph comes from `inspection.decision.inspector`, or in Demo Mode from
`inspection.station.demo`, and how it is put from `inspection.station.presentation`.
File names and model names are other people's words. They reach the page as escaped HTML, never as Markdown, in which
a file called ``**GOOD**.png`` would shout and one called ``www.example.com.png`` would become a link.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from inspection.data.images import AS_STORED, EXTENSIONS, Decoding
from inspection.decision.ensemble import ENSEMBLE_FILE, DataEntry
from inspection.decision.rules import Rules
from inspection.decision.verdict import Verdict
from inspection.errors import ModelsError
from inspection.files import sha256_bytes, sha256_file
from inspection.station import demo
from inspection.station.ensemble_words import rule_facts, trained_on_words
from inspection.station.photograph import Picture, look_at, show_photograph
from inspection.station.presentation import (
    LOOKS,
    breakable,
    confidence_words,
    count_votes,
    gauge_options,
    gauge_text,
    is_unlike,
    likeness_words,
    sentence,
    verdict_card,
    vote_options,
    vote_table,
    weight_words,
    zone_scale,
)

if TYPE_CHECKING:
    # Brings ONNX Runtime: the page's frame is drawn before it.
    from inspection.decision.inspector import Inspector

MODELS_VARIABLE = "INSPECTION_MODELS"
"""Environment variable that names another models folder than ``models`` in the project's."""
DEMO_KEY = "demo"
"""In place of the fingerprint of an ensemble, which is 64 digits long."""
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
    rules : Rules
    trained_on : DataEntry or None
        None in Demo Mode.
    decoding : Decoding
        How photographs are read.
    version_notice : str
        What to say when other library versions are at work than in training; else empty.
    """

    key: str
    inspect: Callable[[bytes, str], Verdict]
    voters: tuple[str, ...]
    rules: Rules
    trained_on: DataEntry | None
    decoding: Decoding = AS_STORED
    version_notice: str = ""


def draw_page(project: Path) -> None:
    """Draw the page.

    Parameters
    ----------
    project : Path
        Folder that holds ``.streamlit`` and ``models``.
    """
    st.set_page_config(page_title="Defect inspection", page_icon=ICON, layout="wide")
    st.html(project / ".streamlit" / "viewer.css")
    st.title("Defect inspection", anchor=False)
    st.html('<p class="lead">Upload the photograph of a part; every model votes, and the ensemble gives a verdict.</p>')
    judge, problem = find_models(models_folder(project))
    with st.sidebar:
        sidebar = st.container()
        st.divider()
        if ask_for_demo(has_models=judge is not None):
            judge = demo_judge()
    with sidebar:
        describe(judge)
    if judge is None:
        explain_missing_models(problem)
    elif judge.key == DEMO_KEY:
        show_demo_banner()
    elif judge.version_notice:
        show_notice("Other library versions", judge.version_notice)
    upload = st.file_uploader("Photograph of a part", type=EXTENSIONS, disabled=judge is None)
    if judge is not None:
        inspect_upload(judge, upload)


# Who judges


def models_folder(project: Path) -> Path:
    """Return the folder the models are read from.

    Parameters
    ----------
    project : Path
        Folder that holds ``models``, unless the environment names another.
    """
    return Path(os.environ.get(MODELS_VARIABLE) or project / "models")


def find_models(folder: Path) -> tuple[Judge | None, str]:
    """Return the judge made of the models in a folder, or None and one sentence that says what is wrong.

    Parameters
    ----------
    folder : Path
    """
    path = folder / ENSEMBLE_FILE
    try:
        fingerprint = sha256_file(path) if path.is_file() else ""
        inspector = load_inspector(str(folder), fingerprint)
    except ModelsError as problem:
        return None, str(problem)
    except OSError as problem:
        # A running pipeline deletes its outputs first, and may do so between two lines of this viewer.
        return None, f"The models are changing at this moment ({problem.strerror}); check again when `dvc repro` ends."
    voters, rules = inspector.voters, inspector.rules
    decoding, notice = inspector.decoding, inspector.version_notice
    return Judge(fingerprint, inspector.inspect, voters, rules, inspector.trained_on, decoding, notice), ""


@st.cache_resource(max_entries=2, show_spinner="Loading the models and checking their fingerprints…")
def load_inspector(folder: str, fingerprint: str) -> "Inspector":
    """Load the ensemble once for all sessions; a new ``fingerprint`` of ensemble.json loads it anew.

    Parameters
    ----------
    folder : str
    fingerprint : str
        SHA-256 of ensemble.json.

    Raises
    ------
    ModelsError
        See `Inspector`. Streamlit keeps no errors, so the next rerun looks again.
    """
    from inspection.decision.inspector import Inspector  # brings ONNX Runtime: the page's frame is drawn before it

    inspector = Inspector(folder)
    if sha256_file(Path(folder) / ENSEMBLE_FILE) != fingerprint:
        raise ModelsError(f"{ENSEMBLE_FILE} changed while it was read; check again when `dvc repro` has ended.")
    return inspector


def demo_judge() -> Judge:
    """Return the judge that makes its verdicts up."""
    return Judge(DEMO_KEY, demo.simulate, demo.VOTERS, demo.RULES, None)


# Sidebar and notices


def ask_for_demo(has_models: bool) -> bool:
    """Offer Demo Mode, and return whether the user switched it on.

    The switch beside real models is another widget than the one without: when training ends while someone plays with
    Demo Mode, the viewer goes over to the real models and simulates nothing unasked.

    Parameters
    ----------
    has_models : bool
    """
    is_on = st.toggle("Demo Mode", key="demo_with_models" if has_models else "demo_without_models")
    with_models = "Shows simulated predictions instead of those of the models."
    without_models = "No models are needed: predictions are simulated, and say nothing about a part."
    st.html(f'<p class="note">{with_models if has_models else without_models}</p>')
    return is_on


def describe(judge: Judge | None) -> None:
    """Say in the sidebar which ensemble is at work.

    Parameters
    ----------
    judge : Judge or None
    """
    if judge is None:
        st.html("<h2>Ensemble</h2><p>None is loaded.</p>")
        return
    voters = "".join(f"<li>{breakable(voter)}</li>" for voter in judge.voters)
    facts = rule_facts(judge.rules)
    if judge.trained_on:
        facts["Trained on"] = trained_on_words(judge.trained_on)
        facts["Fingerprint of the data"] = judge.trained_on.manifest_sha256[:12]
        facts["Fingerprint of the ensemble"] = judge.key[:12]
    heading = "Ensemble" if judge.trained_on else "Simulated ensemble"
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(fact)}</dd>" for term, fact in facts.items())
    st.html(f"<h2>{heading}</h2><p>{len(judge.voters)} models vote:</p><ul>{voters}</ul><dl>{rows}</dl>")


def explain_missing_models(problem: str) -> None:
    """Say why there is nobody to judge, and what to run.

    Parameters
    ----------
    problem : str
        Plain text; commands between backquotes.
    """
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
    """Show the uploaded photograph and, once asked for, its verdict.

    Parameters
    ----------
    judge : Judge
    upload : UploadedFile or None
        From Streamlit's ``file_uploader``; None before anything is uploaded.
    """
    data = upload.getvalue() if upload else b""
    picture, problem = look_at(data, upload.name, judge.decoding) if upload else (None, "")
    is_asked = st.button("Analyze Image", type="primary", disabled=picture is None)
    if problem:
        show_notice("Not inspected", problem)
    if picture is None:
        return
    # Kept by content, so that no photograph ever meets the verdict on another one.
    key = (judge.key, sha256_bytes(data))
    verdicts = st.session_state.setdefault("verdicts", {})
    if is_asked:
        with st.spinner("The models are voting…"):
            verdicts[key] = judge.inspect(data, upload.name)
    show_inspection(judge, upload.name, picture, verdicts.get(key))


def show_notice(heading: str, message: str) -> None:
    """Show one message in a frame that is read aloud.

    Parameters
    ----------
    heading, message : str
        Plain text; commands in the message between backquotes.
    """
    st.html(f"""<section class="notice" role="alert"><h2>{heading}</h2><p>{sentence(message)}</p></section>""")


def show_inspection(judge: Judge, name: str, picture: Picture, verdict: Verdict | None) -> None:
    """Show the photograph, and beside it the verdict or that there is none yet.

    Parameters
    ----------
    judge : Judge
    name : str
        Of the file.
    picture : Picture
    verdict : Verdict or None
        None before the photograph is analyzed.
    """
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="photograph"):
        show_photograph(name, picture.preview, verdict)
        st.html(f"""<p class="file"><bdi>{escape(name)}</bdi><br>{picture.width:,} × {picture.height:,} pixels</p>""")
        if verdict is not None and not verdict.simulated and not is_unlike(verdict):
            st.html(f'<p class="likeness">{likeness_words(verdict)}</p>')
    with right:
        if verdict is None:
            st.html('<p class="waiting">Not analyzed yet. Press “Analyze Image”.</p>')
            return
        st.html(verdict_card(verdict))
        show_zones(verdict, judge.rules)
        with st.container(horizontal=True, gap="small"):
            show_confidence(verdict)
            show_vote_distribution(verdict)
        st.html(f'<p class="note">{confidence_words(verdict, judge.rules)}</p>')
    with st.container(border=True):
        st.html("<h3>Votes and confidence of each model</h3>" + vote_table(verdict.votes, judge.rules.threshold))
        if judge.rules.voting_rule.is_weighted:
            st.html(f'<p class="note">{weight_words(verdict, judge.rules)}</p>')


def show_zones(verdict: Verdict, rules: Rules) -> None:
    """Show where the probability of a defect lies between the thresholds, if there are any.

    Parameters
    ----------
    verdict : Verdict
    rules : Rules
    """
    if rules.operating_point is not None:
        with st.container(border=True, key="zones"):
            st.html("<h3>Probability of a defect</h3>" + zone_scale(verdict, rules.operating_point))


def show_confidence(verdict: Verdict) -> None:
    """Show the gauge of the overall confidence.

    Parameters
    ----------
    verdict : Verdict
    """
    with st.container(border=True, key="confidence"):
        st.html("<h3>Overall confidence</h3>")
        st.echarts_chart(
            gauge_options(verdict.confidence, LOOKS[verdict.verdict].colour),
            height=CHART_HEIGHT,
            renderer="svg",
            theme=None,
            alt=f"Gauge from 0 to 100%: the overall confidence is {gauge_text(verdict.confidence)}.",
            key="confidence_gauge",
        )


def show_vote_distribution(verdict: Verdict) -> None:
    """Show how many models voted for each class.

    Parameters
    ----------
    verdict : Verdict
    """
    counts = count_votes(verdict.votes)
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
