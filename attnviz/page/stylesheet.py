"""The page's one stylesheet: what stays in sight, what scrolls, and what all can read and reach."""

import streamlit as st

from attnviz.charts.parts.palette import PALETTES
from attnviz.page.compat import (
    ALERT,
    BUTTON_LABEL,
    CAPTION,
    CHART,
    COLUMN,
    ELEMENT,
    HEADER,
    LAYOUT,
    MAIN,
    PANEL,
    SIDEBAR,
    SIDEBAR_TOP,
    TABS,
    TOOLBAR,
    keyed,
    keyed_like,
    layout_of,
)
from attnviz.page.controls.sidebar import STEPPERS, WAYS

_LIGHT, _DARK = (PALETTES[mode].background for mode in ("light", "dark"))
_WIDE, _DRAWN = (
    keyed_like("neurons_", "heads_", "overview_"),
    keyed_like("model_", "find_", "effect_"),
)

_OPENED_BELOW = f"{keyed('why_scale')}, {keyed('what_if')}"  # what covers them: a bar, or the strip

# On a narrow screen a figure with many columns scrolls, not the page. The head at a glance stays
# at the top of the window, and what is shown stands beside the names of the views.
# Streamlit's captions have six tenths of the text's ink: a contrast of 4.1 : 1 with the sidebar.
# So have the keys that are named on buttons.
# Beside its icon a button of a stepper has no room for a name, which is to be heard all the same.
_STEPPERS = ", ".join(
    f"{keyed(f'{stepper}_{way.lower()}')} {BUTTON_LABEL}" for stepper in STEPPERS for way in WAYS
)
_RULES = f"""
{CAPTION} {{opacity: .78}}
{_STEPPERS} {{position: absolute; clip-path: inset(50%); width: 1px; white-space: nowrap}}
{keyed("shares")}, {_DRAWN}, {keyed_like("compare_")}, {_WIDE} {{overflow-x: auto}}
{_WIDE} svg {{user-select: none}}
{_WIDE} {CHART} {{min-width: 760px}}
{MAIN} {{padding-left: 2rem; padding-right: 2rem}}
{PANEL} {{padding-top: .5rem}}
{SIDEBAR_TOP} {{position: absolute; right: 0; z-index: 1}}
{keyed_like("words_")} p {{font-size: .9rem; line-height: 1.4; margin-bottom: .5rem}}
{_OPENED_BELOW} {{scroll-margin-top: 4rem}}
{MAIN} button kbd {{color: inherit; opacity: 1}}
{keyed("open_strongest")} button {{min-height: 1.6rem}}
{keyed_like("step_left", "step_right")} button {{min-height: 2rem}}
{keyed("step")} button {{padding-inline: .6rem}}
{keyed_like("open_strongest", "step_left", "step_right")} button {{padding-block: 0}}
@media (max-width: 640px) {{ {MAIN} {{padding-left: 1rem; padding-right: 1rem}} }}
@media (min-width: 800px) {{
  {layout_of(keyed("strip"))} {{
    position: sticky; top: 0; z-index: 9; background: light-dark({_LIGHT}, {_DARK})
  }}
  {_OPENED_BELOW} {{scroll-margin-top: 17rem}}
  {keyed("query_beside")}, {keyed("key_beside")} {{flex-wrap: nowrap}}
}}
@media (min-width: 1100px) {{
  {layout_of(keyed("header"))} {{z-index: 1; width: fit-content; margin: 0 0 -3.5rem auto}}
}}
"""

# Laid out for a screen of 1280 × 720, a beat is as large as the window allows; what moves it shows
# when the pointer moves, or has the focus.
_OF_TALK = f"""
{MAIN} {{zoom: var(--fits, 1); padding: .5rem 2rem 0; max-width: none}}
{HEADER}, {layout_of(keyed("talk_clicker"))}, {MAIN} {TOOLBAR} {{display: none}}
{MAIN} > [data-testid=stVerticalBlock] {{gap: 0}}
{keyed("talk_step")} p {{font-size: 1.2rem; line-height: 1.35}}
{keyed("talk_step")} h3 {{padding: 0 0 .25rem}}
{keyed("talk_line")} {{position: fixed; left: 2rem; bottom: .5rem}}
{keyed("talk_line")} {CAPTION} {{font-size: 1rem; margin: 0}}
{keyed("talk_line")} p {{font-size: 1rem; margin: 0}}
{keyed("talk_bar")} {{
  position: fixed; left: 0; right: 0; bottom: 0; z-index: 10; padding: .25rem 2rem;
  background: light-dark({_LIGHT}, {_DARK}); opacity: 0; transition: opacity .2s
}}
html.pointer-moves {keyed("talk_bar")}, {keyed("talk_bar")}:focus-within {{opacity: 1}}
html:not(.pointer-moves) {MAIN} {{cursor: none}}
"""
# In a slide: pictures and one line of words, what cannot be shown, and nothing to choose. All of it
# is to be seen at 960 × 540: the line stands in the room that Streamlit leaves below a chart.
_OF_EMBED = f"""
{MAIN} {{padding: 0 1rem}}
{SIDEBAR}, {HEADER}, {MAIN} {ELEMENT}, {MAIN} {COLUMN}:not(:has({CHART})),
{MAIN} {LAYOUT}:not(:has({CHART}, {ALERT})), {TABS} [role=tablist] {{display: none}}
{MAIN} {ELEMENT}:has({CHART}), {MAIN} {ELEMENT}:has({ALERT}) {{display: block}}
{layout_of(keyed("embed_line"))} {{margin-top: -1.25rem}}
{keyed("embed_line")} p {{margin: 0}}
{keyed_like("model_")} {{zoom: .92}}
{keyed_like("find_", "compare_")} {{zoom: 1.1}}
{MAIN} {layout_of(keyed("embed_line"))}, {keyed("embed_line")} {ELEMENT} {{display: block}}
{MAIN} [data-testid=stVerticalBlock] {{gap: .25rem}}
"""


def apply() -> None:
    st.html(f"<style>{_RULES}</style>")


def apply_to_talk() -> None:
    st.html(f"<style>{_OF_TALK}</style>")
    st.html(f"<script>{{{_FITS}{_POINTER}}}</script>", unsafe_allow_javascript=True)


def apply_to_embed() -> None:
    st.html(f"<style>{_OF_EMBED}</style>")


def scroll_to(key: str) -> None:
    """Bring what has this key into sight, and keep its beginning there while it unfolds."""
    script = _SCROLL.format(place=keyed(key))
    st.html(f"<script>{{{script}}}</script>", unsafe_allow_javascript=True)


_SCROLL = """
const place = document.querySelector('{place}')
const unfolding = new ResizeObserver(() => place.scrollIntoView())
unfolding.observe(place)
setTimeout(() => unfolding.disconnect(), 1000)
"""
_FITS = """
const fit = () => document.documentElement.style.setProperty(
  '--fits', Math.min(innerWidth / 1280, innerHeight / 720))
if (!window.attnvizFits) {
  window.attnvizFits = true
  addEventListener('resize', fit)
}
fit()
"""
_POINTER = """
if (!window.attnvizPointer) {
  window.attnvizPointer = true
  const moves = on => document.documentElement.classList.toggle('pointer-moves', on)
  let timer
  addEventListener('pointermove', () => {
    moves(true)
    clearTimeout(timer)
    timer = setTimeout(moves, 2500, false)
  })
}
"""
