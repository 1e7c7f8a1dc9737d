"""The version of these sources."""

from pathlib import Path

NAME = "jitprop"


def own_version() -> str:
    """Return the version of these sources; beside a clone, another version may be installed."""
    import tomllib
    from importlib.metadata import PackageNotFoundError, version

    try:
        file = Path(__file__).resolve().parents[2] / "pyproject.toml"
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        if project["name"] == NAME:  # not a project that only holds a copy
            return project["version"]
    except (OSError, KeyError, ValueError):  # no such file: these sources are installed
        pass
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "unknown"
