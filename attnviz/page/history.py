"""One entry in the browser's history for each action of a visitor.

Streamlit replaces the entry where a visitor sets a control of the address, and adds one for each
control that the page sets: Back would skip the first and stop at states nobody chose.
"""

import streamlit as st

# What follows from an action, until the next one, goes into the entry that it made.
_SCRIPT = """
if (!window.attnvizHistory) {
  window.attnvizHistory = true
  const [push, replace] = [history.pushState, history.replaceState].map(f => f.bind(history))
  let isAction = false
  for (const event of ["pointerdown", "keydown"])
    addEventListener(event, () => { isAction = true }, { capture: true })
  addEventListener("popstate", () => { isAction = false }, { capture: true })
  history.pushState = history.replaceState = (state, title, url) => {
    const isNew = isAction && new URL(url, location).href !== location.href
    const write = isNew ? push : replace
    if (isNew) isAction = false
    write(state, title, url)
  }
}
"""


def one_entry_an_action() -> None:
    with st.container(height=1, border=False, key="history"):
        st.html(f"<script>{_SCRIPT}</script>", unsafe_allow_javascript=True)
