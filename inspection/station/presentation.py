"""How the viewer shows a verdict: its words, HTML and chart options, from plain values.

Names of models and messages are other people's words: here they become escaped HTML.
"""

import re
from dataclasses import dataclass
from html import escape

from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import BAD, GOOD, Cause, Rules
from inspection.decision.verdict import Verdict, Vote
from inspection.decision.wording import percent, percent_distinct, threshold_words
from inspection.labels import CLASS_NAMES, REVIEW


@dataclass(frozen=True)
class Look:
    """How a verdict or a vote is shown: by symbol, word and colour, so that none of them is needed alone.

    Attributes
    ----------
    symbol, word : str
    outcome : str
        What becomes of a part with this verdict.
    colour, on_colour, tint : str
        Of a surface, of text on it, and of a pale surface, as CSS.
    """

    symbol: str
    word: str
    outcome: str
    colour: str
    on_colour: str
    tint: str


# Blue, vermilion and amber stay apart under every common colour blindness, and in grey by their lightness.
LOOKS = {
    GOOD: Look("✓", "NON-DEFECTIVE", "PASS", "#1f77b4", "#ffffff", "#eaf3fa"),
    REVIEW: Look("?", "REVIEW", "REVIEW", "#f0b400", "#1c2733", "#fff8e1"),
    BAD: Look("✕", "DEFECTIVE", "FAIL", "#d55e00", "#ffffff", "#fdf0e6"),
}
FONT = "Source Sans, sans-serif"
INK = "#1c2733"
SMALL_TEXT = {"fill": "#52606d", "fontSize": 13, "fontFamily": FONT}
LARGE_TEXT = {"color": INK, "fontSize": 15, "fontWeight": 700, "fontFamily": FONT}
WIDE_ZONE, NARROW_ZONE = 0.26, 0.06
"""Shares of the scale from which a zone has room for its word, and for its symbol."""


# Words


def sentence(message: str) -> str:
    """Return an error message as HTML, commands in it as code.

    Parameters
    ----------
    message : str
        Plain text; commands between backquotes.
    """
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(message))


def breakable(name: str) -> str:
    """Return a name as HTML that may break after an underscore.

    Parameters
    ----------
    name : str
    """
    return escape(name).replace("_", "_<wbr>")


def confidence_words(verdict: Verdict, rules: Rules) -> str:
    """Say what the overall confidence is; see `inspection.decision.rules.Decisions`.

    Parameters
    ----------
    verdict : Verdict
    rules : Rules
        By which the verdict came about.
    """
    kind = "simulated" if verdict.simulated else "calibrated" if rules.knows_defects else "estimated"
    words = f"Overall confidence: the {kind} probability that the ensemble gives to "
    if verdict.verdict != REVIEW:
        return words + "this verdict." + _why_below_half(verdict, rules) + _how_estimated(kind)
    likelier = BAD if verdict.defect_proba >= 0.5 else GOOD
    words += f"the likelier class, {LOOKS[likelier].word.lower()}." + _how_estimated(kind)
    if verdict.cause == Cause.UNLIKE:
        words += " It means little for a photograph unlike the training images."
    return words


def _how_estimated(kind: str) -> str:
    if kind != "estimated":
        return ""
    return " No defect was trained on: it is measured by defects planted in photographs of good parts."


def _why_below_half(verdict: Verdict, rules: Rules) -> str:
    if verdict.confidence >= 0.5:
        return ""
    point, is_defective = rules.operating_point, verdict.verdict == BAD
    words = f" It is below 50%: the part is likelier {LOOKS[GOOD if is_defective else BAD].word.lower()}, but "
    if point is None:
        return words + f"parts count as defective from a probability of {rules.threshold:g} on."
    pass_below, fail_from, _ = threshold_words(point)
    if not is_defective:
        return words + f"parts pass below {pass_below}."
    return words + f"parts fail from {fail_from}."


def is_unlike(verdict: Verdict) -> bool:
    """Return whether the photograph is too far from the training images to be judged.

    Parameters
    ----------
    verdict : Verdict
    """
    return verdict.cause == Cause.UNLIKE


def likeness_words(verdict: Verdict) -> str:
    """Say how far the photograph lies from the training images.

    Parameters
    ----------
    verdict : Verdict
    """
    kin, distance = "Like", verdict.unlikeness
    if is_unlike(verdict):
        # Never rounded down to what is allowed:
        kin, distance = "Unlike", max(distance, 1.01)
    return f"{kin} the training images: distance {distance:.2f} of the allowed 1.00."


def weight_words(verdict: Verdict, rules: Rules) -> str:
    """Say how much the votes for a defect weigh under weighted voting.

    Parameters
    ----------
    verdict : Verdict
    rules : Rules
        By which the verdict came about.
    """
    share = percent_distinct(float(rules.share_of_defective(verdict.vote_proba[None])[0]), 0.5)
    return f"The votes are weighted by how often each model was right: those for defective weigh {share} of all."


# HTML


def verdict_card(verdict: Verdict) -> str:
    """Return the verdict, large, with its reason.

    Parameters
    ----------
    verdict : Verdict
    """
    look = LOOKS[verdict.verdict]
    simulated = '<span class="simulated">SIMULATED</span>' if verdict.simulated else ""
    outcome = f'<p class="outcome">{look.outcome}</p>' if look.outcome != look.word else ""
    unlike = f'<p class="unlike"><strong>{likeness_words(verdict)}</strong></p>' if is_unlike(verdict) else ""
    return f"""<section class="verdict" role="status" style="border-color: {look.colour}; background: {look.tint}">
        <div class="headline" style="background: {look.colour}; color: {look.on_colour}"><p class="word">{simulated}
        <span aria-hidden="true">{look.symbol}</span> {look.word}</p>{outcome}</div>{unlike}
        <p class="reason">{escape(verdict.reason)}</p></section>"""


def zone_scale(verdict: Verdict, point: OperatingPoint) -> str:
    """Return a scale of the probability of a defect, with the zones of the outcomes and a mark where this part lies.

    Parameters
    ----------
    verdict : Verdict
    point : OperatingPoint
    """
    pass_below, fail_from, here = threshold_words(point, verdict.defect_proba)
    ends = [0, *(min(limit, 1) for limit in (point.pass_below, point.fail_from)), 1]
    spans = [f"below {pass_below}", "between", f"from {fail_from}"]
    if not fail_from:
        spans = [spans[0], f"from {pass_below}", "never: a person decides"]
    zones = [
        (look, start, end, span)
        for look, start, end, span in zip(LOOKS.values(), ends, ends[1:], spans, strict=False)
        if end > start or look.outcome == "FAIL"
    ]
    zones_in_words = "; ".join(f"{look.outcome.lower()} {span}" for look, *_, span in zones)
    alt = f"Scale of the probability of a defect from 0 to 100%: {here} for this part. Zones: {zones_in_words}."
    place = f"{100 * verdict.defect_proba:.3f}%"
    return f"""<div class="scale" role="img" aria-label="{alt}">
        <p class="here" style="left: {place}; transform: translateX(-{place})">This part: {here}</p>
        <div class="zones">{"".join(_zone(*zone[:3]) for zone in zones)}<i style="left: {place}"></i></div>
        <p class="ends"><span>0%</span><span>100%</span></p></div>
        <ul class="keys">{"".join(_key(look, span) for look, *_, span in zones)}</ul>{_exception(verdict.cause)}"""


def _zone(look: Look, start: float, end: float) -> str:
    width = end - start
    text = f"{look.symbol} {look.outcome}" if width >= WIDE_ZONE else look.symbol if width >= NARROW_ZONE else ""
    style = f"left: {start:.3%}; width: {width:.3%}; background: {look.colour}; color: {look.on_colour}"
    return f'<span style="{style}">{text}</span>'


def _key(look: Look, span: str) -> str:
    style = f"background: {look.colour}; color: {look.on_colour}"
    return f'<li><i style="{style}">{look.symbol}</i> <b>{look.outcome}</b> {span}</li>'


def _exception(cause: str) -> str:
    """Say why a part is reviewed that the scale alone would pass or fail."""
    words: dict[str, str] = {
        Cause.UNLIKE: "The thresholds hold for photographs like the training images only, so they do not decide here.",
        Cause.TIE: "The thresholds do not decide here, since the votes are tied.",
        Cause.DISAGREEMENT: "The part does not pass, since the vote says defective.",
    }
    return f'<p class="note">{words[cause]}</p>' if cause in words else ""


def vote_table(votes: tuple[Vote, ...], threshold: float) -> str:
    """Return the table of the votes, with a bar for each confidence.

    Parameters
    ----------
    votes : tuple of Vote
    threshold : float in (0, 1)
        Of a vote; see `inspection.decision.verdict.Vote`.
    """
    rows = "".join(_vote_row(vote, threshold) for vote in votes)
    return f"""<div class="wide"><table class="votes"><thead><tr><th scope="col">Model</th><th scope="col">Vote</th>
        <th scope="col" colspan="2">Confidence</th><th scope="col" class="number">Defect probability</th></tr></thead>
        <tbody>{rows}</tbody></table></div>"""


def _vote_row(vote: Vote, threshold: float) -> str:
    look = LOOKS[vote.label]
    bar = f'<div class="bar"><div style="width: {vote.confidence:.1%}; background: {look.colour}"></div></div>'
    return (
        f'<tr><th scope="row">{breakable(vote.voter)}</th>'
        f'<td class="vote"><b style="color: {look.colour}">{look.symbol}</b> {look.word.capitalize()}</td>'
        f'<td class="bars">{bar}</td><td class="number">{percent(vote.confidence)}</td>'
        f'<td class="number">{percent_distinct(vote.defect_proba, threshold)}</td></tr>'
    )


# Charts


def count_votes(votes: tuple[Vote, ...]) -> dict[str, int]:
    """Return how many models voted for each class.

    Parameters
    ----------
    votes : tuple of Vote
    """
    return {name: sum(vote.label == name for vote in votes) for name in CLASS_NAMES}


def gauge_text(confidence: float) -> str:
    """Return the overall confidence as text; one below 50%, of which much is said, never looks like 50%.

    Parameters
    ----------
    confidence : float in [0, 1]
    """
    return percent_distinct(confidence, 0.5)


def gauge_options(confidence: float, colour: str) -> dict:
    """Return the ECharts options of a half-circle gauge.

    Parameters
    ----------
    confidence : float in [0, 1]
    colour : str
        Of the filled part, as CSS.
    """
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
                "detail": LARGE_TEXT | {"formatter": gauge_text(confidence), "fontSize": 34, "offsetCenter": [0, -18]},
                "data": [{"value": 100 * confidence}],
            }
        ],
    }


def vote_options(counts: dict[str, int]) -> dict:
    """Return the ECharts options of one bar per class.

    Parameters
    ----------
    counts : dict of str to int
        From `count_votes`.
    """
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
