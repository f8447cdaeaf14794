"""Trains on the digits that the model gets wrong: `python examples/python/hard_examples.py`.

This program is the commander: it submits which images the next batch has, and keeps a few batches
under way. For half of each batch it chooses the images with the greatest loss so far, for the other
half those that are next in turn. The same training with all images in turn is beside it. The next
message depends on the batches before it only, and they come in order, so every run prints the same
numbers, with any number of workers.
"""

from pathlib import Path

import numpy

import cobuf

DIGITS = Path(__file__).resolve().parents[2] / "plugins" / "digits-producer" / "data" / "digits.bin"
# Every fifth digit is held out.
TRAIN, TEST = [n for n in range(1797) if n % 5 != 4], range(4, 1797, 5)
BATCH_SIZE, SEED = 32, 1
# How many images of a batch are hard ones, if there are so many, and from which loss on one is.
HARD, HARD_LOSS = BATCH_SIZE // 2, 0.3
# How many batches are under way while one is learned from.
AHEAD = 4
LEARNING_RATE, WANTED_ACCURACY = 0.5, 0.95


def digits():
    """65 bytes each: 8 x 8 pixels from 0 (paper) to 16 (ink), then the digit."""
    return numpy.fromfile(DIGITS, "uint8").reshape(-1, 65)


class Digits:
    """The producer: made once in each worker."""

    arrays = {
        "image": cobuf.Array("float32", (BATCH_SIZE, 64)),
        "label": cobuf.Array("int64", (BATCH_SIZE,)),
    }

    def __init__(self):
        self.digits = digits()

    def produce(self, message, out):
        chosen = self.digits[message["items"]]
        out["image"][:] = chosen[:, :64] / 16
        out["label"][:] = chosen[:, 64]


class Choice:
    """Which images come next."""

    def __init__(self, hard):
        self.hard = hard
        self.losses = numpy.full(1797, numpy.nan)
        self.under_way = numpy.zeros(1797, bool)
        self.in_turn = []
        self.rng = numpy.random.default_rng(SEED)

    def next_message(self):
        items = self.hardest() if self.hard else []
        while len(items) < BATCH_SIZE:
            if not self.in_turn:
                self.in_turn = self.rng.permutation(TRAIN).tolist()
            item = self.in_turn.pop()
            if item not in items:
                items.append(item)
        self.under_way[items] = True
        return {"items": items}

    def hardest(self):
        losses = numpy.where(self.under_way, numpy.nan, self.losses)
        hard = numpy.flatnonzero(losses > HARD_LOSS)
        return hard[numpy.argsort(-losses[hard], kind="stable")][:HARD].tolist()

    def seen(self, items, losses):
        self.losses[items] = losses
        self.under_way[items] = False


class Model:
    """probabilities = softmax(images @ weights + bias)"""

    def __init__(self):
        self.weights = numpy.zeros((64, 10), "float32")
        self.bias = numpy.zeros(10, "float32")

    def learn(self, images, labels):
        """One step down the gradient of the cross entropy; gives the loss of each image before it."""
        scores = images @ self.weights + self.bias
        error = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        rows = numpy.arange(len(labels))
        losses = -numpy.log(numpy.maximum(error[rows, labels], 1e-30))
        error[rows, labels] -= 1
        self.weights -= LEARNING_RATE / len(labels) * images.T @ error
        self.bias -= LEARNING_RATE / len(labels) * error.sum(axis=0)
        return losses

    def accuracy(self, images, labels):
        return ((images @ self.weights + self.bias).argmax(axis=1) == labels).mean()


def batches_needed(hard):
    """Trains until enough of the held-out digits are right; gives the number of batches."""
    test = digits()[list(TEST)]
    model, choice = Model(), Choice(hard)
    with cobuf.Loader(commander=None, producer=Digits, workers=2, slots=8) as loader:
        for _ in range(AHEAD):
            loader.submit(choice.next_message())
        for batch in loader:
            losses = model.learn(batch["image"], batch["label"])
            choice.seen(batch.message["items"], losses)
            if model.accuracy(test[:, :64] / 16, test[:, 64]) >= WANTED_ACCURACY:
                return batch.sequence + 1
            loader.submit(choice.next_message())
    raise RuntimeError("the stream ended early")


def main():
    for hard, name in [(False, "images in turn:   "), (True, "half of them hard:")]:
        print(f"{name} {100 * WANTED_ACCURACY:.0f} % of the held-out digits after {batches_needed(hard)} batches")


if __name__ == "__main__":
    main()
