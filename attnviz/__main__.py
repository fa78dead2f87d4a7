"""`attnviz`, or `python -m attnviz`: attnviz in a shell, and `attnviz page` in a browser."""

import sys

from attnviz.cli.main import main as shell


def main() -> int | str:
    """The exit status, or the sentence to end with.

    `page` is a word of attnviz only where it comes first: `attnviz -- page` is about that text.
    """
    if sys.argv[1:2] == ["page"]:
        from attnviz.page.starting import start

        return start(sys.argv[2:])
    return shell()


if __name__ == "__main__":
    sys.exit(main())
