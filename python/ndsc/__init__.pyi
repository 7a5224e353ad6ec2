# The public names of ndsc, and the modules that they live in.

__version__: str
