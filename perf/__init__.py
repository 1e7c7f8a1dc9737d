"""Microbenchmarks of the kernels beside other libraries: `python -m perf`.

README.md beside this file says how to read them.
"""
