"""The runtime type checker of array shapes in annotations, see the Makefile."""

from contextlib import suppress

with suppress(ImportError):  # needed only by the test run with the type checker
    from beartype import BeartypeConf, beartype

    typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # accept int for float
