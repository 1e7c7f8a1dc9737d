"""What runs kernels: memory, threads, the decorator `kernel`, tapes and their fusing."""
