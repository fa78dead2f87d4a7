"""What a visitor sees of a model that is not here yet: its size, a button, and how far it is."""

import streamlit as st

from attnviz.page.refusals import show_error
from attnviz.page.service import downloading, loading
from attnviz.text.phrases import duration, escaped, size

_EVERY = 0.5  # seconds between two looks at a download
_AT_ONCE = 0.3  # seconds that an answer may take so as to be shown without anything before it
_STALLED_AFTER = 5.0  # seconds without a byte


def show(name: str) -> None:
    """One step of the way of a model to this machine; the page runs again when it is there."""
    download = downloading.of(name)
    download.wait(_AT_ONCE)
    if download.is_under_way:
        st.fragment(_follow, run_every=_EVERY)(name)
    elif loading.is_here(name):  # it has come in this very moment
        st.rerun()
    elif download.error is not None:
        show_error(download.error)
        _try_again(name)
    else:
        _offer(download)


def _offer(download: downloading.Download) -> None:
    remote = download.remote
    assert remote is not None
    st.subheader(f"{escaped(download.name)} is not here yet", anchor=False)
    st.markdown(
        f"It is downloaded from the Hugging Face Hub once, for everybody who uses this page: "
        f"**{size(remote.n_bytes)}**."
    )
    st.button(
        f"Download {size(remote.n_bytes)}",
        icon=":material/download:",
        type="primary",
        key="download",
        on_click=downloading.begin,
        args=(download.name,),
    )


def _follow(name: str) -> None:
    """Drawn again and again by itself, while the rest of the page answers as always."""
    download = downloading.known(name)
    if download is None or not download.is_under_way:
        st.rerun()
    if not download.is_begun:
        st.markdown(f"Asking the Hugging Face Hub how large {escaped(name)} is …")
        return
    st.subheader(f"Downloading {escaped(name)}", anchor=False)
    done, in_all = download.n_bytes, download.n_bytes_in_all
    st.progress(min(1.0, done / in_all) if in_all else 0.0, text=progress_line(download))
    st.caption(
        "Choose another model at any time: this download goes on, and whoever asks for the same "
        "model waits for it too."
    )


def progress_line(download: downloading.Download) -> str:
    """How much has come, and how long the rest will take."""
    line = f"{size(download.n_bytes)} of {size(download.n_bytes_in_all)}"
    silent, left = download.seconds_without_news(), download.seconds_left()
    if silent > _STALLED_AFTER:
        return f"{line}; nothing has come for {duration(silent)}"
    if download.n_bytes >= download.n_bytes_in_all > 0:
        return f"{line}; checking what came"
    return line if left is None else f"{line}; {duration(left)} left"


def _try_again(name: str) -> None:
    st.button(
        "Try again",
        icon=":material/refresh:",
        key="download_again",
        on_click=downloading.forget,
        args=(name,),
    )
