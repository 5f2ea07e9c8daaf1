"""Everything is said in setup.cfg; here is only what a file cannot say: BALANCER_COMPILE=1 compiles the data path.

    BALANCER_COMPILE=1 pip wheel .      (or: make wheel-compiled; see docs/compiled.md)

Without it the wheel is pure Python, and neither mypy nor a C compiler is needed. The modules are listed in
balancer/compiled.py.
"""

import os
import runpy
import sys

from setuptools import setup

COMPILER = ["mypy >= 2.4, < 3", "mypy-zope >= 1.0.9"]
"""mypyc comes with mypy. It reads the types of everything that compiled code calls, so what the balancer needs to run
has to be there as well (setup.cfg: install_requires)."""

STEPS = {"bdist_wheel", "build_ext", "build", "install"}
"""Commands that need the extension modules; the others only ask for metadata."""


def extensions() -> list[object]:
    """The modules as C extensions of one shared library, so that calls between them are plain calls in C."""
    from mypyc.build import mypycify

    modules = runpy.run_path(os.path.join("balancer", "compiled.py"))["MODULES"]
    paths = [os.path.join(*module.split(".")) + ".py" for module in modules]
    level = os.environ.get("BALANCER_COMPILE_LEVEL", "3")
    return mypycify(paths, opt_level=level, group_name="balancer")


def requirements() -> list[str]:
    """What the balancer needs to run."""
    from setuptools.config.setupcfg import read_configuration

    return list(read_configuration("setup.cfg")["options"]["install_requires"])


if os.environ.get("BALANCER_COMPILE", "0") in ("", "0"):
    setup()
elif STEPS & set(sys.argv):
    setup(ext_modules=extensions())
else:
    setup(setup_requires=[*COMPILER, *requirements()])
