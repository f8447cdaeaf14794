"""Trains a small torch model on handwritten digits: `python examples/python/digits_torch.py`.

Workers fill batches with shuffled digits and add noise; the loop takes their memory as tensors,
without a copy. The seed decides order and noise, so each run trains on the same batches, with any
number of workers. Needs `pip install torch`; the digits are in this repository.
"""

import sys
from pathlib import Path

import numpy

import cobuf

try:
    import torch
except ImportError:
    sys.exit("this example needs torch: pip install torch")

DIGITS = Path(__file__).resolve().parents[2] / "plugins" / "digits-producer" / "data" / "digits.bin"
# Every fifth digit is held out.
TRAIN, TEST = [n for n in range(1797) if n % 5 != 4], range(4, 1797, 5)
BATCH_SIZE, EPOCHS, SEED = 32, 15, 1


class Batches:
    """The commander: item numbers of each batch, shuffled in each epoch. Because it has a length and
    indices, a run can be resumed at any batch at no cost."""

    def __init__(self, items, epochs, shuffle):
        self.items, self.epochs, self.shuffle = items, epochs, shuffle
        self.in_epoch = -(-len(items) // BATCH_SIZE)

    def __len__(self):
        return self.in_epoch * self.epochs

    def __getitem__(self, number):
        epoch, batch = divmod(number, self.in_epoch)
        items = numpy.array(self.items)
        if self.shuffle:
            numpy.random.default_rng([SEED, epoch]).shuffle(items)
        return {"epoch": epoch, "items": items[batch * BATCH_SIZE :][:BATCH_SIZE].tolist()}


class Digits:
    """The producer: made once in each worker."""

    arrays = {
        "image": cobuf.Array("float32", (BATCH_SIZE, 64)),
        "label": cobuf.Array("int64", (BATCH_SIZE,)),
    }

    def __init__(self, noise):
        # 65 bytes each: 8 x 8 pixels from 0 (paper) to 16 (ink), then the digit.
        self.digits = numpy.fromfile(DIGITS, "uint8").reshape(-1, 65)
        self.noise = noise

    def produce(self, message, out, context):
        for row, item in enumerate(message["items"]):
            image = self.digits[item, :64] / 16
            if self.noise:
                image = image + context.rng.normal(0, self.noise, 64)
            out["image"][row] = image
            out["label"][row] = self.digits[item, 64]
        # The last batch of an epoch is shorter.
        context.rows = len(message["items"])


def loader(items, epochs, train):
    return cobuf.Loader(
        commander=Batches(items, epochs, shuffle=train),
        producer=Digits,
        producer_config={"noise": 0.05 if train else 0.0},
        workers=2,
        seed=SEED,
    )


def main():
    torch.manual_seed(SEED)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)

    losses = [0.0] * EPOCHS
    with loader(TRAIN, EPOCHS, train=True) as batches:
        for batch in batches:
            tensors = batch.torch()
            loss = torch.nn.functional.cross_entropy(model(tensors["image"]), tensors["label"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses[batch.message["epoch"]] += loss.item() * batch.rows
    for epoch, loss in enumerate(losses, 1):
        print(f"epoch {epoch:2}: loss {loss / len(TRAIN):.4f}")

    right = 0
    with loader(TEST, 1, train=False) as batches, torch.no_grad():
        for batch in batches:
            tensors = batch.torch()
            right += int((model(tensors["image"]).argmax(1) == tensors["label"]).sum())
    print(f"{100 * right / len(TEST):.1f} % of the {len(TEST)} held-out digits are right")


if __name__ == "__main__":
    main()
