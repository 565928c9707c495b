"""`python -m scorer`, which is also how `torchrun` starts a training."""

from scorer.cli import main

main()
