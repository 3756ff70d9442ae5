"""The version, read by the build and by `microtune --version`."""

__version__ = "0.1.0"
