"""As a notebook is written: `python examples/python/main_script.py`.

Everything is defined in `__main__`, and there is no `if __name__ == "__main__":`. Workers do not
import this script; classes and functions travel to them by value, so a cell that was edited takes
effect by a swap. Editors run the parts between `# %%` as cells.
"""

# %%
import numpy

import cobuf

POINTS = 4096


# %%
class Spiral:
    arrays = {"points": cobuf.Array("float32", (POINTS, 2)), "turns": cobuf.Array("float32", ())}

    def __init__(self, noise):
        self.noise = noise

    def produce(self, message, out, context):
        angle = numpy.linspace(0, 2 * numpy.pi * message["turns"], POINTS)
        radius = angle / angle[-1]
        points = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], axis=1)
        out["points"] = points + context.rng.normal(0, self.noise, points.shape)
        out["turns"] = message["turns"]


# %%
messages = [{"turns": 1 + n % 5} for n in range(400)]
loader = cobuf.Loader(
    commander=messages, producer=Spiral, producer_config={"noise": 0.01}, workers=2, seed=7
)

# %%
first = next(loader)
print(f"batch {first.sequence}: {first['points'].shape} of {first['turns']:.0f} turns")
print(f"it ends at a radius of {numpy.hypot(*first['points'][-1]):.1f}")


# %% The cell is edited, here to double the radius, and run again.
class Spiral(Spiral):
    def produce(self, message, out, context):
        super().produce(message, out, context)
        out["points"] *= 2


swapped = loader.swap_producer(Spiral)

# %%
del first  # A batch that is held holds its slot.
radii = {batch.sequence: numpy.hypot(*batch["points"][-1]) for batch in loader}
doubled = [number for number, radius in radii.items() if radius > 1.5]
print(f"the new code made all batches from its first one on: {doubled == list(range(swapped, 400))}")

# %%
loader.close()
