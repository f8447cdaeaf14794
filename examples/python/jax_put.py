"""Puts batches on JAX's default device: `python examples/python/jax_put.py`.

A batch is put there while the device still works on the one before, because JAX computes in the
background. Needs `pip install jax`.
"""

import sys

import cobuf

try:
    import jax
except ImportError:
    sys.exit("this example needs jax: pip install jax")

BATCHES, ROWS, COLUMNS = 64, 256, 128


@cobuf.producer(arrays={"x": cobuf.Array("float32", (ROWS, COLUMNS))})
def noise(message, out, context):
    # The generator depends on the run's seed and the message only, not on the worker.
    context.rng.standard_normal(out=out["x"], dtype="float32")


@jax.jit
def step(total, x):
    return total + (x.T @ x) / (BATCHES * ROWS)


def main():
    covariance = jax.numpy.zeros((COLUMNS, COLUMNS))
    with cobuf.Loader(commander=range(BATCHES), producer=noise, workers=2, seed=3) as loader:
        for batch in loader:
            # Copied from the slot to a GPU or TPU; a CPU may share the slot's memory. The slot stays
            # taken until JAX has let go of it, so no more than one step is left unfinished.
            x = jax.device_put(batch["x"])
            jax.block_until_ready(covariance)
            covariance = step(covariance, x)
    off = float(abs(covariance - jax.numpy.eye(COLUMNS)).max())
    print(f"{BATCHES * ROWS} rows on {jax.devices()[0].platform}: their covariance is off by {off:.3f}")


if __name__ == "__main__":
    main()
