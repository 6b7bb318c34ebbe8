"""The Python API: what the commands do, as functions and objects. Its public names are those of ``mmssl_cli``."""
