"""`cobuf.concurrentbuffer`: what users of the package concurrentbuffer rely on, and where it deviates."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker as resource_tracker
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

import cobuf
import numpy as np
import pytest
from buffers import SHAPES, Broken, Ends, Numbers, Painter, Scripted, Telling
from cobuf.concurrentbuffer.commander import Commander, get_commander_process_class_object
from cobuf.concurrentbuffer.factory import BufferFactory, create_buffer_factory
from cobuf.concurrentbuffer.info import BufferInfo
from cobuf.concurrentbuffer.iterator import BufferIterator, buffer_iterator_factory
from cobuf.concurrentbuffer.manager import SharedBufferManager, SharedBufferManagerNotStarted
from cobuf.concurrentbuffer.producer import get_producer_process_class_object
from cobuf.concurrentbuffer.state import BufferState
from cobuf.concurrentbuffer.system import BufferSystem

CONTEXTS = ["fork", "spawn"]


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps() -> Iterator[None]:
    """`multiprocessing` keeps these as long as the process lives: no leak of a test."""
    resource_tracker.ensure_running()
    value = multiprocessing.Value("i", 0)
    yield
    del value


def painted(data: list[Any]) -> list[int]:
    """The number with which each array is painted."""
    assert all((array == array.flat[0]).all() for array in data)
    return [int(array.flat[0]) for array in data]


def iterate(context: Any, deterministic: bool) -> None:
    factory = create_buffer_factory(
        cpus=24,
        batch_commander=Numbers(),
        batch_producer=Painter(),
        context=context,
        deterministic=deterministic,
        buffer_shapes=SHAPES,
        buffer_dtype=np.uint8,
    )
    with BufferIterator(buffer_factory=factory) as iterator:
        seen = []
        for _ in range(10):
            data = next(iterator)
            assert [(array.shape, array.dtype, array.flags.writeable) for array in data] == [
                (shape, np.uint8, True) for shape in SHAPES
            ]
            first, second = painted(data)
            assert second == first + 1
            seen.append(first)
        assert len(set(seen)) == 10
        if deterministic:
            assert seen == list(range(10))


def test_iterates_in_any_order_with_a_fork_context() -> None:
    iterate(ForkContext(), deterministic=False)


def test_iterates_in_any_order_with_fork() -> None:
    iterate("fork", deterministic=False)


def test_iterates_in_order_with_a_fork_context() -> None:
    iterate(ForkContext(), deterministic=True)


def test_iterates_in_any_order_with_a_spawn_context() -> None:
    iterate(SpawnContext(), deterministic=False)


def test_iterates_in_any_order_with_spawn() -> None:
    iterate("spawn", deterministic=False)


def test_iterates_in_order_with_a_spawn_context() -> None:
    iterate(SpawnContext(), deterministic=True)


def test_iterator_factory_makes_buffers_of_uint16() -> None:
    iterator = buffer_iterator_factory(
        cpus=6,
        buffer_shapes=SHAPES,
        commander=Numbers(),
        producer=Painter(),
        context="spawn",
        deterministic=True,
    )
    for number in range(10):
        data = next(iterator)
        assert [array.dtype for array in data] == [np.uint16, np.uint16]
        assert painted(data) == [number, number + 1]
    iterator.stop()


def manager() -> SharedBufferManager:
    return SharedBufferManager(buffer_info=BufferInfo(shapes=SHAPES, count=6 * len(BufferState)))


def test_there_are_no_buffers_before_the_start() -> None:
    with pytest.raises(SharedBufferManagerNotStarted, match="between start and shutdown"):
        _ = manager().buffers


def test_there_are_no_states_before_the_start() -> None:
    with pytest.raises(SharedBufferManagerNotStarted, match="between start and shutdown"):
        _ = manager().state_buffer


def test_there_is_no_commander_of_another_context() -> None:
    for context in (ForkServerContext(), ForkServerContext):
        with pytest.raises(ValueError, match="expected fork or spawn"):
            get_commander_process_class_object(context)  # type: ignore[arg-type]


def test_there_is_no_producer_of_another_context() -> None:
    for context in (ForkServerContext(), ForkServerContext):
        with pytest.raises(ValueError, match="expected fork or spawn"):
            get_producer_process_class_object(context)  # type: ignore[arg-type]


# Beyond the scenarios of upstream's own tests.


def iterator_of(commander: Commander, producer: Any, shapes: Any, context: str, **options: Any) -> Any:
    settings = {"cpus": 2, "deterministic": True, "buffer_dtype": np.uint8} | options
    return buffer_iterator_factory(
        commander=commander, producer=producer, buffer_shapes=shapes, context=context, **settings
    )


@pytest.mark.parametrize("context", CONTEXTS)
def test_data_is_cast_and_broadcast(context: str) -> None:
    shapes = ((2, 3), (3,))

    def make(message: dict[str, Any]) -> Any:
        return [
            # Lists of arrays, casts that lose something, rows, a scalar's broadcast.
            ([np.array([1.9, 2.1, 3.5]), np.array([4, 5, 6], np.int64)], np.array([7.0])),
            (np.array([[300, 1, 2]]), np.array([[9, 8, 7]])),
            {0: np.zeros(1, bool), 1: np.arange(3, dtype=np.float32), "more": 1},
        ][message["number"]]

    with iterator_of(Numbers(last=3), Scripted(make), shapes, context) as iterator:
        given = [[array.tolist() for array in data] for data in iterator]
    assert given == [
        [[[1, 2, 3], [4, 5, 6]], [7, 7, 7]],
        [[[44, 1, 2], [44, 1, 2]], [9, 8, 7]],
        [[[0, 0, 0], [0, 0, 0]], [0, 1, 2]],
    ]


@pytest.mark.parametrize("dtype", ["?", "<f2", ">i4", "c16", "M8[s]", "S5", [("x", "u1"), ("y", "<f8")]])
def test_any_element_type_but_objects_can_be_had(dtype: Any) -> None:
    values = np.zeros(4, dtype)
    values[1] = np.ones(1, "u1").astype("S5" if dtype == "S5" else "?").astype(dtype)[0]
    with iterator_of(
        Numbers(last=1), Scripted(lambda message: [values]), ((4,),), "fork", buffer_dtype=dtype
    ) as iterator:
        (data,) = next(iterator)
    assert (data.dtype, data.tolist()) == (values.dtype, values.tolist())


def test_objects_are_no_elements() -> None:
    with pytest.raises(TypeError, match="without Python objects"):
        iterator_of(Numbers(), Painter(), ((4,),), "fork", buffer_dtype=object)


@pytest.mark.parametrize("context", CONTEXTS)
def test_bare_array_of_the_only_shape_is_stored_whole(context: str) -> None:
    def make(message: dict[str, Any]) -> Any:
        rows = np.arange(6).reshape(2, 3)
        # As the only entry, or bare, or, as upstream takes it, a row that is repeated.
        return [rows[None], rows, np.arange(3).reshape(1, 3)][message["number"]]

    with iterator_of(Numbers(last=3), Scripted(make), ((2, 3),), context) as iterator:
        given = [data[0].tolist() for data in iterator]
    whole = [[0, 1, 2], [3, 4, 5]]
    assert given == [whole, whole, [[0, 1, 2], [0, 1, 2]]]


@pytest.mark.parametrize("context", CONTEXTS)
def test_message_names_its_buffer(context: str) -> None:
    make = Scripted(lambda message: [[message["/buffer_id"]]])
    with iterator_of(Numbers(), make, ((1,),), context) as iterator:
        numbers = [int(next(iterator)[0][0]) for _ in range(20)]
    assert numbers == [number % 8 for number in range(20)]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("how", ["none", "stop"])
def test_commander_ends_the_stream(context: str, how: str) -> None:
    with iterator_of(Ends(how), Scripted(lambda message: [[1]]), ((1,),), context) as iterator:
        assert len(list(iterator)) == 3
        assert list(iterator) == []


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("how", "text"), [("raise", "ZeroDivisionError: no more"), ("list", "create_message returned list")]
)
def test_error_of_the_commander_is_raised(context: str, how: str, text: str) -> None:
    with iterator_of(Ends(how), Scripted(lambda message: [[1]]), ((1,),), context) as iterator:
        with pytest.raises(cobuf.StreamError, match=text):
            for _ in range(4):
                next(iterator)


@pytest.mark.parametrize("context", CONTEXTS)
def test_error_of_a_producer_is_raised_in_the_place_of_its_batch(context: str) -> None:
    def make(message: dict[str, Any]) -> Any:
        if message["number"] == 1:
            raise LookupError("no such slide")
        # Of a shape that is none, once.
        return [np.zeros((3, 3)[: 2 if message["number"] == 2 else 1])]

    with iterator_of(Numbers(last=4), Scripted(make), ((3,),), context) as iterator:
        next(iterator)
        with pytest.raises(cobuf.BatchError, match="LookupError: no such slide") as raised:
            next(iterator)
        assert raised.value.message["number"] == 1
        with pytest.raises(cobuf.BatchError, match="could not broadcast"):
            next(iterator)
        assert len(list(iterator)) == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_producer_that_dies_is_replaced(context: str, tmp_path: Path) -> None:
    mark = tmp_path / "died"

    def make(message: dict[str, Any]) -> Any:
        if message["number"] == 2 and not mark.exists():
            mark.touch()
            os.abort()
        return [[message["number"]]]

    with iterator_of(Numbers(last=5), Scripted(make), ((1,),), context) as iterator:
        assert [int(data[0][0]) for data in iterator] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("context", CONTEXTS)
def test_error_in_build_is_raised_by_the_factory(context: str) -> None:
    with pytest.raises(RuntimeError, match="OSError: no such folder"):
        iterator_of(Broken(), Painter(((1,),)), ((1,),), context)


def test_object_that_cannot_be_pickled_is_an_error_of_spawn_only() -> None:
    import threading

    lock = threading.Lock()
    make = Scripted(lambda message: [[lock.acquire(False)]])
    with pytest.raises(TypeError, match="cannot pickle"):
        iterator_of(Numbers(), make, ((1,),), "spawn")
    with iterator_of(Numbers(last=1), make, ((1,),), "fork") as iterator:
        assert [int(data[0][0]) for data in iterator] == [1]


@pytest.mark.parametrize("context", CONTEXTS)
def test_queues_pipes_and_locks_of_multiprocessing_reach_the_processes(context: str) -> None:
    it = multiprocessing.get_context(context)
    told, asked, lock, counter = it.Queue(), it.Queue(), it.Lock(), it.Value("i", 0)
    receiver, sender = it.Pipe()

    def make(message: dict[str, Any]) -> Any:
        # The processes have one lock, one counter and one socket.
        with lock:
            counter.value += 1
            sender.send(message["number"])
        return [[len(message["word"])]]

    with iterator_of(Telling(told, asked, last=30), Scripted(make), ((1,),), context) as iterator:
        lengths = []
        for number in range(30):
            asked.put("x" * number)
            lengths.append(int(next(iterator)[0][0]))
            assert told.get()["number"] == number
        assert lengths == list(range(30))
        assert list(iterator) == []
    assert counter.value == 30
    assert sorted(receiver.recv() for _ in range(30)) == list(range(30))
    for queue in (told, asked):
        queue.close()
        queue.join_thread()
    receiver.close()
    sender.close()


@pytest.mark.parametrize("context", CONTEXTS)
def test_what_a_commander_has_put_into_a_queue_can_be_read_after_its_end(context: str) -> None:
    it = multiprocessing.get_context(context)
    told, asked = it.Queue(), it.Queue()
    # More than a pipe takes.
    words = ["x" * 150_000, "y" * 150_000, "z" * 150_000]
    for word in words:
        asked.put(word)
    with iterator_of(Telling(told, asked, last=3), Painter(((1,),)), ((1,),), context) as iterator:
        assert [painted(data) for data in iterator] == [[0], [1], [2]]
        assert [told.get()["word"] for _ in words] == words
    for queue in (told, asked):
        queue.close()
        queue.join_thread()


@pytest.mark.parametrize("context", CONTEXTS)
def test_message_that_is_too_large_names_its_limit(context: str) -> None:
    class Large(Commander):
        def __init__(self, capacity: int) -> None:
            self.message_capacity = capacity

        def create_message(self) -> dict[str, Any]:
            return {"text": "x" * 300_000}

    make = Scripted(lambda message: [[len(message["text"]) // 10_000]])
    with iterator_of(Large(400_000), make, ((1,),), context) as iterator:
        assert painted(next(iterator)) == [30]
    with iterator_of(Large(200_000), make, ((1,),), context) as iterator:
        with pytest.raises(cobuf.StreamError, match="a message capacity of 3"):
            next(iterator)


@pytest.mark.parametrize("context", CONTEXTS)
def test_stop_ends_at_once_what_hangs(context: str) -> None:
    def make(message: dict[str, Any]) -> Any:
        multiprocessing.Event().wait()

    iterator = iterator_of(Numbers(), Scripted(make), ((1,),), context)
    iterator.stop()
    iterator.stop()
    with pytest.raises(RuntimeError, match="closed"):
        next(iterator)


@pytest.mark.parametrize("context", CONTEXTS)
def test_buffer_that_is_not_freed_stays_held(context: str) -> None:
    with iterator_of(Numbers(), Painter(((1,),)), ((1,),), context, auto_free_buffer=False) as iterator:
        factory = iterator._buffer_factory
        ids = []
        for _ in range(8):
            next(iterator)
            ids.append(iterator._last_buffer_id)
        assert ids == list(range(8))
        # All are held; each that is freed comes again.
        for number in range(8, 20):
            factory.buffer_state_memory.update_buffer_id_to_free(number % 8)
            assert painted(next(iterator)) == [number]
        with pytest.raises(KeyError, match="buffer 9 is not held"):
            factory.buffer_memories[0].get_buffer(9)


@pytest.mark.parametrize("context", CONTEXTS)
def test_generators_are_the_producers_own(context: str) -> None:
    np.random.seed(5)
    state = np.random.get_state()[1].copy()  # type: ignore[index]

    def make(message: dict[str, Any]) -> Any:
        if message["number"] == 0:
            # By fork, the application's; by spawn, nobody else's.
            assert (np.random.get_state()[1] == state).all() == (context == "fork")
            np.random.seed(9)
        return [[np.random.randint(256)]]

    with iterator_of(Numbers(last=6), Scripted(make), ((1,),), context, cpus=1) as iterator:
        drawn = [int(data[0][0]) for data in iterator]
    assert drawn == np.random.RandomState(9).randint(256, size=6).tolist()


def test_two_iterators_do_not_disturb_each_other() -> None:
    def one(first: int) -> Any:
        return iterator_of(Numbers(first=first), Painter(((1,),)), ((1,),), "fork")

    with one(0) as training:
        assert painted(next(training)) == [0]
        with one(50) as validation:
            for number in range(1, 20):
                assert painted(next(training)) == [number]
                assert painted(next(validation)) == [49 + number]
        for number in range(20, 40):
            assert painted(next(training)) == [number]


def test_copy_of_an_iterator_in_a_fork_does_nothing() -> None:
    with iterator_of(Numbers(), Painter(((1,),)), ((1,),), "fork") as first:

        def make(message: dict[str, Any]) -> Any:
            with pytest.raises((cobuf.StreamError, RuntimeError), match="a fork|closed"):
                next(first)
            first.stop()
            return [[7]]

        with iterator_of(Numbers(last=4), Scripted(make), ((1,),), "fork") as second:
            assert [painted(data) for data in second] == [[7]] * 4
        assert [painted(next(first)) for _ in range(30)] == [[number] for number in range(30)]


SCRIPT = """
    import sys
    from concurrentbuffer.commander import Commander
    from concurrentbuffer.iterator import BufferIterator, buffer_iterator_factory
    from concurrentbuffer.producer import Producer
    import concurrentbuffer.iterator
    import cobuf.concurrentbuffer.iterator
    import helpers

    class Two(Commander):
        left = 2
        def create_message(self):
            self.left -= 1
            return {"left": self.left} if self.left >= 0 else None

    assert concurrentbuffer.iterator is cobuf.concurrentbuffer.iterator
    assert helpers.Producer is Producer
    for context in ("fork", "spawn"):
        with buffer_iterator_factory(2, ((1,),), Two(), helpers.Seven(), context, True) as iterator:
            assert isinstance(iterator, BufferIterator)
            print(context, sys.argv[1:], [data[0].tolist() for data in iterator])
"""
HELPERS = """
    from concurrentbuffer.producer import Producer

    class Seven(Producer):
        def create_data(self, message):
            return [[7 + message["left"]]]
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "helpers.py").write_text(textwrap.dedent(HELPERS))
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    yield path


def said(*arguments: str) -> str:
    """What the interpreter with these arguments prints, without any other concurrentbuffer."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


EXPECTED = "fork ['a', 'b'] [[8], [7]]\nspawn ['a', 'b'] [[8], [7]]\n"


def test_script_runs_without_a_change(script: Path) -> None:
    assert said("-m", "cobuf.concurrentbuffer", str(script), "a", "b") == EXPECTED


def test_package_is_found_by_its_other_name_once_installed(script: Path) -> None:
    text = "import cobuf.concurrentbuffer; cobuf.concurrentbuffer.install(); cobuf.concurrentbuffer.install()\n"
    script.write_text(text + script.read_text())
    assert said(str(script), "a", "b") == EXPECTED


def test_install_after_an_import_of_upstream_is_refused(tmp_path: Path) -> None:
    (tmp_path / "concurrentbuffer.py").touch()
    lines = f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import concurrentbuffer, cobuf.concurrentbuffer
        try:
            cobuf.concurrentbuffer.install()
        except RuntimeError as error:
            print(error)
    """
    assert "before the first import" in said("-c", textwrap.dedent(lines))


def test_factory_takes_what_it_is_given() -> None:
    system = BufferSystem(cpus=1, context=ForkContext(), deterministic=True)
    info = BufferInfo(shapes=[np.array([2, 3]), 4], count=2)
    factory = BufferFactory(system, info, Numbers(last=3), Painter(((2, 3), (4,))))
    with BufferIterator(factory) as iterator:
        assert [[array.shape for array in data] for data in iterator] == [[(2, 3), (4,)]] * 3
        assert factory.buffer_system is system
        assert factory._commander.built == 0, "the application's commander is not that of the process"
