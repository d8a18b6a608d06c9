"""Builds the programs in C beside their sources; everything else is said in pyproject.toml.

They are programs of their own, not modules: setuptools knows no such thing, so an extension's build is bent to it.
Without a compiler the build goes on: every run then says that its links are carried by slow Python, and a scenario that
asks for the `rounds` of parties that there is no program for them.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PROGRAMS = ("harness/link/userlink/overlaybench-userlink", "harness/probes/party/overlaybench-party")


class BuildProgram(build_ext):
    """Compiles and links an extension as a program."""

    def get_ext_filename(self, fullname):
        return str(Path(*fullname.split(".")))

    def build_extension(self, ext):
        # -ffp-contract=off: the square root of CoDel must come out as in Python, to the last bit.
        flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-ffp-contract=off"]
        objects = self.compiler.compile(
            ext.sources, output_dir=self.build_temp, extra_postargs=flags, depends=ext.depends
        )
        path = Path(self.get_ext_fullpath(ext.name))
        self.compiler.link_executable(objects, path.name, output_dir=str(path.parent), libraries=["m"], target_lang="c")


def described(program):
    """Return the program as an extension, from all sources in its folder."""
    folder = Path(program).parent
    return Extension(
        program.replace("/", "."),
        sources=sorted(str(path) for path in folder.glob("*.c")),
        depends=sorted(str(path) for path in folder.glob("*.h")),
        optional=True,
    )


setup(ext_modules=[described(program) for program in PROGRAMS], cmdclass={"build_ext": BuildProgram})
