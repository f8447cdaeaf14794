"""The version of the package concurrentbuffer whose behaviour this is."""

__version__ = "0.0.8"
