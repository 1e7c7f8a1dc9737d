"""The page of `jitprop serve`: draw a digit, and watch a network see it, learn it and train.

`looking` asks a network, `checking` checks its gradients, `runs` trains others, `sources` shows the
code; all of these are plain functions of numbers. `server` puts them behind an address, and
`static/` is the page.
"""
