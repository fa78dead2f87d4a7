"""`python -m attnviz`: attnviz in a shell."""

import sys

from attnviz.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
