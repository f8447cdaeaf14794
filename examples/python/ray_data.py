"""One stream over the nodes of a Ray cluster: `python examples/python/ray_data.py`.

Once as a dataset of Ray Data, and once by actors with a loader each, where the second actors go on from
what the first ones had delivered. Needs `pip install 'cobuf[ray]'`.
"""

import os
import sys

import cobuf

try:
    import ray

    import cobuf.ray
except ImportError:
    sys.exit("this example needs Ray Data: pip install 'cobuf[ray]'")

BATCHES, ROWS, COLUMNS = 40, 32, 8
SETTINGS = {"commander": range(BATCHES), "workers": 1, "seed": 3}


@cobuf.producer(arrays={"x": cobuf.Array("float32", (ROWS, COLUMNS))})
def noise(message, out, context):
    # The same numbers on whichever node, and however often the task is executed.
    context.rng.standard_normal(out=out["x"], dtype="float32")


@ray.remote(num_cpus=1)
class Rank:
    """One loader an actor, and the sum of all numbers that it has seen."""

    def __init__(self, rank, of, state=None):
        self.loader = cobuf.Loader(producer=noise, rank=(rank, of), **SETTINGS)
        if state:
            self.loader.load_state_dict(state)

    def learn(self, batches=BATCHES):
        seen = 0.0
        for _ in range(batches):
            batch = next(self.loader, None)
            if batch is None:
                break
            seen += float(batch["x"].sum(dtype="float64"))
        del batch  # A batch that is held counts as not delivered.
        return seen, self.loader.state_dict()


def total_of_dataset():
    dataset = cobuf.ray.read(ranks=4, producer=noise, **SETTINGS)
    # Rows are numbered by their batch, since Ray does not keep the order of its tasks.
    assert len(dataset.unique("sequence")) == BATCHES
    return sum(float(block["x"].sum(dtype="float64")) for block in dataset.iter_batches())


def total_of_actors():
    first = ray.get([Rank.remote(rank, 3).learn.remote(5) for rank in range(3)])
    state = cobuf.merge_state_dicts(state for _, state in first)
    rest = ray.get([Rank.remote(rank, 2, state).learn.remote() for rank in range(2)])
    return sum(seen for seen, _ in [*first, *rest])


def main():
    # A cluster of this process only, unless RAY_ADDRESS names one.
    alone = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": 4, "include_dashboard": False}
    ray.init(log_to_driver=False, **alone)
    with cobuf.Loader(producer=noise, **SETTINGS) as loader:
        single = sum(float(batch["x"].sum(dtype="float64")) for batch in loader)
    for name, total in [("dataset", total_of_dataset()), ("actors", total_of_actors())]:
        print(f"{name}: {BATCHES} batches, the numbers of one loader: {abs(total - single) < 1e-6}")
    ray.shutdown()


if __name__ == "__main__":
    main()
