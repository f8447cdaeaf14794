"""The squares of some numbers, made by two processes: `python examples/python/quickstart.py`."""

import cobuf


@cobuf.producer(arrays={"square": cobuf.Array("int64", (4,))})
def squares(message, out):
    out["square"][:] = message**2


def main():
    with cobuf.Loader(commander=range(1000), producer=squares, workers=2) as loader:
        total = sum(int(batch["square"].sum()) for batch in loader)
    print(f"{total} in all")


if __name__ == "__main__":
    main()
