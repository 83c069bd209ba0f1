"""Compiled kernels of the transport solver: plain loops over arrays, no Python objects.

Numba compiles each on its first use and keeps the result on disk. All run without the GIL, so
threads share the work. Rows i are the points of the first cloud (n), columns j those of the second
(m); the arrays are C-contiguous. Shapes stand in the docstrings: `no_type_check` keeps run-time
shape checks, which would hide the function from the compiler, away.
"""
