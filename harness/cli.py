"""The command line: `overlaybench ...`."""


def main() -> None:
    raise SystemExit(4)
