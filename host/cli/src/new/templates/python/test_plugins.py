"""Tests of both plugins, in processes as a run has them."""

from typing import Any

import cobuf
import pytest

from commander import Batches
from producer import Samples

def loader(commander: Any = None, seed: int = 0, **config: Any) -> cobuf.Loader:
    """Five batches, unless there are other messages."""
    return cobuf.Loader(
        commander=commander or Batches(batches=5, batch_size=4, length=10),
        producer=Samples,
        producer_config={"batch_size": 4, "width": 3, **config},
        workers=2,
        seed=seed,
    )


def test_each_item_has_its_row() -> None:
    with loader() as batches:
        second = list(batches)[1]
    assert second["item"].tolist() == [4, 5, 6, 7]
    assert second["x"][1].tolist() == [5.0, 6.0, 7.0]


def test_same_seed_gives_the_same_batches() -> None:
    def content(seed: int) -> list[bytes]:
        with loader(seed=seed, noise=0.5) as batches:
            return [batch["x"].tobytes() for batch in batches]

    assert content(1) == content(1)
    assert content(1) != content(2)


def test_item_that_cannot_be_loaded_is_the_error_of_its_batch() -> None:
    with loader([{"items": [2_000_000]}, {"items": [1]}]) as batches:
        with pytest.raises(cobuf.BatchError, match="cannot load item 2000000"):
            next(batches)
        assert next(batches)["item"].tolist() == [1]


def test_negative_noise_is_refused() -> None:
    with pytest.raises(RuntimeError, match="noise is -1"):
        loader(noise=-1).start()
