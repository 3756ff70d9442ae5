"""Make the throw-away environment in which microtune and its peers run on one and the same torch.

    python benchmarks/peers/environment.py [--environment FOLDER]      default: benchmarks/peers/.venv

torch is installed first and by itself, so that no package pulls another build of it; then the pinned peers, then this
repository in editable form. `--torch-index` names an index for the CPU build, where the usual one gives a CUDA build.
What is already there is kept, so that a second call is quick; delete the folder to begin anew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
DEFAULT = HERE / ".venv"
TORCH = "torch==2.13.0"
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "sentence-transformers", "setfit", "litgpt")


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def own_requirements() -> list[str]:
    """microtune's own dependencies but torch, and what builds an editable install."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [name for name in project["project"]["dependencies"] if not name.startswith("torch")]
    return [*needed, *project["build-system"]["requires"], "editables"]


def make(folder: Path, torch_index: str | None) -> Path:
    """Make or complete the environment and return its interpreter."""
    python = interpreter(folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    index = ["--index-url", torch_index] if torch_index else []
    subprocess.run([*install, *index, TORCH], check=True)
    subprocess.run([*install, TORCH, "-r", str(HERE / "requirements.txt"), *own_requirements()], check=True)
    subprocess.run([*install, "--no-deps", "-r", str(HERE / "requirements-alone.txt")], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", "-e", str(REPOSITORY)], check=True)
    return python


def main() -> None:
    """Parse and make."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", type=Path, default=DEFAULT)
    parser.add_argument("--torch-index", help="for instance https://download.pytorch.org/whl/cpu")
    arguments = parser.parse_args()
    print(make(arguments.environment.absolute(), arguments.torch_index))


if __name__ == "__main__":
    main()
