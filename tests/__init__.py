"""What checks the shapes and types of annotations while tests run, see the Makefile."""

from contextlib import suppress

with suppress(ImportError):  # only the second run of some tests, with the checker, needs it
    from beartype import BeartypeConf, beartype

    typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
