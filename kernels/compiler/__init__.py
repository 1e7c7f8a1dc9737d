"""How a Python function becomes machine code: checks, vectors, the compiler, the cache."""
