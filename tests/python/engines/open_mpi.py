"""Open MPI's `mpirun` on this machine. It needs no daemon, and its ranks need no MPI of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from engines.kept import Kept

PACKAGE = "openmpi-bin"

SETTINGS = {
    # More ranks than cores, and each on any core.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    # Nothing but this machine: no ssh, no other interface.
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_oob_tcp_if_include": "lo",
    # CI's containers have no other user.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def missing() -> list[str]:
    """The programs that are not installed."""
    return [] if shutil.which("mpirun") else ["mpirun"]


def start(folder: Path, *command: str, cwd: Path, **variables: str) -> Kept:
    """Starts `mpirun`, or a script with it. Its output goes to files of the folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OMPI_")}
    out, err = folder / "mpirun.out", folder / "mpirun.err"
    return Kept(list(command), out, err, cwd, {**clean, **SETTINGS, **variables})
