"""What pyproject.toml cannot say: the package has the page's script and Streamlit's settings too.

A clone has both at its top, for `streamlit run` and for deployments. A wheel has the same files in
a folder of their own, where Streamlit finds the settings beside the script.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithScript(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in ("streamlit_app.py", ".streamlit/config.toml"):
            copy = Path(self.build_lib, "attnviz/page/script", file)
            self.mkpath(str(copy.parent))
            self.copy_file(file, str(copy))


setup(cmdclass={"build_py": BuildWithScript})
