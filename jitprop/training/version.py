"""The version of these sources."""

from pathlib import Path

NAME = "jitprop"


def own_version() -> str:
    """Return the version of these sources: in a clone, another may be installed as well."""
    import tomllib
    from importlib.metadata import PackageNotFoundError, version

    try:
        file = Path(__file__).resolve().parents[2] / "pyproject.toml"
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        if project["name"] == NAME:  # not that of a project which holds a copy
            return project["version"]
    except (OSError, KeyError, ValueError):  # there is none: these sources are installed
        pass
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "unknown"
