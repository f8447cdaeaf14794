"""Builds the package: the command and the plugins by cargo, the extension and the wheel by maturin.

maturin cannot put programs beside an extension module (PyO3/maturin#368), so they are built first
and lie in the package's folder. `python build_backend.py` puts everything there, the extension too,
for tests and for work on the package itself.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PACKAGE = FOLDER / "python" / "cobuf"
PACKAGES = ["cobuf", "python-producer", "python-commander"]
PROGRAMS = {
    "cobuf": "bin/cobuf",
    "libpython_producer.so": "plugins/libpython_producer.so",
    "libpython_commander.so": "plugins/libpython_commander.so",
}
EXTENSION = {"lib_native.so": "_native.abi3.so"}


def build(packages: list[str], files: dict[str, str], profile: list[str]) -> None:
    """Builds packages of the workspace, and copies these files of cargo's output into the package."""
    command = [os.environ.get("CARGO", "cargo"), "build", *profile, "--message-format=json-render-diagnostics"]
    command += [argument for package in packages for argument in ("-p", package)]
    said = subprocess.run(command, cwd=FOLDER, stdout=subprocess.PIPE, check=True, text=True).stdout
    made = {}
    for line in said.splitlines():
        message = json.loads(line)
        names = message.get("filenames") or []
        made.update({Path(name).name: name for name in [*names, message.get("executable")] if name})
    for name, target in files.items():
        place = PACKAGE / target
        place.parent.mkdir(exist_ok=True)
        # A new file: a process may run the old one.
        new = place.with_name(place.name + ".new")
        shutil.copy2(made[name], new)
        new.replace(place)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]
    import maturin

    build(PACKAGES, PROGRAMS, ["--release"])
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):  # type: ignore[no-untyped-def]
    import maturin

    return maturin.build_sdist(sdist_directory, config_settings)


def get_requires_for_build_wheel(config_settings=None):  # type: ignore[no-untyped-def]
    import maturin

    return maturin.get_requires_for_build_wheel(config_settings)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):  # type: ignore[no-untyped-def]
    import maturin

    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


if __name__ == "__main__":
    chosen = [] if "--debug" in sys.argv else ["--release"]
    build([*PACKAGES, "cobuf-python"], PROGRAMS | EXTENSION, chosen)
