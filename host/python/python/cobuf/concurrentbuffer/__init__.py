"""The Python package `concurrentbuffer` 0.0.8, on cobuf: its modules and names, for code that uses it.

    import cobuf.concurrentbuffer
    cobuf.concurrentbuffer.install()     # from now on, `import concurrentbuffer` finds this package

or, without a change to a script: ``python -m cobuf.concurrentbuffer script.py``.

    BufferFactory ──► manager ──► cobuf.Loader ──► processes: Commander, Producers
    BufferIterator ──► state, memory ──► copies of the loader's batches

As there: there are as many buffers as `BufferInfo` says, 4 for each CPU by the factories; all have one
element type; what a producer gives is cast and broadcast into them; ``build()`` is called once in each
process; a message has the entry ``"/buffer_id"``; the iterator gives lists of fresh arrays; ``stop``
ends the processes at once. With the context ``fork`` the processes are forks of the application,
threads' locks included, and share its descriptors; with ``spawn`` they are new, and objects are
pickled, those of the main script by value.

Otherwise than there:

- The constructor of `BufferFactory` returns once every ``build()`` has, and raises what one raises.
- An error of a commander or producer is raised by the iterator, where upstream waits for ever: a
  producer's is that batch's, and the next call goes on; a commander's ends the stream. A producer's
  process that dies is replaced, and its message made again.
- A commander ends the stream by ``None`` or `StopIteration`.
- A producer with one buffer may give a bare array of exactly its shape; upstream stores its first
  row, repeated.
- ``"/buffer_id"`` is the message's number modulo the number of buffers. With ``deterministic=False``,
  a message that as many others have overtaken shares it with one of them.
- The pickle of a message has at most 256 KiB, or as many bytes as the commander's attribute
  ``message_capacity`` says.
- With ``spawn`` the main script does not run again in the processes, so it needs no guard. What an
  import of it would register there has to be in a module of the commander's or producer's classes.
- With ``fork`` it is another thread than the caller's that goes on in the processes. They have none of
  the caller's thread-local values, and a module that makes a factory while it is imported must not be
  imported there.
- There is no process of `multiprocessing`: `BufferFactory` has no ``sender`` and ``receiver``,
  `BufferStateMemory` only what an iterator needs, and the process classes only hand objects over.
"""

from cobuf.concurrentbuffer._install import install
from cobuf.concurrentbuffer._version import __version__

__all__ = ["__version__", "install"]
