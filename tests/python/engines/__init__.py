"""Engines that start ranks, as people run them: Open MPI and SLURM, on loopback, on one machine.

    test ── mpirun ────────────────────────────────── ranks
    test ── srun, sbatch ··► slurmctld ··► slurmd n0 ── slurmstepd ── ranks 0, 1
                                      ··► slurmd n1 ── slurmstepd ── ranks 2, 3
                                      ··► slurmd n2, which takes the place of a lost node

Each command and daemon runs under a `keeper`, so a test can count what is left of it, and nothing
can outlive the tests. An engine that is not installed skips its tests, and the reason names its
Debian package.
"""
