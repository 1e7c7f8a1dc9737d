"""What the site needs beside the pages: links to the sources, and where the sources are.

The pages are written for the code host, where `../layers/linear.py` is a link. On the site, such a
link leads to the code host, and a picture from another folder becomes a part of the site.
"""

import re
import shutil
import tempfile
import tomllib
from pathlib import Path

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")
PICTURES = ".png", ".svg"


def sources() -> str:
    """Return the address below which the code host shows the files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return f"{project['urls']['Homepage']}/blob/main/"


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config):
    """Lay the sources out as a wheel does, where mkdocstrings looks for them."""
    tree = tempfile.mkdtemp(prefix="jitprop-docs-")
    for source, target in (
        ("jitprop", "jitprop"),
        ("kernels", "jitprop/kernels"),
        ("layers", "jitprop/layers"),
    ):
        for path in (ROOT / source).rglob("*.py"):
            copy = Path(tree, target, path.relative_to(ROOT / source))
            copy.parent.mkdir(parents=True, exist_ok=True)
            # What follows a kernel's arguments is for the decorator, not for who calls it.
            copy.write_text(re.sub(r", start, stop(, scratch)?\):", "):", path.read_text("utf-8")))
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [tree]
    config.extra["tree"] = tree
    return config


def on_files(files, config):
    """Take pictures of other folders into the site."""
    for page in list(files.documentation_pages()):
        for link in OUTSIDE.findall(page.content_string):
            if link.endswith(PICTURES) and files.get_file_from_path(link) is None:
                files.append(File.generated(config, link, abs_src_path=str(ROOT / link)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links lead from the site to where they lead from the page."""
    to = sources()
    return OUTSIDE.sub(
        lambda found: f"]({'' if found[1].endswith(PICTURES) else to}{found[1]}", markdown
    )


def on_post_build(config):
    """Remove the copies of the sources."""
    shutil.rmtree(config.extra["tree"], ignore_errors=True)
